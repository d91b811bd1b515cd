"""Recorded observations and labels, and a policy: the decisions that it would have taken.

The very code that judges live is driven here, with ticks at fixed moments of data time, so that any way to cut the
record into batches gives the same decisions. What the world would have done at once is taken as done: the registry
confirms every move, endpoints are ready, nobody signs off. The record is only what it is: a step whose traffic was
never recorded waits for evidence, and what the record holds of another mode than the step's is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Columns,
    Decision,
    Labels,
    Observations,
    Role,
    Tick,
    VersionFacts,
)
from comparator.policy import Gate, Policy
from comparator.title import Title

TICK_SECONDS = 0.5


class Replay:
    """Takes a record in pieces, in order of time, and keeps the decisions.

    Facts of one tick's span are received together, observations before labels, once a later fact shows that the span is
    over (or at `finish`).

    Args:
        policy: what to judge by. Its gate is taken as passed: a record says nothing about a registry.
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
        self._title = Title(replace(policy, gate=Gate.OFF))
        self._versions = (champion, challenger)
        self._offline = dict(offline or {})
        self._tick = tick_seconds
        self._span: int | None = None  # floor(at / tick) of the span that is open
        self._open: tuple[list[Columns], list[Columns]] = ([], [])

    def feed(self, observations: Columns, labels: Columns) -> list[Decision]:
        """Take the next piece: dtypes OBSERVATION and LABEL, each in order of time. Returns what it decided.

        Raises:
            ValueError: a time is not a number.
        """
        before = len(self.decisions)
        spans = []
        for columns in (observations, labels):
            at = columns["at"]
            if not np.isfinite(at).all():
                raise ValueError(f"row {int(np.flatnonzero(~np.isfinite(at))[0])}: the time is not a number")
            floor = (
                np.floor(at / self._tick) if self._span is None else np.maximum(np.floor(at / self._tick), self._span)
            )
            spans.append(np.maximum.accumulate(floor).astype(np.int64) if at.size else floor.astype(np.int64))
        for span in np.unique(np.concatenate(spans)).tolist():
            if self._span is None:
                self._begin(span * self._tick)
            elif span > self._span:
                self._close(span)
            self._span = span
            for kept, columns, where in zip(self._open, (observations, labels), spans, strict=True):
                low, high = np.searchsorted(where, [span, span + 1])
                if high > low:
                    kept.append(columns[low:high])
        return self.decisions[before:]

    def finish(self) -> list[Decision]:
        """The record has ended: the last span counts too."""
        before = len(self.decisions)
        if self._span is not None:
            self._close(self._span + 1)
        return self.decisions[before:]

    # ---- inside

    def _begin(self, at: float) -> None:
        champion, challenger = self._versions
        facts = {champion: VersionFacts(champion), challenger: VersionFacts(challenger, self._offline)}
        ready = frozenset(self._versions)
        read = AliasesRead(at, champion, challenger, None, versions=facts, ready=ready)
        self._settle(self._title.receive(read))

    def _close(self, until: int) -> None:
        """The open span is over: receive it, and tick at its end; the spans up to `until` are empty.

        An empty span changes nothing but the time: of several one tick at the first and one at the last are enough, as
        a verdict without new facts changes only with a step's minimum duration.
        """
        assert self._span is not None
        observations, labels = self._open
        if observations:
            columns = np.concatenate(observations)
            rollout = self._title.rollout
            columns["rollout_id"] = rollout.rollout_id if rollout is not None else 0
            self._title.receive(Observations(columns))
        if labels:
            self._title.receive(Labels(np.concatenate(labels)))
        observations.clear()
        labels.clear()
        self._ticks(self._span + 1)
        if until > self._span + 1:
            self._ticks(until)

    def _ticks(self, span: int) -> None:
        self._settle(self._title.receive(Tick(span * self._tick)))

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
    observations: Columns,
    labels: Columns,
    *,
    champion: int | None = None,
    challenger: int | None = None,
    offline: Mapping[str, float] | None = None,
    tick_seconds: float = TICK_SECONDS,
) -> list[Decision]:
    """The decisions that a policy would have taken on a record.

    Args:
        policy: what to judge by; its gate is taken as passed.
        observations: dtype OBSERVATION, shape (n,), in any order.
        labels: dtype LABEL, shape (m,), in any order.
        champion: the champion's version; by default the version of the first observation in that role.
        challenger: the challenger's version; likewise.
        offline: the challenger's offline metrics.
        tick_seconds: how often the judge looks, in data time.

    Raises:
        ValueError: wrong dtypes, a time that is not a number, or a role that the record has no version for.
    """
    for columns, dtype in ((observations, OBSERVATION), (labels, LABEL)):
        if columns.dtype != dtype:
            raise ValueError(f"expected columns of {dtype}, not {columns.dtype}")
    observations = observations[np.argsort(observations["at"], kind="stable")]
    labels = labels[np.argsort(labels["at"], kind="stable")]
    run = Replay(
        policy,
        champion=_version(observations, Role.CHAMPION) if champion is None else champion,
        challenger=_version(observations, Role.CHALLENGER) if challenger is None else challenger,
        offline=offline,
        tick_seconds=tick_seconds,
    )
    run.feed(observations, labels)
    run.finish()
    return run.decisions


def _version(observations: Columns, role: Role) -> int:
    held = observations["version"][observations["role"] == role]
    if held.size == 0:
        raise ValueError(f"no observation of the {role.name.lower()}: name its version")
    return int(held[0])
