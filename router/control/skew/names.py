"""What results, breaks and differences are called, in metrics and for people."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Break(str, Enum):
    """How a column breaks the signature."""

    WRONG_TYPE = "wrong_type"  # refused, or handed to the model as it is
    COERCED = "coerced"  # taken silently, as another value
    NULL = "null"  # where the signature has a value in every row
    MISSING = "missing"  # the whole column, which the signature requires
    EXTRA = "extra"  # not in the signature: dropped


class Difference(str, Enum):
    """How an answer differs from the champion's."""

    ROWS = "rows"  # other than the request has
    PREDICTION = "prediction"  # there is none that can be read, of the kind that `positive` is
    SCORE = "score"  # where the champion's answers have none, or the other way round


class NoFigure(Exception):
    """What is not known of a version; the message says why."""


BREAKS: Final = tuple(each.value for each in Break)
DIFFERENCES: Final = tuple(each.value for each in Difference)

SKEW_RESULTS: Final = ("checked", "unnamed", "unreadable", "too_large", "encoded", "unsigned", "dropped")
"""What becomes of a sampled request. unnamed: its columns have no names. unsigned: no version that serves has a
signature that can be checked. dropped: there were too many at once."""

OTHERS: Final = "(others)"
"""Stands for the columns of a signature beyond those that are told by name."""

NOT_OURS: Final = "(not in the signature)"
"""Stands for all columns that the signature does not have: what requests name is no label."""
