"""The control plane of this host: all models under control, their lanes, and what the admin port can ask of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from comparator.acts import Refused
from comparator.events import BreakerTripped, Columns, Command, CommandKind, Decision, Gated, Labels, Observations
from comparator.reigns import Reign
from comparator.title import Title
from router.control.admin.operations import RegistryAway, UnknownModel
from router.control.controller import ModelController
from router.control.explained import explained
from router.control.explanation import Explanation
from router.control.follow import Follower
from router.control.ingest import Ingest
from router.control.ledger import Ledger, LedgerUnavailable, RefusedAct
from router.control.ledger.archive import Archive
from router.control.ledger.audit import read
from router.control.ledger.chain import entry_id
from router.control.metrics import Metrics
from router.control.probe import Prober
from router.control.produced import told_reigns
from router.control.publish import Publisher
from router.control.recordings import Recording, Recordings
from router.control.refusals import Refusals
from router.control.registry import RegistryUnavailable, UnknownVersion
from router.control.skew.trained import TrainedReader
from router.control.skew.watch import SkewWatch
from router.control.status import plane_status
from router.control.tracing import Tracing
from router.link.messages import BreakerChanged, Counters, Exchanges, Sampled, Spans, Up
from router.protocols.coding import Coding
from router.settings import ModelSettings, Settings
from router.settings.lanes import alias_of, lane_name, model_of

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
TICK_SECONDS = 0.5
PRUNE_SECONDS = 3600.0
CHECKPOINT_SECONDS = 60.0

_AT_START = (
    *("listen", "listen_tls", "admin", "admin_hosts", "tokens"),
    *("ledger", "registry", "poll", "workers", "state"),
)
"""Settings that a reload does not take over."""


class ControlPlane:
    """Runs every model's loops and answers the admin port (its `Operations`).

    Args:
        settings: the good ones, now.
        ledger: decisions are read from it, old traffic is pruned.
        publisher: of the routes.
        prober: of the endpoints.
        metrics: told of all that happens.
        join: builds controller and follower of one model, brought to where its recorded facts leave it.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        publisher: Publisher,
        prober: Prober,
        metrics: Metrics,
        join: Callable[[ControlPlane, str], Awaitable[tuple[ModelController, Follower]]],
    ) -> None:
        self.settings = settings
        self.controllers: dict[str, ModelController] = {}
        self.followers: dict[str, Follower] = {}
        self.metrics = metrics
        self.prober = prober
        self.ledger = ledger
        self.recordings = Recordings(self.publish)
        self.skew = SkewWatch(self._title, lambda: self.settings.models, TrainedReader(settings.registry))
        self.ingest = Ingest(self.controllers, metrics, self.recordings, self.skew)
        self.refusals = Refusals(ledger, metrics.act_refused, metrics.refusals_lost)
        self.tracing = Tracing(lambda: self.settings.tracing, metrics)
        self._publisher = publisher
        self._join = join
        self._written = settings.ledger  # a reload may name another, which begins at the next start
        prober.on_change = self._endpoint_changed
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._soon: set[asyncio.Task[None]] = set()
        self._membership = asyncio.Lock()  # models come and go one at a time

    # ---- running

    async def add(self, model: str) -> None:
        """Take a model under control: its recorded facts first, then its loops."""
        controller, follower = await self._join(self, model)
        self.controllers[model] = controller
        self.followers[model] = follower
        self.metrics.add_model(model)
        self._loops[model] = asyncio.create_task(follower.run(), name=f"follow {model}")

    async def join_missing(self) -> None:
        """Take the models under control whose records could not be read yet; their last routes stay until then."""
        async with self._membership:
            missing = [name for name in self.settings.names if name not in self.controllers]
            for model in missing:
                if alias_of(model) is not None and model_of(model) not in self.controllers:
                    continue  # a lane goes by what its model has
                try:
                    await self.add(model)
                except LedgerUnavailable as error:
                    log.warning("%s: its records cannot be read: %s; tried again soon", model, error)
            if missing:
                self.publish()

    async def remove(self, model: str) -> None:
        """A model that the settings no longer name: its loops end, its records stay."""
        task = self._loops.pop(model)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        del self.controllers[model], self.followers[model]
        self.ingest.forget(model)
        self.prober.set_targets(model, {})

    async def flush_forever(self) -> None:
        """Observations: from the proxies to ledger and judge."""
        while True:
            await self.ingest.flush()
            await asyncio.sleep(FLUSH_SECONDS)

    async def tick_forever(self) -> None:
        """The judge's clock."""
        while True:
            for controller in list(self.controllers.values()):
                await controller.tick(time.time())
            await asyncio.sleep(TICK_SECONDS)

    async def prune_forever(self) -> None:
        """Forget traffic older than the longest label retention."""
        while True:
            retention = max(model.policy().label_retention_seconds for model in self.settings.models.values())
            with contextlib.suppress(LedgerUnavailable):
                await self.ledger.prune(time.time() - retention)
            await asyncio.sleep(PRUNE_SECONDS)

    async def checkpoint_forever(self) -> None:
        """Keep what the judge has counted, now and then."""
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            for controller in list(self.controllers.values()):
                with contextlib.suppress(LedgerUnavailable):  # the earlier one stays
                    await controller.checkpoint()

    async def watch_loops(self) -> None:
        """Raise what ended a model's loop: nothing here may end silently. Models that could not join try again."""
        while True:
            await self.join_missing()
            for task in self._loops.values():
                if task.done():
                    task.result()
            await asyncio.sleep(TICK_SECONDS)

    async def close(self) -> None:
        """End the loops; what the proxies have sent is recorded first."""
        for task in self._loops.values():
            task.cancel()
        await asyncio.gather(*self._loops.values(), return_exceptions=True)
        await self.refusals.finish()
        await self.ingest.flush()
        for controller in self.controllers.values():
            await controller.finish()
        await self.tracing.close()

    # ---- from the proxies

    def on_message(self, worker: int, message: Up) -> None:
        """A message over the link."""
        match message:
            case Exchanges() if (settings := self.settings.find(message.model)) is not None:
                self.ingest.take(message, settings)
            case Sampled():
                self.recordings.requests(message)
                self.skew.requests(message)
            case Counters():
                self.metrics.counters(worker, message)
            case Spans():
                self.tracing.take(message)
            case BreakerChanged() if message.model in self.controllers:
                self.metrics.breaker(message.model, worker, message.state)
                if message.tripped:
                    fact = BreakerTripped(message.at, message.rollout_id, message.failed, message.seen)
                    self._spawn(self.controllers[message.model].breaker(fact))
            case _:
                log.info("link: left out a message of worker %d: %s", worker, type(message).__name__)

    def decided(self, model: str, decision: Decision) -> None:
        """A decision is in force."""
        self.metrics.decided(model, decision)

    # ---- routes and settings

    def publish(self) -> None:
        """Who serves may have changed."""
        settings = self.settings
        self._publisher.publish(
            self.controllers,
            settings.models,
            settings.limits,
            self._sampled,
            traced=settings.traced,
            by_body=settings.route_by == "body.model",
        )

    async def adopt(self, settings: Settings) -> None:
        """New good settings: what can change while running does; the rest is named."""
        for name in _AT_START:
            if getattr(settings, name) != getattr(self.settings, name):
                log.warning("settings: %s changed; it takes effect at the next start", name)
        async with self._membership:
            for name in self.controllers.keys() - set(settings.names):
                await self.remove(name)
            self.settings = settings
            for name, controller in self.controllers.items():
                of_model = self.followers[name].settings = settings.models[model_of(name)]
                policy = of_model.policy() if alias_of(name) is None else of_model.lane_policy()
                controller.adopt(policy, sticky=of_model.assign_by is not None)
                controller.wake.set()
        self.publish()
        await self.join_missing()

    # ---- what the admin port asks

    def models(self) -> list[str]:
        """The names of all models."""
        return sorted(self.settings.models)

    def known(self, name: str) -> bool:
        """Whether this is the name of a model or of a lane."""
        return self.settings.find(name) is not None

    def coding(self, model: str) -> Coding:
        """How its labels become numbers. Raises UnknownModel."""
        return self._settings(model).coding

    def rollback_on(self, model: str) -> tuple[Mapping[str, str], ...]:
        """Alerts with all labels of one of these roll the model's rollout back. Raises UnknownModel."""
        return self._settings(model).rollback_on

    def attempted(self, refused: RefusedAct) -> None:
        """Somebody was refused who would have changed something. A name that is no model's is not kept."""
        known = self.settings.find(refused.model) is not None
        self.refusals.add(refused if known else replace(refused, model=""))

    def alerted(self, results: Mapping[str, int]) -> None:
        """Count what became of alerts."""
        self.metrics.alerted(results)

    async def add_labels(self, model: str, columns: Columns) -> None:
        """Record labels; they are safe when this returns. Raises UnknownModel, LedgerUnavailable.

        The model's lanes have them as well, where a version is on trial: what was not copied to a lane waits there in
        vain for as long as labels are kept.
        """
        if alias_of(model) is not None:
            raise UnknownModel(model)  # labels are the model's
        await self._controller(model).labels(columns)
        for lane in self._lanes(model):
            if (controller := self._controller(lane)).title.on_trial is not None:
                await controller.labels(columns)
        self.recordings.labelled(model, columns)

    async def command(self, model: str, command: Command) -> Decision:
        """Carry out a person's act. Raises UnknownModel, Refused, LedgerUnavailable."""
        controller = self._controller(model)
        if command.kind is CommandKind.ROLL_BACK or (command.kind is CommandKind.ALERT and controller.title.on_trial):
            await self._probe_target(model, controller, command.to or controller.title.way_back)
        return await controller.command(command)

    async def gated(self, model: str, fact: Gated) -> Decision:
        """Take note of a report of the gate in staging, of a version that there is; see `Operations.gated`."""
        controller, version = self._controller(model), fact.report.get("version")
        if alias_of(model) is not None:
            raise Refused(f"the gate in staging is that of the model: report to {model_of(model)}")
        if isinstance(version, int) and 0 < version < 2**31:
            try:
                await self.followers[model].look_up(int(version))
            except UnknownVersion as error:
                raise Refused(str(error)) from None
            except RegistryUnavailable as error:
                raise RegistryAway(f"the registry cannot be read: {error}") from None
        return await controller.gated(fact)

    def recording(self, model: str, share: int) -> AbstractContextManager[Recording]:
        """See `Operations.recording`."""
        settings = self._settings(model)
        if settings.recording is None:
            raise Refused(
                "requests of this model may not be recorded: its settings have no `recording`, which says what of them "
                "never is (recording: {redact: [...]})"
            )
        return self.recordings.opened(model, settings.protocol, share, settings.recording)

    def traffic(self, model: str, since: float) -> Iterator[Observations | Labels]:
        """See `Operations.traffic`."""
        with Archive.open(self._written) as archive:
            yield from archive.traffic(model, since)

    def explained(self, model: str, number: int) -> Explanation | None:
        """See `Operations.explained`."""
        with Archive.open(self._written) as archive:
            record = read(archive, model)
            found = [each for each in record.decisions if each.number == number]
            return explained(archive, record, found[0]) if len(found) == 1 else None

    async def record(self, model: str, limit: int) -> list[tuple[str, Decision]]:
        """The newest decisions, the newest first, each with its id. Raises UnknownModel, LedgerUnavailable."""
        self._controller(model)
        return [(entry_id(model, number), each) for number, each in await self.ledger.numbered(model, limit)]

    async def refused(self, model: str, limit: int) -> list[RefusedAct]:
        """The latest refused attempts to act, the newest first. Raises UnknownModel, LedgerUnavailable."""
        self._controller(model)
        return await self.ledger.refused(model, limit)

    async def production(self, model: str) -> list[tuple[str, Reign]]:
        """What was in production when, the latest first. Raises UnknownModel, LedgerUnavailable."""
        self._controller(model)
        return told_reigns(model, (await self.ledger.numbered(model))[::-1])

    def status(self) -> dict[str, Any]:
        """Everything that people and scripts want to know, as plain data."""
        return plane_status(self.controllers, self.followers, self.prober, self.skew.told)

    def _lanes(self, model: str) -> list[str]:
        return [lane_name(model, alias) for alias in self.settings.models[model].challengers]

    def health(self) -> tuple[bool, list[str]]:
        """Whether traffic is served as the registry wants it, and what is missing."""
        reasons = [
            f"{name}: its records have not been read yet"
            for name in self.settings.models
            if name not in self.controllers
        ]
        for name, controller in self.controllers.items():
            title = controller.title
            if alias_of(name) is not None:
                continue  # clients are not answered by a lane
            if title.champion is None:
                # not what the registry said: this answer is open to everybody
                unread = "the registry cannot be read" if self.followers[name].error else "it has not been read yet"
                reasons.append(f"{name}: {'the registry names no champion' if title.aliases else unread}")
            elif self.settings.models[name].probed_at(title.champion) is None:
                reasons.append(f"{name}: no endpoint for version {title.champion}")
        return not reasons, reasons

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics page and its content type."""
        return self.metrics.expose(accept)

    # ---- inside

    def _sampled(self, model: str) -> int:
        """Percent of a model's requests that somebody wants a copy of."""
        return max(self.recordings.share(model), self.skew.share(model))

    def _settings(self, model: str) -> ModelSettings:
        try:
            return self.settings.models[model]
        except KeyError:
            raise UnknownModel(model) from None

    def _title(self, model: str) -> Title | None:
        return self.controllers[model].title if model in self.controllers else None

    def _endpoint_changed(self, model: str) -> None:
        if model in self.controllers:
            self.controllers[model].title.ready = self.prober.ready(model)  # the registry may be away for long
            self.controllers[model].wake.set()

    def _controller(self, model: str) -> ModelController:
        try:
            return self.controllers[model]
        except KeyError:
            if self.settings.find(model) is not None:
                raise LedgerUnavailable("the model's records have not been read yet") from None
            raise UnknownModel(model) from None

    async def _probe_target(self, model: str, controller: ModelController, version: int | None) -> None:
        """See whether the version that would get the title answers now: the last probe may not have been of it."""
        if version is None or controller.title.lane is not None:
            return
        settings = self.settings.models[model]
        url = settings.probed_at(version)
        if url is None:
            raise Refused(f"cannot roll back: there is no endpoint for version {version}")
        answers = await self.prober.check(url, settings.ready_path, settings.tls)
        controller.probed(version, ready=answers)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._soon.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._soon.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a message of the data plane could not be carried out", exc_info=error)
