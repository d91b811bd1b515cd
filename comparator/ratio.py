"""The test behind every metric from labels: a ratio sum n / sum d of each side, by betting, in the order of the labels.

Shadow and watch: blocks of m requests (see `LabelMetric.block`) that count for either side (d > 0). With sums over the
block's rows, A the reference and B the trial version,

    W = (sum n_A sum d_B - sum n_B sum d_A - sum_i (n_Ai d_Bi - n_Bi d_Ai)) / m^2

has mean 0 iff the ratios are equal: a two-sample U-statistic, over pairs of different rows. No harm: the bet is on
-W + margin (sum d_A sum d_B - sum_i d_Ai d_Bi) / m^2. Canary: a block is the shortest run of rows that count with both
versions in it, W = mean n_A mean d_B - mean n_B mean d_A, each mean over the side's rows of the run; no harm: -W +
margin mean d_A mean d_B. Losses flip the sign of W. A relative margin (RMSE) is of n_A d_B instead of d_A d_B. What is
added to -W is never negative, so that bets on it are as safe as those on W, whose bounds are in `label_metric`. Bets:
Waudby-Smith and Ramdas 2024.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comparator.coverage import Coverage, either
from comparator.events import Mode
from comparator.guardrail import Estimate
from comparator.label_metric import LabelMetric
from comparator.policy import Guardrail, Policy
from comparator.sequence import Floats, Mixture, RestartingMixture, ratio_bounds

if TYPE_CHECKING:
    from comparator.events import Columns
    from comparator.pairing import Joined

PAIR_BETS = np.array([0.25, 0.5, 1.0, 2.0, 3.9]) / 4  # as shares of the largest bet allowed: 1 / bound
CANARY_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # the same
PROMISE_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # the same
PAIR_MODES = (int(Mode.SHADOW), int(Mode.WATCH))


class Rows:
    """Completed rows with the two versions told apart, and what each says: arrays of shape (n,)."""

    def __init__(self, rows: Columns, versions: tuple[int, int], metric: LabelMetric) -> None:
        ours, theirs = (rows["version"] == each for each in versions)
        pair = (rows["sides"] == 2) & np.isin(rows["mode"], PAIR_MODES) & either(ours) & either(theirs)
        single = (rows["sides"] == 1) & (rows["mode"] == Mode.CANARY) & either(ours | theirs)
        known = (pair | single) if metric.in_pairs else single
        legal = np.flatnonzero(known & metric.legal_label(rows["label"]))
        self.bad_label = int(np.count_nonzero(known)) - legal.size
        rows, ours, theirs = rows[legal], ours[legal], theirs[legal]
        self.bad_score = int(np.count_nonzero(metric.bad_score(rows["score"]) & (ours | theirs)))
        n, d = metric.quantities(rows["label"][:, None], rows["prediction"], rows["score"])
        self.label: Floats = rows["label"]
        self.prediction: Floats = rows["prediction"]
        self.score: Floats = rows["score"]
        self.ours, self.theirs = ours, theirs
        self.at: Floats = rows["at"]
        self.pair: NDArray[np.bool_] = pair[legal]
        self.d_ref, self.n_ref = (either(each * theirs) for each in (d, n))
        self.d_trial, self.n_trial = (either(each * ours) for each in (d, n))
        self.counts: NDArray[np.bool_] = (self.d_ref > 0) | (self.d_trial > 0)

    def columns(self, which: NDArray[np.int64]) -> list[Floats]:
        """D and n of the reference, d and n of the trial version, of some rows."""
        return [each[which] for each in (self.d_ref, self.n_ref, self.d_trial, self.n_trial)]


class Blocks:
    """Cuts rows into blocks of both kinds; keeps what is left over for the next batch.

    All sums are of multiples of 2^-24 (see `label_metric`), hence exact: numpy may add them in any order.
    """

    def __init__(self, size: int, *, relative: bool = False) -> None:
        self._size = size
        self._relative = relative
        self._left: Floats = np.zeros((0, 6))  # pair rows: d, n of the reference, of the trial, allowed, n d - n d
        self._run: Floats = np.zeros((0, 6))  # canary: the sums of the run under way; d, n, d, n, rows, rows
        self._clock = -math.inf

    def cut(self, rows: Rows) -> tuple[Floats, NDArray[np.bool_], Floats, Floats, Floats]:
        """The blocks that these rows complete, in order.

        Returns:
            When each was complete (never backwards); whether it is of pairs; its W, not flipped; what a margin of 1
            adds to -W; its sums: d and n of the reference, d and n of the trial version: shape (n, 4).
        """
        ends, sums = self._pairs(rows)
        runs, run_sums = self._canary(rows)
        d_ref, n_ref, d_trial, n_trial, allowed, diagonal = sums.T
        square = float(self._size**2)
        pair_w = (n_ref * d_trial - n_trial * d_ref - diagonal) / square
        pair_margin = ((n_ref if self._relative else d_ref) * d_trial - allowed) / square
        # the run's means: of a canary
        d_ref, n_ref, d_trial, n_trial = (run_sums[:, side] / run_sums[:, 4 + side // 2] for side in range(4))
        index = np.concatenate([ends, runs])
        order = np.argsort(index, kind="stable")
        at = np.maximum.accumulate(np.maximum(rows.at[index[order]], self._clock))
        if at.size:
            self._clock = float(at[-1])
        w = np.concatenate([pair_w, n_ref * d_trial - n_trial * d_ref])[order]
        margin = np.concatenate([pair_margin, (n_ref if self._relative else d_ref) * d_trial])[order]
        every = np.concatenate([sums[:, :4], run_sums[:, :4]])[order]
        return at, (np.arange(index.size) < ends.size)[order], w, margin, every

    def _pairs(self, rows: Rows) -> tuple[NDArray[np.int64], Floats]:
        """The row that completes each block of pairs, and the block's sums."""
        which = np.flatnonzero(rows.pair & rows.counts)
        d_ref, n_ref, d_trial, n_trial = rows.columns(which)
        allowed, diagonal = (n_ref if self._relative else d_ref) * d_trial, n_ref * d_trial - n_trial * d_ref
        held = len(self._left)
        whole = np.concatenate([self._left, np.column_stack([d_ref, n_ref, d_trial, n_trial, allowed, diagonal])])
        count = len(whole) // self._size
        self._left = whole[count * self._size :]
        sums = whole[: count * self._size].reshape(count, self._size, 6).sum(axis=1)
        return which[np.arange(1, count + 1) * self._size - held - 1] if count else which[:0], sums

    def _canary(self, rows: Rows) -> tuple[NDArray[np.int64], Floats]:
        """The row that completes each run with both versions in it, and the run's sums."""
        which = np.flatnonzero(~rows.pair & rows.counts)
        columns = rows.columns(which)
        mine = columns[2] > 0
        held = len(self._run)
        whole = np.concatenate([self._run, np.column_stack([*columns, ~mine, mine])])
        owner = whole[:, 5] > 0
        change = np.flatnonzero(owner[1:] != owner[:-1]) + 1
        # A row of another owner ends a run; the row after it begins one. So of changes in a row every second one ends.
        alone = np.diff(change, prepend=-1) != 1
        first = np.maximum.accumulate(np.where(alone, np.arange(change.size), 0))
        ends = change[(np.arange(change.size) - first) % 2 == 0]
        done = int(ends[-1]) + 1 if ends.size else 0
        self._run = whole[done:].sum(axis=0, keepdims=True) if done < len(whole) else whole[:0]
        if not ends.size:
            return which[:0], whole[:0]
        begins = np.concatenate([[0], ends[:-1] + 1])
        return which[ends - held], np.add.reduceat(whole[:done], begins, axis=0)


