"""Looks at sampled requests of all models, beside the control plane's own work: in a thread, within bounds.

Nothing waits for it. What comes while too much waits is dropped and counted, and it never has more than a quarter of a
processor. What was counted is in memory: a restart begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from comparator.events import Columns, Role
from comparator.title import Title
from router.control.daemon import in_daemon
from router.control.recordings import in_samples
from router.control.registry import RegistryUnavailable
from router.control.skew.model import ModelSkew
from router.control.skew.names import NoFigure
from router.control.skew.trained import Trained, TrainedReader
from router.link.messages import Sampled, SampledRequest
from router.link.sampling import in_sample
from router.protocols.protocol import Asking
from router.protocols.select import protocol
from router.settings import ModelSettings
from router.settings.lanes import alias_of, lane_name, model_of
from router.settings.skew import SkewSettings

log = logging.getLogger(__name__)

MOST_BYTES: Final = 16 * 1024 * 1024
"""That wait, of all models."""

ROUND_SECONDS: Final = 0.5
WORK_SECONDS: Final = 0.25
"""Of one round; what is left waits for the next."""

IDLE: Final = 3
"""So many times as long as it worked it rests."""

REPORT_SECONDS: Final = 1.0
FAULT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
LEAST_WAIT_SECONDS: Final = 2.0
MOST_WAIT_SECONDS: Final = 600.0
"""Between two reads of what the registry did not tell: it may be away, or somebody may add a profile."""

_ROW_BYTES: Final = 100

Piece = tuple[str, list[SampledRequest] | Columns, int]
STALE_SECONDS: Final = 60.0
"""What was last seen longer ago says nothing of now."""

How = tuple[str, Asking, SkewSettings]
"""Protocol, requests and settings of a model: where they change, all begins anew."""

Plan = tuple[How, Mapping[Role, tuple[int, Trained]]]
"""How, and the version that serves in each role with its training."""


class SkewWatch:
    """Every model whose settings have `skew`, and its lanes: the same requests, beside their versions' training.

    Args:
        titles: model or lane -> its title; None: it is not under control yet.
        settings: of the models, now.
        reader: of signatures and training profiles.
    """

    def __init__(
        self,
        titles: Callable[[str], Title | None],
        settings: Callable[[], Mapping[str, ModelSettings]],
        reader: TrainedReader,
    ) -> None:
        self._titles = titles
        self._settings = settings
        self._reader = reader
        self._models: dict[str, ModelSkew] = {}
        self._how: dict[str, How] = {}
        self._waiting: deque[Piece] = deque()
        self._bytes_kept = 0  # counted by the loop,
        self._bytes_done = 0  # and by the thread
        self._dropped: Counter[str] = Counter()
        self._trained: dict[tuple[str, int], Trained] = {}
        self._again: dict[tuple[str, int], tuple[float, float]] = {}  # when to read again, and how long after that
        self._reports: dict[str, dict[str, Any]] = {}
        self._reported = 0.0
        self._fault_at = -FAULT_SECONDS

    # ---- called by the control plane; each in microseconds

    def share(self, model: str) -> int:
        """Percent of a model's requests, or of a lane's observations, that are looked at."""
        of_model = self._settings().get(model_of(model))
        return of_model.skew.share if of_model is not None and of_model.skew is not None else 0

    def requests(self, message: Sampled) -> None:
        """Copies from a proxy."""
        if share := self.share(message.model):
            kept = [each for each in message.requests if in_sample(each.request_hi, each.request_lo, share)]
            self._keep(message.model, kept, sum(len(each.body) + _ROW_BYTES for each in kept))

    def observed(self, model: str, columns: Columns) -> None:
        """Observations of a model: dtype OBSERVATION, shape (n,)."""
        if share := self.share(model):
            kept = columns[in_samples(columns["request_hi"], columns["request_lo"], share)]
            self._keep(model, kept, kept.nbytes)

    def status(self, model: str) -> dict[str, Any] | None:
        """As of the last look; None: nobody looks, or not yet."""
        if not self.share(model) or model not in self._reports:
            return None
        report = self._reports[model]
        return {**report, "requests": {**report["requests"], "dropped": self._dropped[model_of(model)]}}

    def told(self, model: str) -> dict[str, Any] | None:
        """The same for people: without what has not happened."""
        found = self.status(model)
        if found is None:
            return None
        roles = {
            role: {**each, "contract": [one for one in each["contract"] if one["requests"]]}
            for role, each in found["roles"].items()
        }
        return {**found, "roles": roles, "answers": [each for each in found["answers"] if each["answers"]]}

    def skewed_features(self, model: str, version: int) -> int:
        """How many features of live requests are not as this version's training had them; `model`: or a lane.

        Raises:
            NoFigure: it is not known, or was not looked at just now.
        """
        report = self._reports.get(model)
        if report is None or time.monotonic() - report["looked_at"] > STALE_SECONDS:
            raise NoFigure("requests are not looked at now")
        found = next((each for each in report["roles"].values() if each["version"] == version), None)
        if found is None:
            raise NoFigure(f"version {version} is not looked at yet")
        if found["not_compared"]:
            told = f"{found['not_compared'][0]} cannot be compared with its training, and is not ignored"
            raise NoFigure(found["no_profile"] or told)
        if not found["compared"]:
            raise NoFigure(found["no_profile"] or "no request had a feature of its training yet")
        if found["compared"] < found["comparable"]:
            raise NoFigure(f"requests had {found['compared']} of the {found['comparable']} features of its training")
        if found["fewest_rows"] < report["min_rows"]:
            raise NoFigure(f"{found['fewest_rows']:,} of the {report['min_rows']:,} rows that it takes")
        return int(found["skewed"])

    def _keep(self, model: str, rows: list[SampledRequest] | Columns, size: int) -> None:
        if not len(rows):
            return
        if self._bytes_kept - self._bytes_done + size > MOST_BYTES:
            self._dropped[model] += len(rows) if isinstance(rows, list) else 0
            return
        self._bytes_kept += size
        self._waiting.append((model, rows, size))

    # ---- the work

    async def run(self) -> None:
        """Until cancelled."""
        reading: asyncio.Task[None] | None = None
        try:
            while True:
                if reading is None or reading.done():
                    reading = asyncio.create_task(self._read(), name="skew: training")
                began, rest = time.monotonic(), ROUND_SECONDS
                try:
                    self._reports = await asyncio.to_thread(self._work, self._plans(), self._reports)
                except Exception:  # a fault in here is not worth the control plane's life
                    log.exception("skew: requests could not be looked at")
                    rest = FAULT_SECONDS
                await asyncio.sleep(max(rest, IDLE * (time.monotonic() - began)))
        finally:
            if reading is not None:
                reading.cancel()

    def _plans(self) -> dict[str, Plan]:
        """What is looked at now."""
        return {
            name: (
                (settings.protocol, settings.asking, skew),
                {
                    role: (version, self._trained.get((settings.registered_model, version), _UNREAD))
                    for role, version in self._serving(name).items()
                },
            )
            for name, settings, skew in self._looked_at()
        }

    def _looked_at(self) -> Iterator[tuple[str, ModelSettings, SkewSettings]]:
        """Every model, and every lane."""
        for model, settings in self._settings().items():
            if settings.skew is not None:
                for name in (model, *(lane_name(model, alias) for alias in settings.challengers)):
                    yield name, settings, settings.skew

    def _serving(self, model: str) -> dict[Role, int]:
        title = self._titles(model)
        if title is None:
            return {}
        serving = title.serving
        both = {Role.CHAMPION: serving.champion, serving.other_role: serving.other}
        if alias_of(model) is not None:  # a lane's champion is the model's
            del both[Role.CHAMPION]
        return {role: version for role, version in both.items() if version is not None}

    def _work(self, plans: Mapping[str, Plan], reports: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """In a thread, one call at a time."""
        until = time.monotonic() + WORK_SECONDS
        for name in self._models.keys() - plans.keys():
            del self._models[name]
        for name, (how, training) in plans.items():
            if name not in self._models or self._how[name] != how:
                speaks, asking, settings = self._how[name] = how
                self._models[name] = ModelSkew(settings, protocol(speaks).tables(asking))
            self._models[name].serve(training)
        while self._waiting and time.monotonic() < until:
            name, rows, size = self._waiting.popleft()
            self._bytes_done += size
            for each in self._taking(name, rows):
                self._look(name, each, rows)
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS and reports.keys() == self._models.keys():
            return reports
        self._reported = now
        return {name: report for name, model in self._models.items() if (report := self._report(name, model, now))}

    def _report(self, name: str, model: ModelSkew, now: float) -> dict[str, Any] | None:
        """None: it cannot be made; then nothing is known of this model, and the others go on."""
        try:
            return {**model.report(now), "looked_at": now}
        except Exception as error:  # noqa: BLE001 - logged there
            self._fault(name, error)
            return None

    def _fault(self, name: str, error: Exception) -> None:
        """Log it; not again and again, since what clients send may be the reason."""
        now = time.monotonic()
        if now - self._fault_at >= FAULT_SECONDS:
            self._fault_at = now
            log.error("skew: what came for %s could not be looked at", name, exc_info=error)

    def _taking(self, name: str, rows: list[SampledRequest] | Columns) -> Iterator[ModelSkew]:
        """Who looks at them: requests are the model's and all its lanes', observations are of one of them."""
        for each, model in self._models.items():
            if each == name or (isinstance(rows, list) and model_of(each) == name):
                yield model

    def _look(self, name: str, model: ModelSkew, rows: list[SampledRequest] | Columns) -> None:
        """At each by itself: a fault over one request is not worth the others."""
        for request in rows if isinstance(rows, list) else ():
            try:
                model.request(request, time.monotonic())
            except Exception as error:  # noqa: BLE001 - as above
                model.results["unreadable"] += 1
                self._fault(name, error)
        if not isinstance(rows, list):
            try:
                model.observed(rows)
            except Exception as error:  # noqa: BLE001 - as above
                self._fault(name, error)

    # ---- the registry

    async def _read(self) -> None:
        """What is not known of the versions that serve, one after another."""
        wanted = {
            (settings.registered_model, version)
            for name, settings, _ in self._looked_at()
            for version in self._serving(name).values()
        }
        self._trained = {key: found for key, found in self._trained.items() if key in wanted}
        self._again = {key: found for key, found in self._again.items() if key in wanted}
        for key in sorted(wanted):
            due, wait = self._again.get(key, (0.0, LEAST_WAIT_SECONDS))
            if time.monotonic() >= due and not (key in self._trained and self._trained[key].complete):
                wait = await self._read_one(key, wait)
                self._again[key] = time.monotonic() + wait, min(2 * wait, MOST_WAIT_SECONDS)

    async def _read_one(self, key: tuple[str, int], wait: float) -> float:
        """After how long to read again, if so."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await in_daemon(lambda: self._reader.read(*key), "skew: training")  # a store can hang
        except (RegistryUnavailable, TimeoutError) as error:
            why = str(error) or f"no answer within {READ_SECONDS:g} s"
            log.warning("%s: signature and training profile of version %d cannot be read: %s", *key, why)
        except Exception:
            why = "a fault of titleshot's, see its log"
            log.exception("%s: signature and training profile of version %d", *key)
        else:
            if found != self._trained.get(key):
                self._trained[key] = found
            return MOST_WAIT_SECONDS
        if key not in self._trained:
            self._trained[key] = Trained(no_columns=why, no_profile=why)
        return wait


_UNREAD: Final = Trained(no_columns="not read yet", no_profile="not read yet")
