"""What every block of the settings is made of: frozen, no unknown keys, and types that read what people write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

from router.settings.problems import Path
from router.settings.units import (
    DURATION_PATTERN,
    POINTS_PATTERN,
    RELATIVE_PATTERN,
    SIZE_PATTERN,
    parse_duration,
    parse_percent,
    parse_points,
    parse_relative,
    parse_size,
    shown,
)

EXPECTED: Final = "expected"
"""The pydantic error type of everything that is said in our own words."""

UNKNOWN_KEY: Final = "unknown_key"
"""The same, about a key and not about its value."""


class Block(BaseModel):
    """A mapping of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def wrong(expected: str, kind: Literal["expected", "unknown_key"] = EXPECTED) -> PydanticCustomError:
    """An error for a validator to raise: what was expected, in full."""
    return PydanticCustomError(kind, "{text}", {"text": expected})


def wrong_at(
    problems: Iterable[tuple[Path, str]], kind: Literal["expected", "unknown_key"] = EXPECTED
) -> ValidationError:
    """Several errors at once, each at its path below the value under validation."""
    return ValidationError.from_exception_data(
        "settings", [InitErrorDetails(type=wrong(expected, kind), loc=path, input=None) for path, expected in problems]
    )


def reading(parse: Callable[[object], Any]) -> BeforeValidator:
    """What reads a value as users write it, by a parser whose ValueError says what was expected."""

    def read(written: object) -> object:
        try:
            return parse(written)
        except ValueError as error:
            raise wrong(str(error)) from None

    return BeforeValidator(read)


def _text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


def _parse_count(written: object) -> int:
    if isinstance(written, int) and not isinstance(written, bool) and written >= 1:
        return written
    raise ValueError(f"expected an integer of at least 1, not {shown(written)}")


def _parse_number(written: object) -> float:
    if isinstance(written, (int, float)) and not isinstance(written, bool):
        return float(written)
    raise ValueError(f"expected a number, not {shown(written)}")


def _parse_text(written: object) -> str:
    if isinstance(written, str) and written.strip():
        return written
    raise ValueError(f"expected text, not {shown(written)}")


def _parse_class(written: object) -> float | str:
    if isinstance(written, bool):
        text = "true" if written else "false"
        raise ValueError(f"expected a class, not {text}: true is 1 and false is 0, and a text that is so needs quotes")  # noqa: TRY004
    if isinstance(written, str) and written.strip():
        return written
    if isinstance(written, (int, float)):
        return float(written)
    raise ValueError(f"expected a class (a number or a text), not {shown(written)}")


Duration = Annotated[float, reading(parse_duration), _text_schema(DURATION_PATTERN, "30s", "10m", "1h30m", "7d")]
"""Seconds, written "10m"."""

Size = Annotated[int, reading(parse_size), _text_schema(SIZE_PATTERN, "64KiB", "1MiB")]
"""Bytes, written "64KiB"."""

Points = Annotated[float, reading(parse_points), _text_schema(POINTS_PATTERN, "2 points", "0.5 points")]
"""A ratio, written as percentage points."""

Relative = Annotated[float, reading(parse_relative), _text_schema(RELATIVE_PATTERN, "10%")]
"""A ratio, written as a percentage."""

Percent = Annotated[
    int, reading(parse_percent), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 100, "examples": [10]})
]
Count = Annotated[int, reading(_parse_count), WithJsonSchema({"type": "integer", "minimum": 1})]
Number = Annotated[float, reading(_parse_number), WithJsonSchema({"type": "number"})]
Class = Annotated[
    float | str,
    reading(_parse_class),
    WithJsonSchema({"type": ["number", "string"], "minLength": 1, "examples": [1, "cancel"]}),
]
Text = Annotated[str, reading(_parse_text), WithJsonSchema({"type": "string", "minLength": 1})]
Switch = StrictBool


def written(default: str, parse: Callable[[str], Any], description: str) -> Any:  # noqa: ANN401 - as Field does
    """A field whose default is declared as users write it, and published so in the JSON Schema."""
    return Field(default=parse(default), description=description, json_schema_extra={"default": default})
