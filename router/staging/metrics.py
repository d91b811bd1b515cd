"""What predictions for labelled rows come to: figures with bounds, and what they are held to. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from comparator.calibration import error_of, gaps
from comparator.gated import Measured
from comparator.guardrail import Verdict
from comparator.label_metric import LabelMetric
from comparator.rail import IN_LABEL_UNITS, Metric
from comparator.staging import LEAST_COUNTING
from comparator.words import amount
from router.staging.bounds import (
    ALPHA,
    NUISANCE_ALPHA,
    CalibrationLoss,
    Floats,
    Loss,
    PairedLoss,
    PairedRatio,
    Rows,
    binomial_bounds,
    mean_bounds,
)
from router.staging.check import Check

_OF_COUNTS = frozenset({Metric.PRECISION, Metric.RECALL, Metric.ACCURACY, Metric.F1})
_MOST_ROWS_TOLD = 10**8
_MOST_TIMES = 1000.0  # so many times worse is told as this


@dataclass(frozen=True, slots=True)
class Answers:
    """What one server predicted for the holdout rows, shape (rows,); NaN: nothing."""

    prediction: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric on holdout rows in its own units, with bounds, each by itself at 95 %; and what it was counted from."""

    value: float
    lower: float
    upper: float
    counting: int  # rows that the metric is of
    n: Floats
    d: Floats
    parts: tuple[Figure, ...] = ()  # of a mean over classes: each class


def figure(metric: LabelMetric, labels: Floats, answers: Answers) -> Figure | None:
    """The metric of one server; None: no row counts for it."""
    if metric.rail.classes is not None:
        return _mean(metric, labels, answers)
    if metric.rail.metric is Metric.CALIBRATION:
        return _calibration(metric, labels, answers)
    return _figure(metric, labels, answers, ALPHA)


def _figure(metric: LabelMetric, labels: Floats, answers: Answers, alpha: float) -> Figure | None:
    legal = metric.legal_label(labels)
    n, d = metric.quantities(labels[legal][:, None], answers.prediction[legal][:, None], answers.score[legal][:, None])
    n, d = n[:, 0], d[:, 0]
    if not d.sum():
        return None
    lower, upper = (metric.shown(share) for share in _shares(metric, n, d, alpha))
    value = metric.shown(metric.share(float(n.sum())) / _counting(d))
    return Figure(value, min(lower, value), max(upper, value), _counting(d), n, d)


def _mean(metric: LabelMetric, labels: Floats, answers: Answers) -> Figure | None:
    """The mean over classes, and of their bounds, which hold together; None: of some class no row counts."""
    classes = metric.rail.classes or ()
    found = [
        _figure(
            LabelMetric(replace(metric.rail, classes=None, of=each), multiclass=True),
            labels,
            answers,
            ALPHA / len(classes),
        )
        for each in classes
    ]
    parts = tuple(each for each in found if each is not None)
    if len(parts) < len(classes):
        return None
    value, lower, upper = (
        sum(getattr(each, name) for each in parts) / len(parts) for name in ("value", "lower", "upper")
    )
    n, d = (np.sum([getattr(each, name) for each in parts], axis=0) for name in ("n", "d"))
    return Figure(value, lower, upper, sum(each.counting for each in parts), n, d, parts)


def _calibration(metric: LabelMetric, labels: Floats, answers: Answers) -> Figure | None:
    """Of both halves of scores; `n` is g in them, see `comparator.calibration`."""
    legal = metric.legal_label(labels)
    labels, score = labels[legal], answers.score[legal]
    d = ((score >= 0) & (score <= 1)).astype(np.float64)
    n = gaps(np.where(d > 0, score, 0.0), labels) * d[:, None]
    count = _counting(d)
    if not count:
        return None
    lower = upper = 0.0
    for half in n[d > 0].T:  # (1 + g) / 2 is a share; of four bounds each has a part of alpha
        low, high = (2 * each - 1 for each in mean_bounds(Rows.of((1 + half) / 2, np.ones(count)), ALPHA / 4))
        lower += max(low, -high, 0.0)
        upper += max(-low, high)
    value = error_of(n.sum(axis=0) / count)
    return Figure(value, min(lower, value), max(min(upper, 1.0), value), count, n, d)


def _calibration_loss(theirs: Figure, ours: Figure) -> Loss:
    both = (theirs.d > 0) & (ours.d > 0)
    return CalibrationLoss(Rows.of(*theirs.n[both].T, *ours.n[both].T)).loss()


