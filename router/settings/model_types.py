"""What people write of a model, as types: its name, its protocol, where its versions are, paths, headers and labels."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from router.link.endpoint import place_of
from router.link.grpc_place import grpc_place
from router.protocols.select import NAMES as PROTOCOLS
from router.settings.block import Text, wrong
from router.settings.problems import did_you_mean
from router.settings.units import shown

MODEL_NAME_PATTERN = r"^(?!\.+$)[A-Za-z0-9._-]{1,64}$"
_MODEL_NAME = re.compile(MODEL_NAME_PATTERN, re.ASCII)
_HEADER = re.compile(r"header:([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})", re.ASCII)
_PATH = re.compile(r"/[!-\"$-~]*", re.ASCII)
_SERVED_AS = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PLACEHOLDERS = ("name", "version")


def _model_name(name: str) -> str:
    if _MODEL_NAME.fullmatch(name) is None:
        raise wrong("expected a model name of 1 to 64 letters, digits, '.', '_' or '-': it becomes a path and a label")
    return name


def _protocol(value: object) -> str:
    if value in PROTOCOLS and isinstance(value, str):
        return value
    hint = did_you_mean(value, PROTOCOLS) if isinstance(value, str) else ""
    raise wrong(f"expected a protocol ({', '.join(PROTOCOLS)}), not {shown(value)}{hint}")


def _header(value: object) -> str:
    match = _HEADER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(f"expected header:NAME, such as header:x-user-id, not {shown(value)}")
    return f"header:{match[1].lower()}"


def base_url(text: str) -> str:
    """The address of a model server, without a slash at its end.

    Raises:
        ValueError: not one that place_of reads; the message says what was expected.
    """
    place_of(text)
    return text.rstrip("/")


def _template(value: object) -> str:
    return _filled(value, "http://{name}-v{version}:8080", base_url)


def _grpc_template(value: object) -> str:
    return _filled(value, "grpc://{name}-v{version}:8081", grpc_place)


def _filled(value: object, example: str, read: Callable[[str], object]) -> str:
    """A template that makes an address for any version."""
    if not isinstance(value, str):
        raise wrong(f"expected a URL such as {example}, not {shown(value)}")
    try:
        parsed = list(string.Formatter().parse(value))
    except ValueError:
        raise wrong("expected each { with its }; only {name} and {version} may be used") from None
    for _, name, spec, conversion in parsed:
        if name is not None and (name not in _PLACEHOLDERS or spec or conversion):
            raise wrong(f"expected no placeholders but {{name}} and {{version}}, not {{{name}}}")
    if "version" not in {name for _, name, _, _ in parsed}:
        raise wrong("expected {version} in it: every version has a model server of its own")
    try:
        read(value.format(name="name", version=1))
    except ValueError as error:
        raise wrong(str(error)) from None
    return value


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(f"expected http://host:port, not {shown(value)}")
    try:
        return base_url(value)
    except ValueError as error:
        raise wrong(str(error)) from None


def _path(value: object) -> str:
    if isinstance(value, str) and _PATH.fullmatch(value):
        return value
    raise wrong(f"expected a path such as /predict, percent-encoded as in a URL, not {shown(value)}")


def _served_as(value: object) -> str:
    if isinstance(value, str) and _SERVED_AS.fullmatch(value):
        return value
    raise wrong(f"expected the model's name in paths or bodies, 1 to 256 characters, not {shown(value)}")


def _version(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,8}", value, re.ASCII):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1_000_000_000:
        return value
    raise wrong(f"expected a version number as the key, such as 1, not {shown(value)}")


ModelName = Annotated[
    str, AfterValidator(_model_name), WithJsonSchema({"type": "string", "pattern": MODEL_NAME_PATTERN})
]
Version = Annotated[int, BeforeValidator(_version), WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,8}$"})]
Url = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string", "pattern": "^(https?://|unix:///)"})]
Template = Annotated[
    str,
    BeforeValidator(_template),
    WithJsonSchema({"type": "string", "pattern": r"^(https?://|unix:///).*\{version\}"}),
]
GrpcTemplate = Annotated[
    str,
    BeforeValidator(_grpc_template),
    WithJsonSchema({"type": "string", "pattern": r"^grpcs?://.*\{version\}"}),
]
Header = Annotated[str, BeforeValidator(_header), WithJsonSchema({"type": "string", "pattern": f"^{_HEADER.pattern}$"})]
UrlPath = Annotated[str, BeforeValidator(_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
ServedAs = Annotated[
    str, BeforeValidator(_served_as), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 256})
]
ProtocolName = Annotated[str, BeforeValidator(_protocol), WithJsonSchema({"type": "string", "enum": list(PROTOCOLS)})]


def _label_name(name: str) -> str:
    if _LABEL_NAME.fullmatch(name) is None:
        raise wrong("expected the name of a label: letters, digits and _, not beginning with a digit")
    return name


def _some_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if not labels:
        raise wrong("expected at least one label: an empty matcher would be for every alert")
    return labels


LabelName = Annotated[
    str, AfterValidator(_label_name), WithJsonSchema({"type": "string", "pattern": f"^{_LABEL_NAME.pattern}$"})
]
AlertLabels = Annotated[
    Mapping[LabelName, Text], AfterValidator(_some_labels), Field(json_schema_extra={"minProperties": 1})
]
