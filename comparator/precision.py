"""The test behind precision: labelled predicted positives, by betting, in the order in which their labels came.

Shadow and watch: blocks of m requests in which either version predicted positive. With P predicted positives and TP
true ones of each version, W = (TP_ref P_trial - TP_trial P_ref) / m^2 has mean 0 iff the precisions are equal (a
two-sample U-statistic), and |W| <= 1/4. Canary: a block is the shortest run of labelled positives with both versions in
it, W the difference of their mean labels. Bets on W: Waudby-Smith and Ramdas 2024.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comparator.events import Mode
from comparator.policy import Guardrail, Policy
from comparator.sequence import Floats, Mixture, RestartingMixture

if TYPE_CHECKING:
    from comparator.events import Columns
    from comparator.pairing import Joined

PAIR_BETS = np.array([0.25, 0.5, 1.0, 2.0, 3.9])
CANARY_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
PROMISE_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # as shares of the largest bet allowed
PAIR_MODES = (int(Mode.SHADOW), int(Mode.WATCH))
ENOUGH_TO_COMPARE = 10  # challenger-only positives, below which the coverage of labels is not judged


class _Rows:
    """Completed rows with the two versions told apart: arrays of shape (n,)."""

    def __init__(self, rows: Columns, trial: int, reference: int) -> None:
        version, positive = rows["version"], rows["prediction"] == 1.0
        ours, theirs = version == trial, version == reference
        pair = (rows["sides"] == 2) & np.isin(rows["mode"], PAIR_MODES) & ours.any(axis=1) & theirs.any(axis=1)
        single = (rows["sides"] == 1) & (rows["mode"] == Mode.CANARY) & (ours | theirs).any(axis=1)
        known = pair | single
        self.at: Floats = rows["at"][known]
        self.pair: NDArray[np.bool_] = pair[known]
        self.trial: NDArray[np.bool_] = (positive & ours).any(axis=1)[known]  # predicted positive by the trial version
        self.reference: NDArray[np.bool_] = (positive & theirs).any(axis=1)[known]
        self.true: NDArray[np.bool_] = rows["label"][known] == 1.0
        self.shadow: NDArray[np.bool_] = (rows["mode"][known] == Mode.SHADOW) & self.pair


class _Blocks:
    """Cuts rows into blocks of both kinds; keeps what is left over for the next batch."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left: NDArray[np.bool_] = np.zeros((0, 3), dtype=bool)  # pair rows: reference, trial, true
        self._run = [0.0, 0.0, 0.0]  # canary: whose run (1 trial, 0 reference), its length, its true ones
        self._clock = -math.inf

    def cut(self, rows: _Rows) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """The blocks that these rows complete, in order.

        Returns:
            When each was complete (never backwards); whether it is of pairs; its sums: P and TP of the reference,
            P and TP of the trial, N_both: shape (n, 5).
        """
        pairs = np.flatnonzero(rows.pair & (rows.trial | rows.reference))
        new = np.column_stack([rows.reference[pairs], rows.trial[pairs], rows.true[pairs]])
        held = len(self._left)
        whole = np.concatenate([self._left, new])
        count = len(whole) // self._size
        blocks = whole[: count * self._size].reshape(count, self._size, 3)
        self._left = whole[count * self._size :]
        ends = pairs[np.arange(1, count + 1) * self._size - held - 1] if count else pairs[:0]
        ref, trial, true = blocks[..., 0], blocks[..., 1], blocks[..., 2]
        sums = np.stack([ref, ref & true, trial, trial & true, ref & trial], axis=-1).sum(axis=1).astype(float)
        runs = self._canary(rows)
        index = np.concatenate([ends, [end for end, _ in runs]]).astype(np.int64)
        order = np.argsort(index, kind="stable")
        every = np.concatenate([sums, np.array([run for _, run in runs]).reshape(len(runs), 5)])[order]
        at = np.maximum.accumulate(np.maximum(rows.at[index[order]], self._clock))
        if at.size:
            self._clock = float(at[-1])
        return at, (np.arange(len(index)) < count)[order], every

    def _canary(self, rows: _Rows) -> list[tuple[int, list[float]]]:
        found: list[tuple[int, list[float]]] = []
        for index in np.flatnonzero(~rows.pair & (rows.trial | rows.reference)).tolist():
            mine, true = float(rows.trial[index]), float(rows.true[index])
            owner, length, good = self._run
            if length and owner != mine:
                run, one = [length, good], [1.0, true]
                found.append((index, [*run, *one, 0.0] if mine else [*one, *run, 0.0]))
                self._run = [0.0, 0.0, 0.0]
            else:
                self._run = [mine, length + 1, good + true]
        return found