class RatioTest:
    """Evidence of harm, of no harm and for the offline promise, of one metric from labels.

    Args:
        policy: block length, restarts, alpha.
        rail: the guardrail.
        versions: (trial, reference).
        offline: the trial's offline figure, where the registry has one.

    Attributes:
        metric: what it is a test of.
        offline: as given.
        no_harm: the bets against "worse by the margin".
        kept: the bets against "the offline promise is not kept".
        promise: the live figure that is to be shown; None: none is, or there is no offline figure.
        counts: labelled rows that count, of (reference, trial).
        bad_label: rows left out because their label says nothing (of two classes: neither 0 nor 1).
        bad_score: sides of rows left out because their score is no probability.
    """

    def __init__(self, policy: Policy, rail: Guardrail, versions: tuple[int, int], offline: float | None) -> None:
        self.metric = LabelMetric(rail, multiclass=policy.multiclass)
        self._rail = rail
        self._least = policy.min_labelled_positives
        self._versions = versions
        self._margin = self.metric.allowance
        size = self.metric.block(policy.block_requests)
        self._pair_bets = PAIR_BETS / self.metric.pair_bound(size)
        self._canary_bets = CANARY_BETS / self.metric.canary_bound
        log_threshold = math.log(1 / policy.alpha)
        self._blocks = Blocks(size, relative=self.metric.relative)
        self._harm = RestartingMixture(len(PAIR_BETS), policy.restart_seconds, sums=4)
        self._sums = np.zeros(4)
        self.no_harm = Mixture(len(PAIR_BETS), log_threshold)
        self.offline = offline
        self.promise: float | None = None
        self.kept = Mixture(len(PROMISE_BETS), log_threshold)
        if rail.offline_tolerance is not None and offline is not None:
            self.promise = offline - self.metric.sign * rail.offline_tolerance
        self.counts = [0, 0]
        self._totals = [0.0, 0.0]  # sums of n
        self._coverage = Coverage(self.metric, versions)
        self.bad_label = self.bad_score = 0

    def begin(self, at: float) -> None:
        """The rollout's data time starts here."""
        self._harm.begin(at)

    def take(self, joined: Joined) -> None:
        """Take what labels and observations completed, of this rollout."""
        self._coverage.take(joined)
        if not joined.completed.size:
            return
        rows = Rows(joined.completed, self._versions, self.metric)
        self.bad_label += rows.bad_label
        self.bad_score += rows.bad_score
        for side, (d, n) in enumerate(((rows.d_ref, rows.n_ref), (rows.d_trial, rows.n_trial))):
            self.counts[side] += int(np.count_nonzero(d))
            self._totals[side] += float(n.sum())
        self._weigh(rows)

    def _weigh(self, rows: Rows) -> None:
        mine = rows.d_trial > 0
        self._keep(rows.n_trial[mine], rows.d_trial[mine])
        self._bet(*self._blocks.cut(rows))

    def _keep(self, n: Floats, d: Floats) -> None:
        """Bet on the offline promise, by what the trial version's rows say one after the other."""
        if self.promise is not None and self._stake > 0:
            gains = self.metric.sign * (n - self.promise * d)
            self.kept.multiply(np.log1p(gains[:, None] * PROMISE_BETS[None, :] / self._stake))

    @property
    def _stake(self) -> float:
        """The most that one row speaks against the promise; 0 or less: it is kept whatever the rows say.

        n - promise d >= -promise (d - n) >= -promise, of a loss promise d - n >= -(1 - promise).
        """
        promise = self.promise or 0.0
        return promise if self.metric.sign > 0 else 1 - promise

    def _bet(self, at: Floats, pair: NDArray[np.bool_], w: Floats, allowed: Floats, sums: Floats) -> None:
        w = self.metric.sign * w
        bets = np.where(pair[:, None], self._pair_bets[None, :], self._canary_bets[None, :])
        harm = np.log1p(bets * w[:, None])
        self.no_harm.multiply(np.log1p(bets * (self._margin * allowed - w)[:, None]))
        due = self._harm.due(at)
        for number in np.unique(due).tolist():
            self._harm.restart(number, self._sums)
            mine = due == number
            self._harm.multiply(harm[mine])
            self._sums = self._sums + sums[mine].sum(axis=0)

    def look(self) -> None:
        """The evidence of harm is looked at now."""
        self._harm.look()

    @property
    def peak(self) -> float:
        """The largest logarithm of the e-value against "no worse" since the last look."""
        return self._harm.peak

    @property
    def promise_kept(self) -> bool:
        """Whether the offline promise is proven, or there is none to prove."""
        if self._rail.offline_tolerance is None:
            return True
        return self.promise is not None and (self._stake <= 0 or self.kept.reached)

    @property
    def may_pass(self) -> bool:
        """Whether all is there that, once there, stays: enough labels, and the proofs."""
        return self.promise_kept and self.counts[1] >= self._least and self.no_harm.reached

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against "no worse"."""
        return self._harm.log_e

    @property
    def harm(self) -> float | None:
        """How much worse the trial version is, in the margin's units, since the leading restart.

        None: one of the two has no labelled row that counts.
        """
        d_ref, n_ref, d_trial, n_trial = (self._sums - self._harm.since_leader).tolist()
        if not d_ref or not d_trial:
            return None
        if self.metric.relative:
            return self.metric.worse(self.metric.shown(n_ref / d_ref), self.metric.shown(n_trial / d_trial))
        worse: float = self.metric.sign * (n_ref / d_ref - n_trial / d_trial) * self._rail.width
        return worse

    @property
    def unseen(self) -> int:
        """How many classes one of the two has no row of yet; only a mean over classes waits for that."""
        return 0

    @property
    def coverage(self) -> tuple[float, float] | None:
        """Shares labelled in shadow: see `Coverage`."""
        return self._coverage.shares

    def estimate(self, side: int, alpha: float) -> Estimate | None:
        """The figure of a side (0 the reference, 1 the trial version) in its own units; None: no row counts yet.

        The bounds are those of a share: the likelihood ratio of a success is convex in it, so that of shares between 0
        and 1 its mean is no larger than that of successes with the same mean.
        """
        count = self.counts[side]
        if not count:
            return None
        share = self.metric.share(self._totals[side])
        lower, upper = ratio_bounds(share, count, alpha)
        shown = self.metric.shown
        return Estimate(shown(share / count), shown(lower), shown(upper), count)