def _mean_loss(theirs: Figure, ours: Figure) -> Loss:
    """How much lower the mean over classes is than the champion's: the bounds of all classes hold together."""
    count = len(theirs.parts)
    losses = [
        PairedLoss(
            Rows.of(champion.n, champion.d, version.n, version.d),
            1.0,
            binomial_bounds(round(float(champion.n.sum())), champion.counting, NUISANCE_ALPHA / 2 / count),
            count,
        ).loss()
        for champion, version in zip(theirs.parts, ours.parts, strict=True)
    ]
    value, lower, upper = (sum(getattr(each, name) for each in losses) / count for name in ("value", "lower", "upper"))
    return Loss(value, lower, upper)


def _counting(d: Floats) -> int:
    return int((d > 0).sum())


def _shares(metric: LabelMetric, n: Floats, d: Floats, alpha: float) -> tuple[float, float]:
    """Bounds of the share of successes among the rows that count."""
    if metric.rail.metric in _OF_COUNTS:
        return binomial_bounds(round(metric.share(float(n.sum()))), _counting(d), alpha)
    return mean_bounds(Rows.of(n, d), alpha)


def minimum(asked: Measured, found: Figure | None, rows: int) -> Check:
    """Whether the staged server reaches what the policy asks for, by the bound."""
    metric, least = LabelMetric(asked.rail), asked.least if asked.least is not None else 0.0
    name, better = f"{asked.name}.minimum", metric.sign > 0
    expected = f"expected at {'least' if better else 'most'} {least:g}"
    if found is None or found.counting < LEAST_COUNTING:
        return _too_few(name, metric, found, expected)
    text = f"{_told(metric, found)} through the staged server, {expected}"
    return _held(name, found, least, text, rows, better=better, numbers={"asked": least})


def reproduced(asked: Measured, found: Figure | None, offline: float | None, tolerance: float, rows: int) -> Check:
    """Whether the registry's offline figure is what the staged server shows: a leaked evaluation is not."""
    metric, name = LabelMetric(asked.rail), f"{asked.name}.reproduced"
    if offline is None:
        return Check(name, Verdict.INCONCLUSIVE, f"no offline {metric.name} is recorded on the version")
    expected = f"expected the offline {offline:.3f} within {_amount(asked, tolerance)}"
    if found is None or found.counting < LEAST_COUNTING:
        return _too_few(name, metric, found, expected)
    better = metric.sign > 0
    least = offline * (1 + tolerance) if metric.relative else offline - metric.sign * tolerance
    check = _held(
        name,
        found,
        least,
        f"{_told(metric, found)} through the staged server, {expected}",
        rows,
        better=better,
        numbers={"offline": offline, "tolerance": tolerance},
    )
    if check.verdict is not Verdict.FAIL:
        return check
    return Check(name, Verdict.FAIL, f"{check.reason}: the evaluation in the registry does not hold", check.numbers)


def no_regression(asked: Measured, ours: Figure | None, theirs: Figure | None, rows: int) -> Check:
    """Whether the staged server is no worse than the champion by the margin, on the same rows."""
    metric, name, margin = LabelMetric(asked.rail), f"{asked.name}.no_regression", asked.rail.margin
    expected = f"the margin is {_amount(asked, margin)}"
    for figure_of, who in ((ours, "the staged server"), (theirs, "the champion")):
        if figure_of is None or figure_of.counting < LEAST_COUNTING:
            return _too_few(name, metric, figure_of, expected, who)
    if ours is None or theirs is None:  # said above
        raise AssertionError
    if metric.relative:
        return _no_higher(asked, metric, ours, theirs, rows)
    scale = 1.0 if metric.rail.metric in _OF_COUNTS else metric.rail.width
    paired = None
    if metric.rail.metric is Metric.CALIBRATION:
        loss = _calibration_loss(theirs, ours)
    elif ours.parts:
        loss = _mean_loss(theirs, ours)
    else:
        paired = _paired(metric, ours, theirs)
        loss = paired.loss()
    value, lower, upper = (scale * each for each in (loss.value, loss.lower, loss.upper))
    numbers = {"loss": value, "lower": lower, "upper": upper, "margin": margin, "value": ours.value}
    text = (
        f"{metric.name} {ours.value:.3f} against the champion's {theirs.value:.3f} on the same {rows:,} rows: "
        f"{_difference(asked, value, lower, upper)}, {expected}"
    )
    numbers["champion"] = theirs.value
    if loss.lower > margin if paired is None else paired.more_than(margin / scale):
        return Check(name, Verdict.FAIL, text, numbers)
    if loss.upper < margin if paired is None else paired.less_than(margin / scale):
        return Check(name, Verdict.PASS, text, numbers)
    times = paired.times_needed(margin / scale) if paired is not None else _times(loss, margin)
    return Check(name, Verdict.INCONCLUSIVE, text + _more(rows * times), numbers)


def _times(loss: Loss, margin: float) -> float:
    """How often the rows would have to come, by the square root law; infinite: never."""
    spread = loss.upper - loss.value if loss.value < margin else loss.value - loss.lower
    return (spread / abs(margin - loss.value)) ** 2 if loss.value != margin else math.inf


