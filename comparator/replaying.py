"""Recorded observations and labels, and a policy: the decisions that it would have taken.

The very code that judges live is driven here, with ticks at fixed moments of data time, so that any way to cut the
record into batches gives the same decisions. What the world would have done at once is taken as done: the registry
confirms every move, endpoints are ready, nobody signs off. The record is only what it is: a step whose traffic was
never recorded waits for evidence, and what the record holds of another mode than the step's is left out.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from comparator.columns import (
    CHALLENGER_VERSION,
    CHAMPION_VERSION,
    Source,
    check_times,
    label_columns,
    observation_columns,
)
from comparator.events import AliasesRead, Columns, Decision, Role, Tick, VersionFacts
from comparator.outside import Outside
from comparator.pairing import NO_LABELS, NO_OBSERVATIONS, Joined
from comparator.phases import Phase
from comparator.policy import Gate, Policy
from comparator.report import Report
from comparator.title import Title

TICK_SECONDS = 0.5
MOST_ROWS = 32_768
"""Rows received at once, unless a single span has more."""

LEAST_STRIDE = 16
MOST_STRIDE = 1 << 60
"""Spans received at once, after something was found to look at, and at most (a lull of years is one)."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of the record with all that it completed; each part with the span that each of its rows came in."""

    parts: tuple[Columns, ...]  # those of `Joined`, in their order
    spans: tuple[NDArray[np.int64], ...]

    def between(self, low: int, high: int) -> Joined:
        """What came in the spans from `low` to before `high`."""
        found = []
        for part, spans in zip(self.parts, self.spans, strict=True):
            start, stop = np.searchsorted(spans, [low, high])
            found.append(part[start:stop])
        return Joined(*found)


