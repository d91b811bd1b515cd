"""The evidence of one rollout: every guardrail's tests, combined into a report.

Evidence of harm runs through the whole rollout, over all modes; evidence of no harm on errors and latency is taken
anew in each mode. What is proven stands, while the estimate of the whole mode agrees. All of it depends on data time
and the order of the facts, never on how they were cut into batches.

Combination: the mean of the guardrails' e-values is an e-value under any dependence (Vovk and Wang 2021). A guardrail
counts only while the harm estimated since its leading restart is at least half its margin, so that a trivial difference
never rolls back merely because traffic is large; leaving some out makes the mean smaller, never larger.

Copies are not shed at random (slow shadows are the first to go), so beyond a share of shed ones nothing passes.
A canary whose split is not as asked cannot pass either. An answer to an id that had been answered before is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from comparator import assess
from comparator.answers import Answers
from comparator.assess import Counts, Finding, Moment
from comparator.breaker import Breaker
from comparator.buckets import Bucket, Buckets
from comparator.difference import DifferenceTest
from comparator.events import Mode, Role
from comparator.gate import offline_figure
from comparator.guardrail import Verdict, overall
from comparator.label_test import label_test
from comparator.policy import LABEL_METRICS, Metric, Policy
from comparator.ratio import PAIR_MODES, RatioTest
from comparator.report import Report, reason
from comparator.sequence import Floats, as_e, log_e_below
from comparator.split import Split
from comparator.warm_up import WarmUp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from comparator.events import Columns
    from comparator.pairing import Joined

NOTABLE_REPEATED = 0.01
"""From this share of the observations on, those that came again let nothing pass: a client that asks again because
the first answer hangs hides what hangs."""


class Evidence:
    """Takes the facts of one rollout.

    Args:
        policy: the rollout's.
        trial: the version on trial.
        reference: the version it is compared with. Sides are told by version, not by role: in a watch the trial
            version is the champion.
        offline: the trial version's offline metrics.
        sticky: clients stick to a side, so that the split of requests says nothing.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        trial: int,
        reference: int,
        offline: Mapping[str, float],
        sticky: bool = False,
    ) -> None:
        self._policy = policy
        self._trial = trial
        self._reference = reference
        self._mode = Mode.NONE
        self._entered_at = self._mode_at = self._began_at = 0.0
        self._answers = 0
        self._counts = (Counts(), Counts())
        self._copies = [0, 0]  # sent, shed
        self._left_out = dict.fromkeys(
            ("repeated", "other_version", "other_mode", "unpaired", "warm_up", "bad_latency"), 0
        )
        rails = policy.guardrails
        self._sticky = sticky
        self._seen_at = 0.0  # when the latest answer came, or the step began
        self.silent_since = 0.0  # when the trial version's latest answer came, the step or listening began
        self.longest_silence = 0.0  # in seconds, between its answers since the last look
        self._warm_up = WarmUp(policy.restraint.warm_up_seconds, policy.restraint.warm_up_answers)
        self._breaker = Breaker()
        self._split = Split()
        self._latency = [rail for rail in rails if rail.metric is Metric.LATENCY]
        self._buckets = Buckets(policy, self._latency)
        errors = policy.guardrail(Metric.ERROR_RATE)
        # two tests of no harm share alpha: see `assess.errors`
        self._errors = _difference(policy, policy.alpha / 2, errors.margin if errors is not None else 1.0)
        self._slow = [_difference(policy, policy.alpha) for _ in self._latency]
        self._labelled = [
            label_test(policy, rail, (trial, reference), offline_figure(rail, offline))
            for rail in rails
            if rail.metric in LABEL_METRICS
        ]
        self.look()

    # ---- facts

    def enter(self, mode: Mode, at: float, percent: int | None = None) -> None:
        """A step begins: how traffic is shared from here on, and the share in integer percent (None: any)."""
        if self._mode is Mode.NONE:
            self._began_at = at
            for test in (self._errors, *self._slow):
                test.begin(at)
            for labelled in self._labelled:
                labelled.begin(at)
        if mode is not self._mode:
            self._mode, self._mode_at = mode, at
            self._counts = (Counts(), Counts())
            self._copies = [0, 0]
            for test in (self._errors, *self._slow):
                test.enter()
        self._entered_at = at
        self._answers = 0
        self.look()
        self._buckets.drop_open()
        self._breaker.enter()
        self._seen_at = self.silent_since = max(self._seen_at, at)
        self.ask(percent)

    def ask(self, percent: int | None) -> None:
        """The share in integer percent is another from here on, within the same step."""
        self._split.ask(self._share(percent), self._seen_at)

    @property
    def sticky(self) -> bool:
        """Whether clients stick to a side."""
        return self._sticky

    def stick(self, percent: int | None, *, sticky: bool) -> None:
        """Whether clients stick to a side from here on; `percent` is the share, whose count begins anew."""
        if sticky is not self._sticky:
            self._sticky = sticky
            self.ask(percent)

    def go_on(self, percent: int | None) -> None:
        """The share as it is after a restart: where it was changed meanwhile, its count begins anew."""
        if self._split.asked != self._share(percent):
            self.ask(percent)

    def _share(self, percent: int | None) -> float | None:
        judged = self._mode is Mode.CANARY and not self._sticky
        return percent / 100 if judged and percent is not None else None

    def take(self, joined: Joined) -> None:
        """Take what came of this rollout's requests. What came again is counted, and is no evidence."""
        self._left_out["repeated"] += joined.repeated.size
        if joined.observed.size:
            self.observe(joined.observed)
        self.label(joined)

    def observe(self, columns: Columns) -> None:
        """Take this rollout's observations, dtype OBSERVATION, in order of arrival; none of them a repeated one."""
        answers = Answers.of(columns, with_left=self._mode is Mode.CANARY)  # a copy does not end with its client
        ours, theirs = answers.version == self._trial, answers.version == self._reference
        known = (ours | theirs) & np.isfinite(answers.at)
        now = known & (answers.mode == self._mode)
        counted = now & answers.attempted_both if self._mode in PAIR_MODES else now
        self._left_out["other_version"] += int(np.count_nonzero(~known))
        self._left_out["other_mode"] += int(np.count_nonzero(known & ~now))
        self._left_out["unpaired"] += int(np.count_nonzero(now & ~counted))
        if self._mode in PAIR_MODES:  # who answers the client tells of both: in a watch that is the trial version
            told_by_client = now & (answers.role == Role.CHAMPION)
            self._copies[0] += int(np.count_nonzero(told_by_client & answers.attempted_both))
            self._copies[1] += int(np.count_nonzero(told_by_client & answers.shed))
        # While the proxy's breaker is open, the reference answers alone: without a pair, or for the trial version.
        heard = (now | (theirs & (answers.mode == Mode.FORCED))) & ~answers.left
        self._breaker.take(answers.at[heard], answers.asked[heard], ours[heard], answers.broken[heard])
        if self._policy.restraint.no_data_seconds is not None:
            self._listen(answers.at[counted & ours & ~answers.left])
        if not self._warm_up.over:
            counted = self._warm(answers, counted, ours)
        answers, ours = answers.where(counted), ours[counted]
        for bucket in self._buckets.add(answers, ours):
            self._take(bucket)
        if answers.left.any():
            answers, ours = answers.where(~answers.left), ours[~answers.left]
        self._left_out["bad_latency"] += int(np.count_nonzero(answers.odd))
        for counts, mine in zip(self._counts, (~ours, ours), strict=True):
            counts.answers += int(np.count_nonzero(mine))
            counts.failed += int(np.count_nonzero(mine & answers.failed))
            counts.latency.add_bins(answers.bins[mine & answers.told])
        self._answers += int(np.count_nonzero(ours))
        asked = answers.asked
        self._seen_at = max(self._seen_at, *answers.at[-1:].tolist(), 0.0)
        self._split.take(asked, ours)

    def silence(self, since: float) -> None:
        """A silence of the trial version counts from here on, at the earliest."""
        if self._policy.restraint.no_data_seconds is not None:
            self.silent_since = max(self.silent_since, since)

    def _listen(self, at: Floats) -> None:
        """The trial version answered at these moments."""
        if at.size:
            heard = np.maximum.accumulate(np.concatenate([[self.silent_since], at]))
            self.silent_since = float(heard[-1])
            self.longest_silence = max(self.longest_silence, float(np.max(np.diff(heard))))

    def _warm(self, answers: Answers, counted: NDArray[np.bool_], ours: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of those that count came when the trial version was warm."""
        cold = np.zeros(counted.shape, dtype=np.bool_)
        cold[counted] = self._warm_up.take(answers.at[counted], ours[counted])
        self._left_out["warm_up"] += int(np.count_nonzero(cold))
        return counted & ~cold

    def label(self, joined: Joined) -> None:
        """Take what labels completed of this rollout's requests."""
        if joined.completed.size or joined.paired.size:  # else there is nothing to weigh
            for test in self._labelled:
                test.take(joined)

    def _take(self, bucket: Bucket) -> None:
        failed = (bucket.failed[0], bucket.failed[1])
        count = (bucket.count[0], bucket.count[1])
        self._errors.take(bucket.began, bad=failed, count=count, excess_bad=failed[1], margin_bad=failed)
        for test, slow in zip(self._slow, bucket.slow, strict=True):
            if slow is not None:
                test.take(
                    bucket.began,
                    bad=(slow.slow[0], slow.slow[1]),
                    count=(slow.count[0], slow.count[1]),
                    excess_bad=slow.trial_half,
                    margin_bad=(slow.reference_tau, slow.trial_margin),
                    wider_bad=slow.trial_wider,
                )

    # ---- whether to look at all

    @property
    def tripped(self) -> str | None:
        """Why the circuit breaker rolls back; None: it does not."""
        return self._breaker.tripped

    def look(self) -> None:
        """The evidence is looked at now: what `harm_possible` and `pass_possible` say is of what comes after."""
        for test in self._tests:
            test.look()
        self.longest_silence = 0.0
        self._failed_at_look = self._counts[1].failed

    @property
    def harm_possible(self) -> bool:
        """Whether a report can have been FAIL at any moment since the last look. May be true although none was."""
        peaks = [test.peak for test in self._tests]
        return _log_mean(peaks, len(peaks)) >= -math.log(self._policy.alpha) or self._breaker.tripped is not None

    @property
    def pass_possible(self) -> bool:
        """Whether a report can have been PASS at any moment since the last look. May be true although none was."""
        policy = self._policy
        if self._answers < policy.min_answers:
            return False
        if self._mode is Mode.WATCH:
            return True
        if any(test.buckets < policy.min_buckets or not test.no_harm for test in self._slow):
            return False
        if policy.guardrail(Metric.ERROR_RATE) is not None and (
            self._errors.buckets < policy.min_buckets or not (self._errors.no_harm or self._few_failures)
        ):
            return False
        return all(test.may_pass for test in self._labelled)

    @property
    def _few_failures(self) -> bool:
        """Whether the trial version's own error rate can have been shown to be below the margin since the last look."""
        rail = self._policy.guardrail(Metric.ERROR_RATE)
        if rail is None:
            return True
        answers = self._counts[1].answers
        failed = min(self._failed_at_look, answers)
        return log_e_below(failed, answers, rail.margin) >= math.log(2 / self._policy.alpha)

    @property
    def _tests(self) -> list[DifferenceTest | RatioTest]:
        """One for each guardrail."""
        tests: list[DifferenceTest | RatioTest] = [*self._slow]
        if self._policy.guardrail(Metric.ERROR_RATE) is not None:
            tests.append(self._errors)
        return [*tests, *self._labelled]

    # ---- the report

    def report(self, at: float) -> Report:
        """The evidence as it stands at `at` (seconds since the epoch)."""
        policy = self._policy
        now = Moment(at, self._mode, self._mode_at, self._began_at)
        findings = self._findings(now)
        threshold = 1 / policy.alpha
        alone = threshold * len(findings)
        blamed = self._blamed(findings)
        rails = tuple(
            found.report(
                harmed=blamed is not None and (found is blamed or (found.harmful and found.log_e >= math.log(alone))),
                threshold=alone,
                alpha=policy.alpha,
            )
            for found in findings
        )
        missing, waits = self._missing(at)
        blame = blamed.rail.name if blamed is not None else ""
        verdict = overall([rail.verdict for rail in rails] + [Verdict.INCONCLUSIVE] * bool(missing))
        left = assess.longest(waits + [rail.seconds_left for rail in rails if rail.missing])
        return Report(
            at=at,
            mode=self._mode,
            verdict=verdict,
            reason=reason(verdict, rails, missing, left, blame),
            blame=blame,
            answers=self._answers,
            combined_e=as_e(_log_mean([found.log_e for found in findings], len(findings))),
            threshold=threshold,
            guardrails=rails,
            missing=missing,
            seconds_left=left if verdict is Verdict.INCONCLUSIVE else None,
            coverage=next((test.coverage for test in self._labelled if test.coverage is not None), None),
            shed=self._shed,
            left_out=self._all_left_out,
        )

    @property
    def _all_left_out(self) -> dict[str, int]:
        """Observations, and labelled rows: these count once, however many guardrails leave them out."""
        return self._left_out | {
            "bad_label": max((test.bad_label for test in self._labelled), default=0),
            "bad_score": max((test.bad_score for test in self._labelled), default=0),
        }

    @property
    def _notably_repeated(self) -> int:
        """How many observations came again, where that lets nothing pass; else 0."""
        repeated = self._left_out["repeated"]
        compared = sum(counts.answers for counts in self._counts)
        return repeated if repeated >= NOTABLE_REPEATED * (repeated + compared) else 0

    @property
    def _shed(self) -> float | None:
        """The share of this mode's copies that were shed."""
        total = sum(self._copies)
        return self._copies[1] / total if total else None

    def _findings(self, now: Moment) -> list[Finding]:
        findings: list[Finding] = []
        slow, labelled = iter(self._slow), iter(self._labelled)
        for rail in self._policy.guardrails:
            if rail.metric is Metric.LATENCY:
                findings.append(assess.latency(self._policy, rail, next(slow), self._counts, now))
            elif rail.metric is Metric.ERROR_RATE:
                findings.append(assess.errors(self._policy, rail, self._errors, self._counts, now))
            else:
                findings.append(assess.labelled(self._policy, rail, next(labelled), now))
        return findings

    def _blamed(self, findings: list[Finding]) -> Finding | None:
        """The guardrail to blame, if the evidence of harm is enough."""
        harmful = [found for found in findings if found.harmful]
        if not harmful or _log_mean([found.log_e for found in harmful], len(findings)) < -math.log(self._policy.alpha):
            return None
        return max(harmful, key=lambda found: found.log_e)

    def _missing(self, at: float) -> tuple[tuple[str, ...], list[float | None]]:
        missing: list[str] = []
        waits: list[float | None] = []
        need, shed = self._policy.min_answers, self._shed
        if self._mode is not Mode.NONE and not self._warm_up.over:
            missing.append(self._warm_up.missing(at))
            waits.append(None)
        if self._answers < need:
            elapsed = at - self._entered_at
            missing.append(f"{need - self._answers:,} more answers of {need:,} in this step")
            waits.append(elapsed * (need - self._answers) / self._answers if self._answers and elapsed > 0 else None)
        if shed is not None and shed > self._policy.most_shed_ratio:
            missing.append(
                f"copies: {shed:.0%} of them were shed, at most {self._policy.most_shed_ratio:.0%} may be, since the "
                "slowest are the first to go (see limits.mirror_slots and mirror_bytes, or mirror less)"
            )
            waits.append(None)
        if repeated := self._notably_repeated:
            missing.append(
                f"ids that do not come again: {repeated:,} observations are left out: their ids had been answered "
                "before, and who asks again is no fair sample (see request_id)"
            )
            waits.append(None)
        mismatch = self._split.mismatch(self._policy.split_alpha)
        if mismatch is not None:
            missing.append(mismatch)
            waits.append(None)
        return tuple(missing), waits


def _difference(policy: Policy, alpha: float, allowed: float = 0.0) -> DifferenceTest:
    return DifferenceTest(
        policy.restart_seconds,
        policy.incident_buckets,
        allowed=allowed,
        alpha=alpha,
        min_buckets=policy.min_buckets,
    )


def _log_mean(logs: list[float], count: int) -> float:
    """log(sum(exp(logs)) / count)."""
    top = max(logs)
    return top + math.log(sum(math.exp(each - top) for each in logs) / count)