def _no_higher(asked: Measured, metric: LabelMetric, ours: Figure, theirs: Figure, rows: int) -> Check:
    """The same of an RMSE, by the mean squared errors: its margin is relative."""
    name, margin = f"{asked.name}.no_regression", asked.rail.margin
    paired = PairedRatio(
        Rows.of(theirs.n, theirs.d, ours.n, ours.d), _shares(metric, theirs.n, theirs.d, NUISANCE_ALPHA / 2)
    )
    most = (1 + margin) ** 2
    found = paired.multiple()
    value, lower, upper = (min(math.sqrt(each) - 1, _MOST_TIMES) for each in (found.value, found.lower, found.upper))
    numbers = {"loss": value, "lower": lower, "upper": upper, "margin": margin, "value": ours.value}
    text = (
        f"{metric.name} {ours.value:.3f} against the champion's {theirs.value:.3f} on the same {rows:,} rows: "
        f"{_difference(asked, value, lower, upper)}, the margin is {_amount(asked, margin)}"
    )
    numbers["champion"] = theirs.value
    if paired.more_than(most):
        return Check(name, Verdict.FAIL, text, numbers)
    if paired.less_than(most):
        return Check(name, Verdict.PASS, text, numbers)
    return Check(name, Verdict.INCONCLUSIVE, text + _more(rows * paired.times_needed(most)), numbers)


def _paired(metric: LabelMetric, ours: Figure, theirs: Figure) -> PairedLoss:
    """Of a loss (brier, mae) what is missing to the worst is compared, so that more is better."""
    sides = [(side.n if metric.sign > 0 else side.d - side.n, side.d) for side in (theirs, ours)]
    (n, d), (n_ours, d_ours) = sides
    if metric.rail.metric is Metric.F1:  # its n and d are not those of a share: TP of TP + FP + FN bounds it
        lower, upper = (metric.shown(each) for each in _shares(metric, n, d, NUISANCE_ALPHA / 2))
    else:
        lower, upper = _shares(metric, n, d, NUISANCE_ALPHA / 2)
    return PairedLoss(Rows.of(n, d, n_ours, d_ours), metric.canary_bound, (lower, upper))


def _held(
    name: str, found: Figure, least: float, text: str, rows: int, *, better: bool, numbers: dict[str, float]
) -> Check:
    """By the bounds: PASS where the worse one reaches `least`, FAIL where the better one does not."""
    low, high = (found.lower, found.upper) if better else (-found.upper, -found.lower)
    wanted, value = (least, found.value) if better else (-least, -found.value)
    numbers = {"value": found.value, "lower": found.lower, "upper": found.upper, **numbers}
    if low >= wanted:
        return Check(name, Verdict.PASS, text, numbers)
    if high < wanted:
        return Check(name, Verdict.FAIL, text, numbers)
    spread = value - low if value >= wanted else high - value
    gap = abs(value - wanted)
    return Check(name, Verdict.INCONCLUSIVE, text + _more(rows * (spread / gap) ** 2 if gap else math.inf), numbers)


def _too_few(name: str, metric: LabelMetric, found: Figure | None, expected: str, who: str = "") -> Check:
    counted = found.counting if found is not None else 0
    of = f" of {who}" if who else ""
    text = f"{counted} {metric.rows}{of} count for {metric.name}, at least {LEAST_COUNTING} have to; {expected}"
    return Check(name, Verdict.INCONCLUSIVE, text, {"counting": float(counted)})


def _told(metric: LabelMetric, found: Figure) -> str:
    return f"{metric.name} {found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}] on {found.counting:,} {metric.rows}"


def _amount(asked: Measured, ratio: float) -> str:
    return amount(ratio, asked.rail)


def _difference(asked: Measured, loss: float, lower: float, upper: float) -> str:
    """So much worse or better, with bounds."""
    word, value, low, high = ("worse", loss, lower, upper) if loss > 0 else ("better", -loss, -upper, -lower)
    return f"{word} by {_amount(asked, value + 0.0)} [{_bare(asked, low)}, {_bare(asked, high)}]"


def _bare(asked: Measured, ratio: float) -> str:
    """The same without its unit, for bounds in brackets."""
    return f"{ratio if asked.rail.metric in IN_LABEL_UNITS else ratio * 100:.3g}"


def _more(rows: float) -> str:
    """About how many would tell, to two digits."""
    if not rows < _MOST_ROWS_TOLD:
        return "; too close for any number of rows to tell"
    digits = 10.0 ** max(0, math.floor(math.log10(max(rows, 1.0))) - 1)
    return f"; about {math.ceil(rows / digits) * digits:,.0f} rows would tell"


def none_predicted(answers: Answers) -> int:
    """Rows without a prediction."""
    return int(np.isnan(answers.prediction).sum())
