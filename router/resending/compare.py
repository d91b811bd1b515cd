"""Both sides' answers to the same requests, as figures: pure.

Bounds are exact (Clopper and Pearson 1934), each by itself at 95 %: a resending is looked at once, when it is over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from comparator.events import Columns, Outcome, Role
from router.recordings.writing import id_text
from router.staging.bounds import binomial_bounds

EXAMPLES: Final = 20
"""Requests that are named on which the two differ."""

QUANTILES: Final = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with bounds."""

    count: int
    of: int

    def as_data(self) -> dict[str, Any] | None:
        """None: there was nothing to count."""
        if not self.of:
            return None
        lower, upper = binomial_bounds(self.count, self.of)
        return {"value": self.count / self.of, "lower": lower, "upper": upper, "count": self.of}


@dataclass(frozen=True, slots=True)
class Side:
    """One server's answers.

    Args:
        outcomes: requests by what became of them.
        latency: quantile -> seconds, of good answers; empty: there are none.
        precision: of its positives that have a label.
        as_recorded: rows whose prediction is what the recording has of the champion, of those that both have.
    """

    outcomes: dict[str, int]
    latency: dict[float, float]
    precision: Share
    as_recorded: Share

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "outcomes": self.outcomes,
            "latency_seconds": {f"{q:g}": value for q, value in self.latency.items()},
            "precision": self.precision.as_data(),
            "as_recorded": self.as_recorded.as_data(),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a resending came to.

    Args:
        requests: that were sent to both.
        agree: rows on which both predict the same, of those that both predict.
        score_distance: mean and largest absolute difference of the scores; None: fewer than one row has both.
        slower: requests that b answered later than a, of those that both answered well.
        examples: ids and rows on which they differ.
    """

    requests: int
    a: Side
    b: Side
    agree: Share
    score_distance: tuple[float, float] | None
    slower: Share
    examples: list[tuple[str, int, float, float]]

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "requests": self.requests,
            "a": self.a.as_data(),
            "b": self.b.as_data(),
            "agreement": self.agree.as_data(),
            "score_distance": None
            if self.score_distance is None
            else {"mean": self.score_distance[0], "largest": self.score_distance[1]},
            "b_slower": self.slower.as_data(),
            "disagreements": [{"request_id": text, "row": row, "a": a, "b": b} for text, row, a, b in self.examples],
        }


def compared(observations: Columns, labels: Columns, recorded: Columns) -> Comparison:
    """Compare.

    Args:
        observations: dtype OBSERVATION, of both sides: a is the champion.
        labels: dtype LABEL; the last one of a row counts.
        recorded: dtype OBSERVATION, what the recording has of the champion.
    """
    a = _by_row(observations[observations["role"] == Role.CHAMPION])
    b = _by_row(observations[observations["role"] == Role.CHALLENGER])
    champion = _by_row(recorded[recorded["role"] == Role.CHAMPION])
    truths = _by_row(labels)
    left, right = _common(a, b)
    both = ~np.isnan(left["prediction"]) & ~np.isnan(right["prediction"])
    same = left["prediction"] == right["prediction"]
    scored = ~np.isnan(left["score"]) & ~np.isnan(right["score"])
    distance = np.abs(left["score"] - right["score"])[scored]
    well = (left["row"] == 0) & (left["outcome"] == Outcome.OK) & (right["outcome"] == Outcome.OK)
    differ = np.flatnonzero(both & ~same)[:EXAMPLES]
    return Comparison(
        requests=int(np.count_nonzero(a["row"] == 0)),
        a=_side(a, truths, champion),
        b=_side(b, truths, champion),
        agree=Share(int(np.count_nonzero(both & same)), int(np.count_nonzero(both))),
        score_distance=(float(distance.mean()), float(distance.max())) if distance.size else None,
        slower=Share(
            int(np.count_nonzero(right["latency"][well] > left["latency"][well])), int(np.count_nonzero(well))
        ),
        examples=[
            (
                id_text(int(left["request_hi"][at]), int(left["request_lo"][at])),
                int(left["row"][at]),
                float(left["prediction"][at]),
                float(right["prediction"][at]),
            )
            for at in differ
        ],
    )


def _side(rows: Columns, truths: Columns, champion: Columns) -> Side:
    first = rows[rows["row"] == 0]
    good = first["latency"][first["outcome"] == Outcome.OK]
    outcomes = Counter(first["outcome"].tolist())
    known, labels = _common(rows, truths)
    positive = (known["prediction"] == 1.0) & ~np.isnan(labels["label"])
    now, then = _common(rows, champion)
    both = ~np.isnan(now["prediction"]) & ~np.isnan(then["prediction"])
    return Side(
        outcomes={outcome.name.lower(): outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        latency={q: float(np.quantile(good, q)) for q in QUANTILES} if good.size else {},
        precision=Share(int(np.count_nonzero(labels["label"][positive] == 1.0)), int(np.count_nonzero(positive))),
        as_recorded=Share(
            int(np.count_nonzero(now["prediction"][both] == then["prediction"][both])), int(np.count_nonzero(both))
        ),
    )


def _by_row(columns: Columns) -> Columns:
    """In order of id and row, the last of each: shape (distinct,)."""
    order = np.lexsort((np.arange(columns.size), columns["row"], columns["request_lo"], columns["request_hi"]))
    ordered = columns[order]
    if not ordered.size:
        return ordered
    keys = _keys(ordered)
    last = np.append((keys[1:] != keys[:-1]), True)
    distinct: Columns = ordered[last]
    return distinct


def _common(left: Columns, right: Columns) -> tuple[Columns, Columns]:
    """The rows of both that have the same id and row, side by side."""
    _, at_left, at_right = np.intersect1d(_keys(left), _keys(right), assume_unique=True, return_indices=True)
    return left[at_left], right[at_right]


def _keys(columns: Columns) -> Any:  # noqa: ANN401 - an array of bytes
    """Id and row as one comparable value: shape (n,), of bytes."""
    keys = np.zeros(columns.size, dtype=[("hi", ">u8"), ("lo", ">u8"), ("row", ">u4")])
    keys["hi"], keys["lo"], keys["row"] = columns["request_hi"], columns["request_lo"], columns["row"]
    return keys.view("V20")
