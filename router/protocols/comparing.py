"""Texts as predictions: the same where two texts say the same.

Imported by who reads answers, in the control process; a proxy has no use for it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

import msgspec

from router.protocols.json_pointer import at, pointer
from router.protocols.protocol import Prediction
from router.protocols.rows import as_float

EXACT: Final = "exact"
NORMALISED: Final = "normalised"
FIELD: Final = "field"
NUMBER: Final = "number"

EXPECTED: Final = (
    "expected exact, normalised, field:/POINTER or number:/POINTER (a JSON pointer into the text, which is JSON then)"
)

REFUSED: Final = Prediction("\0refusal")
"""Every refusal: their texts differ and say the same, which is none of the labels, and no number."""

_NAN: Final = float("nan")
_POINTED: Final = re.compile(r"(field|number):[ ]?((?:/(?:[^~/]|~[01])*)*)")
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
    def of_texts(self) -> bool:
        """Whether predictions are texts as they are, and nothing in them."""
        return self.kind in (EXACT, NORMALISED)

    def fold(self, text: str) -> str:
        """A text without what does not count."""
        return normalised(text) if self.kind == NORMALISED else text

    def predicted(self, text: str) -> Prediction:
        """The prediction that a text is; NaN: there is none in it."""
        if self.of_texts:
            return Prediction(self.fold(text))
        try:
            value = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            return Prediction(_NAN)
        found = at(value, self._pointer)
        score = _number(at(value, self._score)) if self._score is not None else _NAN
        if self.kind == FIELD:
            return Prediction(_field(found), score)
        number = _number(found)
        return Prediction(number, number if self._score is None else score)


def normalised(text: str) -> str:
    """Without what does not change its sense: case, width, ligatures, the amount of whitespace."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def _field(value: object) -> float | str:
    """A text or a number is itself; what has parts is its canonical JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value, order="deterministic").decode()
    return _number(value)


def _number(value: object) -> float:
    """A finite number, true as 1; else NaN."""
    if not isinstance(value, (int, float)):
        return _NAN
    number = as_float(value)
    return number if math.isfinite(number) else _NAN