class PrecisionTest:
    """Evidence of harm, of no harm and for the offline promise.

    Args:
        policy: block length, restarts, alpha.
        rail: the guardrail on precision.
        versions: (trial, reference).
        offline: the trial's offline precision, where the registry has one.
    """

    def __init__(self, policy: Policy, rail: Guardrail, versions: tuple[int, int], offline: float | None) -> None:
        self._rail = rail
        self._least = policy.min_labelled_positives
        self._versions = versions
        self._margin = rail.margin
        self._square = float(policy.block_requests**2)
        log_threshold = math.log(1 / policy.alpha)
        self._blocks = _Blocks(policy.block_requests)
        self._harm = RestartingMixture(len(PAIR_BETS), policy.restart_seconds, sums=4)
        self._sums = np.zeros(4)
        self.no_harm = Mixture(len(PAIR_BETS), log_threshold)
        self.promise: float | None = None
        self.kept = Mixture(len(PROMISE_BETS), log_threshold)
        if rail.offline_tolerance is not None and offline is not None:
            self.promise = offline - rail.offline_tolerance
        self.positives = [0, 0]  # labelled predicted positives of (reference, trial)
        self.true = [0, 0]
        self._seen = [0, 0]  # shadow pairs: the reference's positives, the trial-only positives
        self._labelled = [0, 0]

    def begin(self, at: float) -> None:
        """The rollout's data time starts here."""
        self._harm.begin(at)

    def take(self, joined: Joined) -> None:
        """Take what labels and observations completed, of this rollout."""
        paired = _Rows(joined.paired, *self._versions)
        rows = _Rows(joined.completed, *self._versions)
        for counts, some in ((self._seen, paired), (self._labelled, rows)):
            counts[0] += int(np.count_nonzero(some.shadow & some.reference))
            counts[1] += int(np.count_nonzero(some.shadow & some.trial & ~some.reference))
        for side, positive in ((0, rows.reference), (1, rows.trial)):
            self.positives[side] += int(np.count_nonzero(positive))
            self.true[side] += int(np.count_nonzero(positive & rows.true))
        if self.promise is not None and self.promise > 0:
            gains = rows.true[rows.trial].astype(np.float64) - self.promise
            self.kept.multiply(np.log1p(gains[:, None] * PROMISE_BETS[None, :] / self.promise))
        self._bet(*self._blocks.cut(rows))

    def _bet(self, at: Floats, pair: NDArray[np.bool_], sums: Floats) -> None:
        p_ref, tp_ref, p_trial, tp_trial, both = sums.T
        safe = np.where(pair, 1.0, 0.0)
        pair_w = (tp_ref * p_trial - tp_trial * p_ref) / self._square
        single_w = tp_ref / np.maximum(p_ref, 1) - tp_trial / np.maximum(p_trial, 1)
        w = np.where(pair, pair_w, single_w)
        bets = np.where(pair[:, None], PAIR_BETS[None, :], CANARY_BETS[None, :])
        harm = np.log1p(bets * w[:, None])
        allowed = self._margin * (safe * (p_trial * p_ref - both) / self._square + (1 - safe))
        self.no_harm.multiply(np.log1p(bets * (allowed - w)[:, None]))
        due = self._harm.due(at)
        for number in np.unique(due).tolist():
            self._harm.restart(number, self._sums)
            mine = due == number
            self._harm.multiply(harm[mine])
            self._sums = self._sums + sums[mine][:, :4].sum(axis=0)

    def look(self) -> None:
        """The evidence of harm is looked at now."""
        self._harm.look()

    @property
    def peak(self) -> float:
        """The largest logarithm of the e-value against "no worse" since the last look."""
        return self._harm.peak

    @property
    def may_pass(self) -> bool:
        """Whether all is there that, once there, stays: enough labels, and the proofs."""
        if self._rail.offline_tolerance is not None and (
            self.promise is None or (self.promise > 0 and not self.kept.reached)
        ):
            return False
        return self.positives[1] >= self._least and self.no_harm.reached

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against "no worse"."""
        return self._harm.log_e

    @property
    def harm(self) -> float | None:
        """The reference's precision less the trial's, since the leading restart; None: one has no labelled positive."""
        p_ref, tp_ref, p_trial, tp_trial = (self._sums - self._harm.since_leader).tolist()
        return tp_ref / p_ref - tp_trial / p_trial if p_ref and p_trial else None

    @property
    def coverage(self) -> tuple[float, float] | None:
        """Shares labelled of the reference's positives and of the trial-only positives in shadow; None: too few."""
        if self._seen[0] == 0 or self._seen[1] < ENOUGH_TO_COMPARE:
            return None
        return self._labelled[0] / self._seen[0], self._labelled[1] / self._seen[1]
