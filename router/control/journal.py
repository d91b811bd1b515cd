"""What is recorded, and in which order: the ledger, and the spool for what cannot wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from comparator.events import Decision
from comparator.proof import digest_of
from router.control.ledger import Ledger, LedgerUnavailable
from router.control.ledger.chain import Head
from router.control.ledger.codec import Recorded, encode_decision
from router.control.spool import Spool, Spooled

log = logging.getLogger(__name__)


class Journal:
    """Appends facts under the leader's fencing term; what was spooled goes first, so that the order holds.

    All models share it: one call at a time, so that none drains what another is draining.

    Args:
        ledger: where facts live.
        spool: keeps decisions while the ledger is away.
        term: of the lease; a write under an older one raises Fenced.
        tell: called with whether the ledger took the last write.
    """

    def __init__(self, ledger: Ledger, spool: Spool, term: int, tell: Callable[[bool], None]) -> None:
        self._ledger = ledger
        self._spool = spool
        self._term = term
        self._unspooled: deque[Spooled] = deque()  # the spool's disk refused these, too; later than what it holds
        self._tell = tell
        self._turn = asyncio.Lock()

    async def record(self, model: str, facts: Sequence[Recorded], state: bytes = b"") -> None:
        """Append facts of one model in one transaction.

        Args:
            model: whose.
            facts: in order.
            state: of the evidence that a decision among them was made from, if one was.

        Raises:
            LedgerUnavailable: nothing was recorded.
            Fenced: another leader has taken over.
        """
        async with self._turn:
            await self._append(model, facts, _states([state]))

    async def record_or_spool(self, model: str, decision: Decision, state: bytes = b"") -> bool:
        """Append a decision that is in force already; keep it in the spool while the ledger is away.

        Returns:
            Whether the ledger has it.

        Raises:
            Fenced: another leader has taken over.
        """
        async with self._turn:
            try:
                await self._append(model, [decision], _states([state]))
            except LedgerUnavailable as error:
                log.warning("%s: the ledger is away (%s); %s is spooled", model, error, decision.kind.value)
                self._keep(Spooled(model, decision, state))
                return False
            return True

    async def drain(self) -> None:
        """Bring what was spooled into the ledger. Raises LedgerUnavailable, Fenced."""
        async with self._turn:
            await self._drain()

    async def checkpoint(self, model: str, state: Mapping[str, Any]) -> None:
        """Keep a model's state as it is after all its facts, those that were spooled among them.

        Raises LedgerUnavailable, Fenced: the earlier one stays.
        """
        async with self._turn:
            await self._drain()
            await self._ledger.save_checkpoint(model, state, self._term)

    async def save_policy(self, digest: str, canonical: str) -> None:
        """Keep a policy's text, which recorded decisions name by digest. Raises LedgerUnavailable."""
        await self._ledger.save_policy(digest, canonical)

    async def head(self, model: str) -> Head | None:
        """The last entry of a model's chain, see `Ledger.head`. Raises LedgerUnavailable."""
        return await self._ledger.head(model)

    # ---- inside

    async def _append(self, model: str, facts: Sequence[Recorded], states: Mapping[str, bytes]) -> None:
        try:
            await self._drain()
            await self._ledger.append(model, facts, self._term, states)
        except LedgerUnavailable:
            self._tell(False)
            raise
        self._tell(True)

    def _keep(self, kept: Spooled) -> None:
        self._unspooled.append(kept)
        try:
            while self._unspooled:  # in their order: one that the disk refused before goes before this one
                first = self._unspooled[0]
                self._spool.append(first.model, first.decision, first.state)
                self._unspooled.popleft()
        except OSError as refused:
            log.error("%s: the spool is away, too (%s); kept in memory", kept.model, refused)  # noqa: TRY400

    async def _drain(self) -> None:
        try:
            waiting = [*self._spool.read(), *self._unspooled]
        except OSError as error:  # what is recorded before it would be out of order
            raise LedgerUnavailable(f"the spool cannot be read: {error}") from error
        if not waiting:
            return
        of_model: dict[str, list[Spooled]] = defaultdict(list)
        for kept in waiting:
            of_model[kept.model].append(kept)
        for model, spooled in of_model.items():
            # The ledger may have some already: an earlier drain broke off, or the answer to a commit was lost.
            known = {encode_decision(decision) for decision in await self._ledger.decisions(model)}
            fresh: dict[str, Decision] = {}
            for kept in spooled:
                if (text := encode_decision(kept.decision)) not in known:
                    fresh[text] = kept.decision
            states = _states(kept.state for kept in spooled)
            await self._ledger.append(model, list(fresh.values()), self._term, states)
        self._unspooled.clear()
        self._spool.clear()


def _states(states: Iterable[bytes]) -> dict[str, bytes]:
    return {digest_of(state): state for state in states if state}
