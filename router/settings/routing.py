"""Where a value of a request stands, and `rules:` of a model: who answers such requests, outside the trial."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from comparator.events import Role
from router.link.messages import Rule
from router.settings.block import Block, wrong, wrong_at
from router.settings.problems import Path
from router.settings.units import shown

MOST_RULES = 32
MOST_VALUES = 256
"""Bounds of what is looked at on every request."""

LONGEST_VALUE = 256

_SOURCE = re.compile(
    r"header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}|query:[A-Za-z0-9._~-]{1,64}|cookie:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"
    r"|path|path:[1-9][0-9]?",
    re.ASCII,
)
_UNSEEN = frozenset({
    "connection", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "x-titleshot-shadow",
})  # fmt: skip
"""They are about the connection, or ours: no request is told apart by them."""


def _source(written: object) -> str:
    return _read(written, "header:NAME, query:NAME, cookie:NAME, path or path:N (a segment), such as header:x-tenant")


def _key(written: object) -> str:
    expected = "header:NAME, query:NAME, cookie:NAME or path:N (a segment), such as header:x-user-id"
    if written == "path":
        raise wrong(f"expected {expected}: the whole path tells no clients apart")
    return _read(written, expected)


def _read(written: object, expected: str) -> str:
    if not isinstance(written, str) or _SOURCE.fullmatch(written) is None:
        raise wrong(f"expected {expected}, not {shown(written)}")
    source = written.lower() if written.startswith("header:") else written
    if source.startswith("header:") and source.removeprefix("header:") in _UNSEEN:
        raise wrong(f"expected a field that clients send to a model: {source} is about the connection")
    return source


def _values(written: object) -> tuple[str, ...]:
    values = written if isinstance(written, list) else [written]
    if not values or len(values) > MOST_VALUES:
        raise wrong(f"expected a value, or a list of 1 to {MOST_VALUES}")
    return tuple(_value(each) for each in values)


def _value(written: object) -> str:
    if isinstance(written, int) and not isinstance(written, bool):
        return str(written)
    if isinstance(written, str) and written.strip() == written and 0 < len(written.encode()) <= LONGEST_VALUE:
        return written
    expected = f"expected text of 1 to {LONGEST_VALUE} bytes without space around it"
    raise wrong(f"{expected}, not {shown(written)}" + (": write it in quotes" if isinstance(written, bool) else ""))


_VALUE_SCHEMA = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE}, {"type": "integer"}]}

Source = Annotated[
    str, BeforeValidator(_source), WithJsonSchema({"type": "string", "pattern": f"^({_SOURCE.pattern})$"})
]
Key = Annotated[
    str, BeforeValidator(_key), WithJsonSchema({"type": "string", "pattern": f"^(?!path$)({_SOURCE.pattern})$"})
]
"""A source that tells clients apart."""

Values = Annotated[
    tuple[str, ...],
    BeforeValidator(_values),
    WithJsonSchema(
        {"anyOf": [*_VALUE_SCHEMA["anyOf"], {"type": "array", "items": _VALUE_SCHEMA, "minItems": 1,
                                             "maxItems": MOST_VALUES}]}
    ),
]  # fmt: skip


class RuleSettings(Block):
    """Requests of one kind, and who answers them. They are kept out of the trial: no copy, no split, no evidence."""

    when: Source = Field(
        description="Where the value stands: header:NAME, query:NAME, cookie:NAME, path, or path:N (a segment)."
    )
    values: Values = Field(default=(), alias="is", description="The value, or a list of values: one of them, exactly.")
    prefixes: Values = Field(
        default=(),
        alias="begins_with",
        description="What the value begins with, or a list of such. Without it and `is`: any value.",
    )
    to: Literal["champion", "challenger"] = Field(
        description="Who answers. challenger: only while there is one on trial and the breaker lets it, else the "
        "champion."
    )

    @model_validator(mode="after")
    def _clear(self) -> Self:
        problems: list[tuple[Path, str]] = []
        if self.values and self.prefixes:
            problems.append((("begins_with",), "expected either is or begins_with"))
        if self.when == "path":
            name = "is" if self.values else "begins_with"
            written = self.values or self.prefixes
            if not written:
                problems.append((("when",), "expected is or begins_with beside it: every request has a path"))
            elif not all(each.startswith("/") for each in written):
                problems.append(((name,), "expected a path that begins with /"))
        if problems:
            raise wrong_at(problems)
        return self

    def rule(self) -> Rule:
        """As proxies get it."""
        return Rule(self.when, int(Role[self.to.upper()]), self.values, self.prefixes)


def _few(rules: tuple[RuleSettings, ...]) -> tuple[RuleSettings, ...]:
    if len(rules) > MOST_RULES:
        raise wrong(f"expected at most {MOST_RULES} rules, not {len(rules)}: every request is held against them")
    return rules


Rules = Annotated[tuple[RuleSettings, ...], AfterValidator(_few), Field(json_schema_extra={"maxItems": MOST_RULES})]
