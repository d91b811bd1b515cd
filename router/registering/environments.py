"""A gated version goes on to the registered model of the next environment: MLflow's way is a model for each.

What titleshot has noted on a version is about one environment: its shots, its place in that one's record. It does not
go along; what goes along is where the version comes from, what its gate said and who signed. For people: in the next
environment it is no proof, where its own titleshot asks for a gate of its own.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from router.artifacts.profile import PROFILE_TAG
from router.control.version_tags import one_line
from router.registering.mlflow_calls import RegisteringError, asked, client_of
from router.registering.versions import AT_TAG, BY_TAG

FROM_TAG = "titleshot.from"
OURS = "titleshot."
LINEAGE = frozenset({BY_TAG, AT_TAG, PROFILE_TAG})
"""Of our own tags those that are true of a version wherever it is."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passed:
    """What the record of the environment that a version leaves has of it.

    Args:
        gate: the decision that took note of its gate's PASS.
        signed: who signed it off, and when; "": nobody did.
        promoted: the decision that gave it the title; "": none did.
    """

    gate: str
    signed: str = ""
    promoted: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """The version in the next environment.

    Args:
        model: its registered model.
        version: its number.
        new: it has just been made; else it had been carried there before.
        tags: those that say where it comes from.
    """

    model: str
    version: int
    new: bool
    tags: Mapping[str, str]


def carry(uri: str, model: str, version: int, to: str, passed: Passed, *, by: str) -> Carried:
    """Copy a version to another registered model of the same registry; once, however often it is asked for.

    Args:
        uri: of the registry.
        model: the registered model that the version is of.
        version: its number.
        to: the registered model that it goes to, made where there is none.
        passed: what the record has of it.
        by: who carries it.

    Raises:
        RegisteringError: the registry does not have it, or refuses; a copy may have been made, and is completed when it
            is asked for again.
    """
    if to == model:
        raise RegisteringError(f"expected another registered model than {model}")
    client = client_of(uri)
    source = f"models:/{model}/{version}"
    asked(lambda: client.get_model_version(model, str(version)), f"READ on the registered model {model}")
    copies = [each for each in asked(lambda: list(client.search_model_versions(f"name='{to}'"))) if _is(each, source)]
    needed = f"EDIT on the registered model {to} (or to be one who may create registered models), and READ on {model}"
    found = copies[0] if copies else asked(lambda: _quietly(lambda: client.copy_model_version(source, to)), needed)
    number, origin = str(found.version), f"{model}/{version}"
    told = {
        f"{FROM_TAG}_gate": passed.gate,
        f"{FROM_TAG}_signed": passed.signed,
        f"{FROM_TAG}_promoted": passed.promoted,
    }
    if found.tags.get(FROM_TAG) != origin:  # copied just now, or not to its end: later it has a record of its own
        for name in [each for each in found.tags if each.startswith(OURS) and each not in LINEAGE]:
            asked(partial(client.delete_model_version_tag, to, number, name), needed)
        told |= {f"{FROM_TAG}_by": by, f"{FROM_TAG}_at": datetime.now(UTC).isoformat(timespec="seconds")}
    tags = {name: one_line(text) for name, text in told.items() if text} | {FROM_TAG: origin}  # which comes last
    for name, text in tags.items():
        asked(partial(client.set_model_version_tag, to, number, name, text), needed)
    return Carried(to, int(number), not copies, tags)


def _is(version: Any, source: str) -> bool:  # noqa: ANN401 - MLflow is untyped
    return bool(version.source == source or version.tags.get(FROM_TAG) == source.removeprefix("models:/"))


def _quietly(call: Callable[[], T]) -> T:
    """MLflow tells of a copy on standard error by itself."""
    with contextlib.redirect_stderr(io.StringIO()):
        return call()
