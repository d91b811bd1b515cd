"""Drives one model's Title: facts in their order, decisions recorded, effects carried out.

Propose, record, apply: a decision changes the state only when the Title receives it back. What takes traffic away from
a challenger is applied first and recorded after; what gives it traffic, or the title, is recorded first.

Decisions are made one at a time; traffic is recorded beside them, one call at a time. So a rollback comes into force
while observations and labels wait for the ledger, and its record has to wait for one of them at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from comparator.acts import Refused
from comparator.events import (
    AliasesRead,
    BreakerTripped,
    CheckResult,
    Columns,
    Command,
    Confirmation,
    Decision,
    DecisionKind,
    Gated,
    Labels,
    Notified,
    Observations,
    Tick,
)
from comparator.phases import WAYS_OUT
from comparator.policy import Policy
from comparator.proof import BEGINS_UNDER, Proven, proven
from comparator.resuming import checkpoint
from comparator.rollout import IllegalTransition
from comparator.title import Effect, Title
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.ledger.chain import Head

log = logging.getLogger(__name__)

T = TypeVar("T")

GOES_FORWARD = frozenset({DecisionKind.START, DecisionKind.ADVANCE, DecisionKind.PROMOTE})

DEAF_SECONDS = 5.0
"""What nobody took for longer than this, the challenger's answers among it, is no silence of the challenger's."""


class ModelController:
    """One model under control.

    Args:
        name: of the model.
        title: its state.
        journal: where facts are recorded.
        on_change: called when who serves may have changed; publishes the routes.
        on_decision: told of every decision once it is in force.
        on_recorded: told of every decision once it is in force and recorded, with its number in the chain; 0: it is
            spooled, and has none yet.
    """

    def __init__(
        self,
        name: str,
        title: Title,
        journal: Journal,
        on_change: Callable[[], None],
        on_decision: Callable[[str, Decision], None],
        on_recorded: Callable[[str, Decision, int], None] | None = None,
    ) -> None:
        self.name = name
        self.title = title
        self.wake = asyncio.Event()  # the registry loop has something to do
        self.lost_rows = 0  # observations that the ledger could not take in time
        self.last_tick = 0.0  # when the judge last looked at the evidence
        self.unrecorded: Decision | None = None  # in force, but not in the record yet: a crash now would undo it
        self._unheard = False  # observations wait for the ledger
        self._hearing_since: float | None = None  # the tick before the ledger was asked to take some; None: it was not
        self._fault = ""  # why the judge could not look at the evidence
        self._journal = journal
        self._on_change = on_change
        self._on_decision = on_decision
        self._on_recorded = on_recorded
        self._deciding = asyncio.Lock()
        self._traffic = asyncio.Lock()
        self._order = asyncio.Lock()  # facts are received in the order in which they are recorded
        self._under_way: set[asyncio.Task[Any]] = set()

    async def observations(self, columns: Columns) -> None:
        """Record a batch and take it as evidence. Raises LedgerUnavailable: it was neither."""
        await self._whole(self._heard_from(Observations(columns)))

    async def labels(self, columns: Columns) -> None:
        """Record labels and join them. Raises LedgerUnavailable: none was recorded, none may be acknowledged."""
        await self._whole(self._record(Labels(columns)))

    async def checked(self, result: CheckResult) -> None:
        """Record what a check found, and take it even without the ledger: nothing passes then, harm rolls back."""
        await self._whole(self._checked(result))

    async def heard(self, fact: Confirmation | Notified) -> None:
        """Take what a webhook answered. What it calls for and could not be recorded has to be heard again."""
        await self._whole(self._heard(fact))

    async def tick(self, at: float) -> None:
        """Let the judge look at the evidence."""
        await self._whole(self._tick(at))

    async def aliases(self, read: AliasesRead) -> None:
        """Take what the registry says now."""
        await self._whole(self._aliases(read))

    async def breaker(self, fact: BreakerTripped) -> None:
        """Take a breaker that stays open."""
        await self._whole(self._breaker(fact))

    async def command(self, command: Command) -> Decision:
        """Carry out a person's act.

        Raises:
            Refused: it cannot be carried out now.
            LedgerUnavailable: it needs its record first, and there is no ledger.
        """
        return await self._whole(self._asked(command))

    async def gated(self, fact: Gated) -> Decision:
        """Take note of a report of the gate in staging.

        Raises:
            Refused: it is none, or does not speak of what stands now.
            LedgerUnavailable: it was not recorded.
        """
        return await self._whole(self._asked(fact))

    async def checkpoint(self) -> None:
        """Keep what was counted, so that a restart need not weigh all of it again. Raises LedgerUnavailable."""
        await self._whole(self._checkpoint())

    def adopt(self, policy: Policy, *, sticky: bool | None = None) -> None:
        """A new policy from the settings: for the next rollout, and recorded when one begins under it."""
        self.title.adopt(policy, sticky=sticky)
        self._on_change()

    async def settled(self, effect: Effect, at: float, reason: str) -> None:
        """The registry was told; take note, unless something else was decided meanwhile."""
        await self._whole(self._settled(effect, at, reason))

    async def head(self) -> Head | None:
        """The last entry of the chain over the model's decisions. Raises LedgerUnavailable."""
        return await self._journal.head(self.name)

    async def finish(self) -> None:
        """Wait for what goes on although its caller was cancelled."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def probed(self, version: int, *, ready: bool) -> None:
        """A version, whether an alias names it or not, has just answered its probe, or not."""
        self.title.ready = self.title.ready | {version} if ready else self.title.ready - {version}

    # ---- inside

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it to its end even if the caller is cancelled: what is recorded comes into force, and vice versa."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _heard_from(self, fact: Observations) -> None:
        self._hearing_since = self.last_tick
        try:
            await self._record(fact)
        except LedgerUnavailable:
            self._unheard = True
            raise
        else:
            self._unheard = False
        finally:
            self._hearing_since = None

    def _deaf(self, at: float) -> bool:
        """Whether answers may not have been taken: they wait for the ledger, or nobody was here."""
        hearing = self._hearing_since
        late = at - self.last_tick > DEAF_SECONDS or (hearing is not None and at - hearing > DEAF_SECONDS)
        return self._unheard or late

    async def _record(self, fact: Observations | Labels) -> None:
        async with self._traffic, self._order:
            await self._journal.record(self.name, [fact])
            self._take(fact)

    async def _checked(self, result: CheckResult) -> None:
        async with self._traffic, self._order:
            try:
                await self._journal.record(self.name, [result])
            except LedgerUnavailable as error:
                log.warning("%s: the ledger could not take what %s found: %s", self.name, result.check, error)
            self._take(result)

    def _take(self, fact: Observations | Labels | CheckResult) -> None:
        """What it calls for, the next tick sees."""
        known = self.title.fault
        self.title.take(fact)
        self._tell_of_fault(known)

    def _tell_of_fault(self, known: str) -> None:
        if self.title.fault != known:  # the same is not told with every batch
            text = "%s: %s; nothing goes forward until a restart"
            log.error(text, self.name, self.title.fault, exc_info=self.title.cause)

    async def _checkpoint(self) -> None:
        async with self._traffic, self._order:
            state = checkpoint(self.title)
            if state is not None:
                await self._journal.checkpoint(self.name, state)

    async def _tick(self, at: float) -> None:
        async with self._deciding:
            at = max(self.last_tick, at)  # the host's clock may be set back: the judge's stands still
            known = self.title.fault
            try:
                decisions = self.title.receive(Tick(at, deaf=self._deaf(at)))
            except Exception as error:  # a fault of ours must not end the judging of the other models
                if repr(error) != self._fault:  # once, not twice a second
                    log.exception("%s: the judge could not look at the evidence; it tries again", self.name)
                self._fault = repr(error)
                return
            self._tell_of_fault(known)
            if self.title.fault:
                return  # nobody looks: that is what the age of the last tick says
            self.last_tick, self._fault = at, ""
            await self._carry(decisions)  # what fails once it is recorded ends the process: the next one knows all

    async def _aliases(self, read: AliasesRead) -> None:
        async with self._deciding:
            await self._carry(self.title.receive(read))
            self._on_change()

    async def _breaker(self, fact: BreakerTripped) -> None:
        async with self._deciding:
            fact = replace(fact, at=min(fact.at, time.time()))  # by the clock of a worker
            await self._carry(self.title.receive(fact))

    async def _heard(self, fact: Confirmation | Notified) -> None:
        async with self._deciding:
            await self._carry(self.title.receive(fact))

    async def _asked(self, fact: Command | Gated) -> Decision:
        async with self._deciding:
            (decision,) = self.title.receive(fact)
            kept = self._proven(decision)
            await self._apply(kept)
            return kept.decision

    async def _settled(self, effect: Effect, at: float, reason: str) -> None:
        async with self._deciding:
            if not effect.confirms or self.title.effect != effect:
                return
            decision = self.title.moved(at, reason)
            if decision is not None:
                await self._apply(self._proven(decision))

    async def _carry(self, decisions: list[Decision]) -> None:
        # At once: traffic that is recorded meanwhile changes the evidence.
        for kept in [self._proven(decision) for decision in decisions]:
            try:
                await self._apply(kept)
            except LedgerUnavailable as error:
                # Not applied, so the next tick or registry read will call for it again.
                log.warning("%s: %s waits for the ledger: %s", self.name, kept.decision.kind.value, error)
            except Refused as error:
                log.warning("%s: %s is not carried out: %s", self.name, kept.decision.kind.value, error)
            except IllegalTransition:
                # Nothing was changed or recorded. A fault of ours, which must not end the judging of all models.
                log.exception("%s: %s is not carried out", self.name, kept.decision.kind.value)

    def _proven(self, decision: Decision) -> Proven:
        """With the evidence that it was made from. No rollback may fail because of what only an audit needs."""
        try:
            return proven(self.title, decision)
        except Exception:
            log.exception("%s: the evidence of %s cannot be kept", self.name, decision.kind.value)
            return Proven(decision)

    async def _apply(self, kept: Proven) -> None:
        """Bring a decision into force and into the ledger, in the order that its kind asks for."""
        decision = kept.decision
        self.title.check(decision)  # before anything is recorded or in force
        in_ledger = True
        if decision.kind in WAYS_OUT:
            self.unrecorded = decision
            self._in_force(decision)
            async with self._order:
                in_ledger = await self._journal.record_or_spool(self.name, decision, kept.state)
            self.unrecorded = None
        elif decision.kind is DecisionKind.MOVED:
            # Has happened, too, but begins a watch: traffic that was recorded before is no evidence of it.
            async with self._order:
                self._in_force(decision)
                in_ledger = await self._journal.record_or_spool(self.name, decision, kept.state)
        else:
            async with self._order:
                if self.title.fault and decision.kind in GOES_FORWARD:
                    raise Refused(self.title.fault)  # since it was proposed
                if decision.kind in BEGINS_UNDER:
                    policy = self.title.policies[decision.policy_digest]
                    await self._journal.save_policy(policy.digest, policy.canonical())
                await self._journal.record(self.name, [decision], kept.state)
                self._in_force(decision)
        if self._on_recorded is not None:
            head = await self._journal.head(self.name) if in_ledger else None  # known without asking: it was just made
            self._on_recorded(self.name, decision, head.number if head is not None else 0)

    def _in_force(self, decision: Decision) -> None:
        self.title.receive(decision)
        self._on_change()
        self._on_decision(self.name, decision)
        self.wake.set()
        log.info(
            "%s: %s version %d (by %s): %s",
            self.name,
            decision.kind.value,
            decision.version,
            decision.actor,
            decision.reason,
        )
