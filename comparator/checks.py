"""What the answers to a policy's checks come to: a run of results beyond a threshold is harm, a run within it a pass.

Thresholds, not tests: looked at again and again they have no false-alarm rate, and are not part of alpha. What has not
been answered is INCONCLUSIVE: it never rolls back, and lets nothing pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comparator.guardrail import PRECEDENCE, Verdict, overall

if TYPE_CHECKING:
    from comparator.events import CheckResult
    from comparator.outside import Check
    from comparator.report import Report

STALE_INTERVALS = 3
LEAST_STALE_SECONDS = 60.0
"""After so many intervals without an answer, and no less than a minute, earlier answers say nothing any more: one may
take longer than an interval."""

NOT_ANYTIME_VALID = "a threshold, not any-time-valid"


@dataclass(slots=True)
class Standing:
    """What one check's answers have come to in this step."""

    run: int = 0  # results in a row: within the threshold, or, negative, beyond it; up to what the check asks for
    answered_at: float = 0.0
    challenger: float | None = None
    champion: float | None = None
    problem: str = ""  # why the latest query has no answer; "": it has one


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One check at one moment.

    Args:
        name: as in the policy.
        verdict: FAIL (of a check that does not merely hold) or PASS after enough results in a row, else INCONCLUSIVE.
        reason: one plain sentence with the figures.
        champion: the reference version's figure; None: none yet, or not asked for.
        challenger: the trial version's.
        in_a_row: results in a row that are within the threshold; negative: beyond it.
        needed: so many fail, or pass.
    """

    name: str
    verdict: Verdict
    reason: str
    champion: float | None
    challenger: float | None
    in_a_row: int
    needed: int

    def as_data(self) -> dict[str, object]:
        """Plain data."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "champion": self.champion,
            "challenger": self.challenger,
            "in_a_row": self.in_a_row,
            "needed": self.needed,
            "anytime_valid": False,
        }


class Checks:
    """The checks of one rollout, begun anew in each step: its traffic is shared otherwise."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self._standing = {check.name: Standing() for check in checks}

    def enter(self) -> None:
        """A step begins."""
        self._standing = {name: Standing() for name in self._standing}

    def take(self, check: Check, result: CheckResult) -> None:
        """A query was answered, or not.

        One without an answer counts for nothing. It ends no run either, unless the answers stay away for long: harm
        that also slows the monitoring down is still harm.
        """
        before = self._standing[check.name]
        if result.challenger is None:
            before.problem = result.problem
            return
        run = 0 if _stale(check, before, result.at) else before.run
        beyond = exceeds(check, result.challenger, result.champion)
        if beyond is None:
            before.problem = "expected a champion's figure of more than 0: there is no percentage of another"
            return
        run = min(run, 0) - 1 if beyond else max(run, 0) + 1
        self._standing[check.name] = Standing(
            max(-check.results, min(run, check.results)),
            max(result.at, before.answered_at),
            result.challenger,
            result.champion,
        )

    def problem(self, name: str) -> str:
        """Why the latest query of the check of this name has no answer; "": it has one, or was not asked."""
        return self._standing[name].problem if name in self._standing else ""

    def failing(self, checks: tuple[Check, ...]) -> bool:
        """Whether one of them that does not merely hold has enough results beyond its threshold."""
        return any(self._standing[check.name].run <= -check.results for check in checks if not check.holds)

    def reports(self, checks: tuple[Check, ...], at: float) -> Iterator[CheckReport]:
        """Each of them at `at`."""
        for check in checks:
            yield _report(check, self._standing[check.name], at)


def exceeds(check: Check, challenger: float, champion: float | None) -> bool | None:
    """Whether the figures are beyond the check's threshold; None: that cannot be told."""
    if check.at_most is not None:
        return challenger > check.at_most
    if check.at_least is not None:
        return challenger < check.at_least
    if champion is None or check.worse_by is None:
        return None
    if challenger == champion:
        return False
    if champion <= 0:
        return None
    if check.higher_is_better:
        return challenger < champion * (1 - check.worse_by)
    return challenger > champion * (1 + check.worse_by)


def combined(report: Report, reports: tuple[CheckReport, ...]) -> Report:
    """The evidence and the checks together: any harm is harm, and only all of them together pass."""
    if not reports:
        return report
    verdict = overall([report.verdict, *(each.verdict for each in reports)])
    blame, said = report.blame, report.reason
    told = [f"{each.name}: {each.reason}" for each in reports if each.verdict is verdict]
    if verdict is Verdict.FAIL and report.verdict is not Verdict.FAIL:
        blame, said = next(each.name for each in reports if each.verdict is Verdict.FAIL), told[0]
    elif verdict is Verdict.INCONCLUSIVE and report.verdict is Verdict.PASS:
        said = f"waiting for checks: {'; '.join(told)}"
    elif verdict is not Verdict.FAIL:
        said = "; ".join([said, *told])
    left = report.seconds_left if report.verdict is verdict else None
    return replace(report, verdict=verdict, blame=blame, reason=said, seconds_left=left, checks=reports)


def stale_seconds(check: Check) -> float:
    """How long an answer says something."""
    return max(STALE_INTERVALS * check.every_seconds, LEAST_STALE_SECONDS)


def _stale(check: Check, standing: Standing, at: float) -> bool:
    return at - standing.answered_at > stale_seconds(check)


def _report(check: Check, standing: Standing, at: float) -> CheckReport:
    run = 0 if _stale(check, standing, at) else standing.run
    failed = _failed(check, standing)
    verdict = PRECEDENCE[failed, run < check.results]
    return CheckReport(
        check.name,
        verdict,
        _words(check, standing, at),
        standing.champion,
        standing.challenger,
        standing.run if failed else run,
        check.results,
    )


def _failed(check: Check, standing: Standing) -> bool:
    """Harm that was shown does not pass away by silence."""
    return not check.holds and standing.run <= -check.results


def _words(check: Check, standing: Standing, at: float) -> str:
    problem = f"no answer: {standing.problem}" if standing.problem else ""
    if standing.challenger is None:
        return problem or "not answered yet"
    if _stale(check, standing, at) and not _failed(check, standing):
        return problem or f"no answer for {at - standing.answered_at:.0f} s"
    figures = f"{standing.challenger:.4g}"
    if check.compares and standing.champion is not None:
        figures += f" against the champion's {standing.champion:.4g}"
        if standing.champion > 0:
            change = standing.challenger / standing.champion - 1
            figures += f" ({change * 100:+.3g} %)" if math.isfinite(change) else ""
    side = "within" if standing.run > 0 else "beyond"
    count = abs(standing.run)
    held = " (which holds)" if check.holds and standing.run < 0 else ""
    told = (
        f"{figures}, {side} {threshold(check)}{held}, {count} of {check.results} results in a row ({NOT_ANYTIME_VALID})"
    )
    return f"{told}; {problem}" if problem else told


def threshold(check: Check) -> str:
    """What a check allows, in words."""
    if check.at_most is not None:
        return f"at most {check.at_most:g}"
    if check.at_least is not None:
        return f"at least {check.at_least:g}"
    side = "lower" if check.higher_is_better else "higher"
    return f"at most {(check.worse_by or 0) * 100:g} % {side} than the champion's"
