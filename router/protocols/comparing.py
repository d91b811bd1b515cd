"""Texts as predictions: numbers that are equal where two texts say the same.

Imported by who reads answers, in the control process; a proxy has no use for it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

import msgspec

from comparator.class_code import class_code
from router.protocols.protocol import Prediction

EXACT: Final = "exact"
NORMALISED: Final = "normalised"
FIELD: Final = "field"
NUMBER: Final = "number"

EXPECTED: Final = (
    "expected exact, normalised, field:/POINTER or number:/POINTER (a JSON pointer into the text, which is JSON then)"
)

REFUSED: Final = class_code("\0refusal")
"""The class of every refusal: different texts say the same, which is none of the labels."""

_NAN: Final = float("nan")
_POINTED: Final = re.compile(r"(field|number):[ ]?((?:/(?:[^~/]|~[01])*)*)")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_decode: Final = msgspec.json.Decoder().decode


class Comparison:
    """How the texts of one model become predictions.

    Args:
        compare: `exact`, `normalised` (NFKC, case and whitespace folded), `field:/POINTER` (the text is JSON: the value
            there) or `number:/POINTER` (the value there is the prediction as it is, and its score).
        score: JSON pointer to a score in the text; "": none (of a number, the number itself).

    Raises:
        ValueError: neither of these; the message says what was expected.
    """

    __slots__ = ("_pointer", "_score", "kind")

    def __init__(self, compare: str, score: str = "") -> None:
        pointed = _POINTED.fullmatch(compare)
        if pointed is None and compare not in (EXACT, NORMALISED):
            raise ValueError(EXPECTED)
        self.kind = pointed[1] if pointed is not None else compare
        self._pointer = pointer(pointed[2]) if pointed is not None else ()
        if score and pointed is None:
            raise ValueError("expected no answer.score, or texts that are JSON (answer.compare: field: or number:)")
        self._score = pointer(score) if score else None

    @property
    def by_class(self) -> bool:
        """Whether predictions are classes, of which equality is all that can be asked."""
        return self.kind != NUMBER

    @property
    def of_texts(self) -> bool:
        """Whether every class is a text."""
        return self.kind in (EXACT, NORMALISED)

    def refused(self) -> Prediction:
        """The prediction that a refusal is."""
        return Prediction(REFUSED if self.by_class else _NAN)

    def predicted(self, text: str) -> Prediction:
        """The prediction that a text is; NaN: there is none in it."""
        if self.kind == EXACT:
            return Prediction(class_code(text))
        if self.kind == NORMALISED:
            return Prediction(class_code(normalised(text)))
        try:
            value = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            return Prediction(_NAN)
        found = at(value, self._pointer)
        coded = _number(found) if self.kind == NUMBER else _coded(found)
        if self._score is not None:
            return Prediction(coded, _number(at(value, self._score)))
        return Prediction(coded, coded if self.kind == NUMBER else _NAN)

    def label(self, given: object) -> float:
        """The number of a label that people give, or NaN: it is of no kind that a prediction can be."""
        if not isinstance(given, str):
            return _number(given) if self.kind in (FIELD, NUMBER) else _NAN
        try:
            return class_code(normalised(given) if self.kind == NORMALISED else given) if self.by_class else _NAN
        except UnicodeEncodeError:  # half a surrogate pair, which no answer can have
            return _NAN


def normalised(text: str) -> str:
    """Without what does not change its sense: case, width, ligatures, the amount of whitespace."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def pointer(text: str) -> tuple[str, ...]:
    """The keys of a JSON pointer (RFC 6901). Raises ValueError."""
    if text and not text.startswith("/"):
        raise ValueError("expected a JSON pointer, such as /label")
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in text.split("/")[1:])


def at(value: object, keys: tuple[str, ...]) -> object:
    """What stands there in a JSON value; UNSET: nothing."""
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) is not None and int(key) < len(value):
            value = value[int(key)]
        else:
            return msgspec.UNSET
    return value


def _coded(value: object) -> float:
    """A value of a field: a number or a boolean is itself; a text, and what has parts in canonical JSON, a class."""
    if isinstance(value, str):
        return class_code(value)
    if isinstance(value, (dict, list)):
        return class_code(msgspec.json.encode(value, order="deterministic").decode())
    return _number(value)


def _number(value: object) -> float:
    """A finite number, true as 1; else NaN."""
    if not isinstance(value, (int, float)):
        return _NAN
    try:
        number = float(value)
    except OverflowError:
        return _NAN
    return number if math.isfinite(number) else _NAN
