"""From files to settings, or to the list of all that is wrong with them."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from comparator.policy import Policy
from router.settings.block import EXPECTED, UNKNOWN_KEY, Block
from router.settings.document import Document, read_document
from router.settings.policy import STEP_KINDS, PolicySettings
from router.settings.problems import Mark, Path, Problem, SettingsError, did_you_mean
from router.settings.settings import Settings
from router.settings.tls import CHECK_FILES
from router.settings.units import shown

POLICY_KEYS = frozenset(PolicySettings.model_fields)
_Root = TypeVar("_Root", bound=Block)


def load_settings(path: FilePath) -> Settings:
    """Read titleshot.yaml and the policy files that it names.

    Raises:
        SettingsError: with everything that is wrong, each with file, line, column, and what was expected.
    """
    document = read_document(path, str(path))
    files = {str(path): document.digest}
    if isinstance(document.data, dict) and isinstance(document.data.get("models"), dict):
        for name, model in document.data["models"].items():
            if isinstance(model, dict) and isinstance(model.get("policy"), str):
                _include_policy(document, ("models", name), model, path.parent, files)
    context = {"directory": path.parent.absolute(), "files": files, "data": document.data, CHECK_FILES: True}
    return _validated(Settings, document, context)


def load_policy(path: FilePath) -> Policy:
    """Read a policy file of its own.

    Raises:
        SettingsError: with everything that is wrong with it.
    """
    document = read_document(path, str(path))
    return _validated(PolicySettings, document, {"files": {str(path): document.digest}}).policy()


def _include_policy(
    document: Document, at: Path, model: dict[str, object], directory: FilePath, files: dict[str, str]
) -> None:
    """Put what a model's policy file says in the place of its inline keys; marks then point into that file."""
    file = directory / str(model["policy"])
    here = document.mark((*at, "policy"))
    inline = sorted(POLICY_KEYS & model.keys())
    for key in inline:
        expected = f"expected either {key} here or policy: FILE"
        document.problems.append(Problem.at(document.key_mark((*at, key)), (*at, key), expected))
    policy = read_document(file, str(file))
    files[str(file)] = policy.digest
    if not policy.digest:
        reason = policy.problems[0].expected if policy.problems else "cannot be read"
        document.problems.append(Problem.at(here, (*at, "policy"), f"{file}: {reason}"))
        return
    document.problems += policy.problems
    if not isinstance(policy.data, dict):
        if not policy.problems:
            expected = f"expected a mapping of {', '.join(sorted(POLICY_KEYS))}"
            document.problems.append(Problem.at(policy.mark(()), (), expected))
        return
    for key, value in policy.data.items():
        if key not in POLICY_KEYS:
            expected = f"unknown key{did_you_mean(key, POLICY_KEYS)}"
            document.problems.append(Problem.at(policy.key_mark((key,)), (key,), expected))
        elif key not in inline:
            model[key] = value
    for marks, into in ((policy.marks, document.marks), (policy.keys, document.keys)):
        into.update({(*at, *path): mark for path, mark in marks.items() if path and path[0] not in inline})


def _validated(root: type[_Root], document: Document, context: dict[str, Any]) -> _Root:
    problems = document.problems
    if not isinstance(document.data, dict):
        if not problems:
            known = ", ".join(sorted(_keys(root)))
            problems.append(Problem.at(document.mark(()), (), f"expected a mapping with {known}"))
        raise SettingsError(problems, context["files"])
    try:
        settings = root.model_validate(document.data, context=context)
    except ValidationError as error:
        seen = {problem.where for problem in problems}
        fresh = [_problem(root, document, details) for details in error.errors(include_url=False)]
        problems += [problem for problem in fresh if problem.where not in seen]
        raise SettingsError(problems, context["files"]) from None
    if problems:
        raise SettingsError(problems, context["files"])
    return settings


def _problem(root: type[Block], document: Document, details: ErrorDetails) -> Problem:
    location = details["loc"]
    kind = details["type"]
    path = tuple(part for part in location if not _is_tag(part))
    if kind == UNKNOWN_KEY:
        return Problem.at(document.key_mark(path), path, _expected(details))
    if path and path[-1] == "[key]":
        return Problem.at(document.key_mark(path[:-1]), path[:-1], _expected(details))
    if kind == "extra_forbidden":
        choices = _keys(_block_at(root, location[:-1]))
        return Problem.at(document.key_mark(path), path, f"unknown key{did_you_mean(str(path[-1]), choices)}")
    if kind == "missing" or path not in document.marks:
        return Problem.at(_place_of_absent(document, path), path, _expected(details))
    return Problem.at(document.mark(path), path, _expected(details))


def _place_of_absent(document: Document, path: Path) -> Mark:
    """Where to look for what is not there: the key of the mapping around it."""
    around = path[:-1]
    while around not in document.marks:
        around = around[:-1]
    return document.key_mark(around)


_EXPECTATIONS: Mapping[str, str] = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "bool_type": "true or false",
    "string_type": "text",
}


def _expected(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in (EXPECTED, UNKNOWN_KEY):
        return str(context["text"])
    if kind == "missing":
        return "expected a value, found nothing"
    if kind == "literal_error":
        return f"expected {context['expected']}, not {shown(details['input'])}"
    if kind == "union_tag_not_found":
        if isinstance(details["input"], dict):
            named = [key for key in STEP_KINDS if key in details["input"]]
            found = f", not {' and '.join(named)}" if named else _nearest_step(details["input"])
            return f"expected exactly one of {', '.join(STEP_KINDS)}{found}"
        return f"expected a mapping with one of {', '.join(STEP_KINDS)}, not {shown(details['input'])}"
    if kind in _EXPECTATIONS:
        return f"expected {_EXPECTATIONS[kind]}, not {shown(details['input'])}"
    return f"expected otherwise: {details['msg']}"


def _nearest_step(step: dict[str, object]) -> str:
    for key in step:
        hint = did_you_mean(str(key), STEP_KINDS)
        if "did you mean" in hint:
            return f", found {key!r}{hint}"
    return ""


def _is_tag(part: str | int) -> bool:
    """Whether this part of pydantic's location names a member of a union, not a key of the file."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _keys(block: type[Block]) -> list[str]:
    return [field.alias or name for name, field in block.model_fields.items()]


def _block_at(root: type[Block], location: Path) -> type[Block]:
    """The block that stands at this location: its keys are what could have been meant."""
    here: object = root
    for part in location:
        here = _below(here, part)
    return next((kind for kind in _members(here) if isinstance(kind, type) and issubclass(kind, Block)), Block)


def _below(kind: object, part: str | int) -> object:
    for member in _members(kind):
        origin = typing.get_origin(member)
        if origin in (tuple, Mapping):
            return typing.get_args(member)[0 if origin is tuple else 1]
        if not (isinstance(member, type) and issubclass(member, Block)):
            continue
        if _is_tag(part):
            if str(part)[1:-1] in member.model_fields:
                return member
            continue
        fields = {field.alias or name: field.annotation for name, field in member.model_fields.items()}
        if part in fields:
            return fields[str(part)]
        if member.model_config.get("extra") == "allow":
            return typing.get_args(typing.get_type_hints(member)["__pydantic_extra__"])[1]
    return Block


def _members(kind: object) -> list[object]:
    """What an annotation allows, unions and metadata taken off."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _members(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [member for item in typing.get_args(kind) for member in _members(item)]
    return [kind]
