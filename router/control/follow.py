"""Keeps one model and the registry in agreement: reads aliases, carries out what was decided, tells of it in tags."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace

from comparator.events import AliasesRead, VersionFacts
from comparator.title import Effect
from router.control.controller import ModelController
from router.control.ledger import LedgerUnavailable
from router.control.metrics import Metrics
from router.control.probe import Prober
from router.control.registry import (
    Aliases,
    Denied,
    ForeignMove,
    MlflowRegistry,
    RegistryUnavailable,
    UnknownModel,
    UnknownVersion,
)
from router.control.version_tags import ending_tags
from router.settings import ModelSettings

log = logging.getLogger(__name__)


class Follower:
    """One loop per model and per lane. Reads and effects take turns, so that no read is older than the effect before.

    Args:
        controller: the model's.
        settings: of the model; replaced on reload.
        registry: where the aliases are.
        prober: says which endpoints are ready.
        metrics: told how old the last good read is.
        poll_seconds: between two reads.
    """

    def __init__(
        self,
        controller: ModelController,
        settings: ModelSettings,
        registry: MlflowRegistry,
        prober: Prober,
        metrics: Metrics,
        poll_seconds: float,
    ) -> None:
        self.settings = settings
        self.read_at = 0.0  # of the last good read
        self.error = ""  # why the registry could not be read, or told, last
        self._controller = controller
        self._registry = registry
        self._prober = prober
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._untagged = ""  # why the last ending could not be told in tags, if so

    async def run(self) -> None:
        """Until cancelled."""
        self._probe(Aliases(None, None, None))  # of whom the records tell: the registry may be away
        while True:
            self._controller.wake.clear()
            await self._read(await self._settle() or self._untagged)
            await self._annotate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):  # wait_for can forget that it was cancelled
                    await self._controller.wake.wait()

    async def look_up(self, version: int) -> None:
        """Whether the registry has this version. Raises UnknownVersion, RegistryUnavailable."""
        await self._registry.version(self.settings.registered_model, version)

    async def _settle(self) -> str:
        """Tell the registry what it still has to be told; why it could not be told, if so.

        Reading goes on all the same: a third value wins, however long an effect has been failing.
        """
        for _ in range(8):  # one effect can follow from another; a registry that never agrees waits for the next poll
            effect = self._controller.title.effect
            if effect is None:
                return ""
            began = time.monotonic()
            try:
                await self._registry.carry_out(self.settings.registered_model, await self._proven(effect))
            except (ForeignMove, RegistryUnavailable, UnknownModel) as error:
                self._failed(error)
                return str(error)
            took = time.monotonic() - began
            await self._controller.settled(effect, time.time(), _told(effect, took))
            if not effect.confirms:
                return ""
        return ""

    async def _proven(self, effect: Effect) -> Effect:
        """The effect with the end of the decisions' chain, so that a record whose end is cut off shows."""
        if self._controller.title.lane is not None or (effect.move is None and not effect.marks):
            return effect  # the tag is of the chain over the model's own decisions
        try:
            head = await self._controller.head()
        except LedgerUnavailable as error:  # known without it, but right after a restart
            log.warning("%s: the chain's head is not known, the ledger is away: %s", self._controller.name, error)
            return effect
        return replace(effect, proof=str(head)) if head is not None else effect

    async def _read(self, untold: str) -> None:
        try:
            aliases = await self._registry.read(self.settings.registered_model, self._controller.title.alias)
            aliases, facts, unread = await self._facts(aliases)
        except (RegistryUnavailable, UnknownModel) as error:
            self._failed(error)
            return
        problem = untold or unread
        if problem not in ("", self.error):
            log.warning("%s: registry: %s", self._controller.name, problem)
        self.read_at, self.error = time.time(), problem
        self._metrics.registry_read(self._controller.name, self.read_at, ok=True)
        self._probe(aliases)
        await self._controller.aliases(
            AliasesRead(
                at=self.read_at,
                champion=aliases.champion,
                challenger=aliases.challenger,
                previous=aliases.previous,
                versions=facts,
                ready=self._prober.ready(self._controller.name),
            )
        )

    async def _annotate(self) -> None:
        """Tell one ending in the tags of its version: after every move of an alias, which it must not hold up."""
        endings = self._controller.title.endings
        if not endings.untold or self._controller.title.effect is not None:
            return
        ending = endings.untold[0]
        decision = endings.decisions[ending]
        try:
            await self._registry.annotate(self.settings.registered_model, ending[0], ending_tags(ending, decision))
        except UnknownVersion:
            self._untagged = ""  # deleted: there is nothing to tell of it
        except (RegistryUnavailable, UnknownModel) as error:
            if str(error) != self._untagged:
                log.warning("%s: tags of version %d: %s; tried again", self._controller.name, ending[0], error)
            self._untagged = str(error)
            endings.postpone(ending)
            return
        else:
            self._untagged = ""
        endings.told(ending, decision)

    async def _facts(self, aliases: Aliases) -> tuple[Aliases, dict[int, VersionFacts], str]:
        """What the registry knows of the versions named; an alias of a version that is gone names none.

        What we may not read is as good as not recorded: it keeps no alias from being followed, and no gate lets it
        pass. The text says why.
        """
        facts: dict[int, VersionFacts] = {}
        unread = ""
        for alias in ("champion", "challenger"):
            version = getattr(aliases, alias)
            if version is not None and version not in facts:
                try:
                    facts[version] = await self._registry.version(self.settings.registered_model, version)
                except UnknownVersion:
                    aliases = replace(aliases, **{alias: None})
                except Denied as error:
                    unread = f"version {version} cannot be looked at: {error}"
        return aliases, facts, unread

    def _probe(self, aliases: Aliases) -> None:
        title = self._controller.title
        wanted = {aliases.champion, aliases.challenger, aliases.previous, title.champion}
        if title.rollout is not None and title.rollout.active:
            wanted |= {title.rollout.version, title.rollout.reference}
        targets = {version: self.settings.probed_at(version) for version in wanted if version is not None}
        self._prober.set_targets(
            self._controller.name,
            {version: url for version, url in targets.items() if url is not None},
            self.settings.ready_path,
            self.settings.tls,
        )

    def _failed(self, error: Exception) -> None:
        if str(error) != self.error:
            log.warning("%s: registry: %s; the last routes stay", self._controller.name, error)
        self.error = str(error)
        self._metrics.registry_read(self._controller.name, time.time(), ok=False)


def _told(effect: Effect, took_seconds: float) -> str:
    if effect.move is None:
        return f"the registry was told in {took_seconds:.2f} s"
    return f"@champion moved from version {effect.move.expected} to {effect.move.to} in {took_seconds:.2f} s"