class Replay:
    """Takes a record in pieces, in order of time, and keeps the decisions.

    The judge looks at the end of every span of `tick_seconds`. Facts of one span are received together, once a later
    fact shows that the span is over (or at `finish`). Many spans are received at once where the judge says that none of
    the looks among them can have found anything (`Rollout.pass_over`); else they are received again, by halves. So a
    lull costs some tens of looks however long it is: where it begins, and where a minimum or the grace of a label ends.

    Args:
        policy: what to judge by. Its gate is taken as passed: a record says nothing about a registry. Its checks and
            webhooks are left out: a record says nothing about others, either.
        champion: the champion's version.
        challenger: the challenger's version.
        offline: the challenger's offline metrics.
        tick_seconds: how often the judge looks, in data time.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        champion: int,
        challenger: int,
        offline: Mapping[str, float] | None = None,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self.decisions: list[Decision] = []
        self._title = Title(replace(policy, gate=Gate.OFF, outside=Outside()))
        self._versions = (champion, challenger)
        self._offline = dict(offline or {})
        self._tick = tick_seconds
        self._next: int | None = None  # the first span that has not been received; before it all is over
        self._latest = 0  # the span of the latest fact
        self._open: tuple[Columns, Columns] = (NO_OBSERVATIONS, NO_LABELS)  # what came in spans that are not over
        self._stride = 1  # spans to receive at once; grows while nothing is found

    def feed(self, observations: Columns, labels: Columns) -> list[Decision]:
        """Take the next piece: dtypes OBSERVATION and LABEL, each in order of time. Returns what it decided.

        Raises:
            ValueError: a time is not in seconds since the epoch, before the year 10000.
        """
        before = len(self.decisions)
        for columns in (observations, labels):
            check_times(columns["at"])
        new = [columns for columns in (observations, labels) if columns.size]
        if not new:
            return []
        if self._next is None:
            self._next = self._latest = min(self._span(columns["at"][0]) for columns in new)
            self._begin(self._next * self._tick)
        self._latest = max(self._latest, *(self._span(columns["at"][-1]) for columns in new))
        held = self._open
        self._open = (
            np.concatenate([held[0], observations]) if held[0].size else observations,
            np.concatenate([held[1], labels]) if held[1].size else labels,
        )
        self._receive(self._latest)
        return self.decisions[before:]

    def finish(self) -> list[Decision]:
        """The record has ended: the last span counts too."""
        before = len(self.decisions)
        if self._next is not None:
            self._receive(self._latest + 1)
        return self.decisions[before:]

    @property
    def report(self) -> Report | None:
        """The evidence as it stands at the end of what was received; None: there is no rollout to speak of."""
        rollout = self._title.rollout
        if rollout is None or self._next is None:
            return None
        return rollout.report(self._next * self._tick)

    @property
    def left_out(self) -> dict[str, int]:
        """How many observations and labels are no evidence, by kind; kinds without any are left out too.

        `repeated` observations, like labels, are counted in the whole record; the others in the rollout.
        """
        report, pairing = self.report, self._title.pairing
        counts = dict(report.left_out) if report is not None else {}
        for name in ("repeated", "duplicates", "conflicts", "invalid"):
            counts[name] = getattr(pairing, name)
        return {name: count for name, count in counts.items() if count}

    # ---- inside

    def _span(self, at: float) -> int:
        return math.floor(at / self._tick)

    def _begin(self, at: float) -> None:
        self._settle(self._title.receive(self._read(at)))

    def _read(self, at: float) -> AliasesRead:
        """The registry, as it is all the time."""
        champion, challenger = self._versions
        facts = {champion: VersionFacts(champion), challenger: VersionFacts(challenger, self._offline)}
        ready = frozenset(self._versions)
        return AliasesRead(at, champion, challenger, None, versions=facts, ready=ready)

    def _receive(self, until: int) -> None:
        """All spans before `until` are over: receive what came in them."""
        assert self._next is not None
        places = [self._spans(columns) for columns in self._open]
        while self._next < until:
            high = min(self._next + self._stride, until)
            stops = [int(np.searchsorted(spans, high)) for spans in places]
            while sum(stops) > MOST_ROWS and high - self._next > 1:
                high = self._next + (high - self._next) // 2
                stops = [int(np.searchsorted(spans, high)) for spans in places]
            first, then = (columns[:stop] for columns, stop in zip(self._open, stops, strict=True))
            piece = self._join(first, then, high * self._tick)
            self._open = (self._open[0][stops[0] :], self._open[1][stops[1] :])
            places = [spans[stop:] for spans, stop in zip(places, stops, strict=True)]
            found = self._judge(piece, self._next, high)
            self._next = high
            self._stride = LEAST_STRIDE if found else min(2 * self._stride, MOST_STRIDE)

    def _spans(self, columns: Columns) -> NDArray[np.int64]:
        """The span of each row: time never runs backwards."""
        spans = np.floor(columns["at"] / self._tick).astype(np.int64)
        return np.maximum.accumulate(np.maximum(spans, self._next or 0))

    def _join(self, observations: Columns, labels: Columns, until: float) -> _Piece:
        rollout = self._title.rollout
        observations = observations.copy()
        observations["rollout_id"] = rollout.rollout_id if rollout is not None else 0
        joined = self._title.pairing.take(observations, labels, until)
        parts = (joined.completed, joined.paired, joined.scored, joined.observed, joined.repeated)
        return _Piece(parts, tuple(self._spans(part) for part in parts))

    def _judge(self, piece: _Piece, low: int, high: int) -> bool:
        """Receive the spans from `low` to before `high`. Returns whether there was anything to look at."""
        rollout, at = self._title.rollout, high * self._tick
        if rollout is not None and rollout.phase is Phase.HELD:
            if self._title.still_held(at):
                return False  # all the time: the same words stand until they no longer hold
            if high - low == 1:
                self._settle(self._title.receive(self._read(at)))
                return True
        if rollout is not None and high - low > 1:
            facts = piece.between(low, high)
            # in memory only: a copy, taken back at most once
            before = pickle.dumps(rollout.evidence, protocol=5) if facts.size else b""
            rollout.take(facts)
            if rollout.phase is not Phase.HELD and rollout.pass_over(at):
                return False
            if facts.size:
                rollout.evidence = pickle.loads(before)  # noqa: S301 - what was written above
            middle = (low + high) // 2
            left = self._judge(piece, low, middle)
            return self._judge(piece, middle, high) or left
        if rollout is not None:
            rollout.take(piece.between(low, high))
        self._settle(self._title.receive(Tick(at)))
        return True

    def _settle(self, decisions: list[Decision]) -> None:
        """Record decisions and let them be so, as the controller and the registry would."""
        for decision in decisions:
            self.decisions.append(decision)
            self._title.receive(decision)
            effect = self._title.effect
            if effect is not None and effect.confirms:
                confirmed = self._title.moved(decision.at, "in a replay the registry confirms at once")
                self._settle([] if confirmed is None else [confirmed])


def replay(
    policy: Policy,
    observations: Source,
    labels: Source,
    *,
    champion: int | None = None,
    challenger: int | None = None,
    offline: Mapping[str, float] | None = None,
    tick_seconds: float = TICK_SECONDS,
) -> list[Decision]:
    """The decisions that a policy would have taken on a record.

    Args:
        policy: what to judge by; its gate is taken as passed.
        observations: dtype OBSERVATION, or what `observation_columns` makes into it; shape (n,), in any order.
        labels: dtype LABEL, or what `label_columns` makes into it; shape (m,), in any order.
        champion: the champion's version; by default the version of the first observation in that role.
        challenger: the challenger's version; likewise.
        offline: the challenger's offline metrics.
        tick_seconds: how often the judge looks, in data time.

    Raises:
        ValueError: a column that is not what it should be, with field, row and what was expected; or a role that the
            record has no version for.
    """
    run = replayed(
        policy,
        observation_columns(
            observations, champion=champion or CHAMPION_VERSION, challenger=challenger or CHALLENGER_VERSION
        ),
        label_columns(labels),
        champion=champion,
        challenger=challenger,
        offline=offline,
        tick_seconds=tick_seconds,
    )
    return run.decisions


def replayed(  # noqa: PLR0913 - as `replay`, and whom to tell
    policy: Policy,
    observations: Columns,
    labels: Columns,
    *,
    champion: int | None = None,
    challenger: int | None = None,
    offline: Mapping[str, float] | None = None,
    tick_seconds: float = TICK_SECONDS,
    tell: Callable[[int], None] = lambda _: None,
) -> Replay:
    """As `replay`, for columns of dtypes OBSERVATION and LABEL: the finished run, with its report at the end.

    `tell` is told now and then how many of the observations have been judged.

    Raises:
        ValueError: a time that is none, a role that the record has no version for, or one version in both.
    """
    for columns in (observations, labels):
        check_times(columns["at"])  # before they are put in order: the row's number is the caller's
    observations, labels = _in_order(observations), _in_order(labels)
    champion = _version(observations, Role.CHAMPION) if champion is None else champion
    challenger = _version(observations, Role.CHALLENGER) if challenger is None else challenger
    if champion == challenger:
        raise ValueError(f"expected two versions, not {champion} as champion and as challenger")
    run = Replay(policy, champion=champion, challenger=challenger, offline=offline, tick_seconds=tick_seconds)
    low = told = 0
    for high in (*range(MOST_ROWS, observations.size, MOST_ROWS), observations.size):
        until = labels.size
        if high < observations.size:
            until = int(np.searchsorted(labels["at"], observations["at"][high]))
        run.feed(observations[low:high], labels[told:until])
        low, told = high, until
        tell(high)
    run.finish()
    return run


def _in_order(columns: Columns) -> Columns:
    """Ascending in time; rows of one moment keep their order."""
    at = columns["at"]
    return columns if (at[1:] >= at[:-1]).all() else np.take(columns, np.argsort(at, kind="stable"))


def _version(observations: Columns, role: Role) -> int:
    held = observations["version"][observations["role"] == role]
    if held.size == 0:
        raise ValueError(f"no observation of the {role.name.lower()}: name its version")
    return int(held[0])
