"""Finds out what the checks of running rollouts want to know, off every request's way.

It is asked of the user's own Prometheus, or measured here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec

from comparator.events import CheckResult, Mode, Role
from comparator.outside import Check, fill
from comparator.phases import COMPARED
from comparator.rollout import Rollout
from router.control.controller import ModelController
from router.control.outgoing import Failed, Outgoing, plain
from router.control.skew.names import NoFigure
from router.settings.lanes import model_of
from router.settings.outside import PrometheusSettings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.2
MOST_AT_ONCE: Final = 8
LONGEST_ANSWER: Final = 1 << 20
"""Bytes: one number and its labels are a few hundred."""


ITS_OWN: Final = (200, 400, 422, 503)
"""Statuses of Prometheus's own answers: what another server says is not read."""


class NoAnswer(Exception):
    """A check that has no one finite number as its answer; the message says why."""


Figure = Callable[[str, int], float]
"""What is measured here of a model's (or lane's) version. Raises NoFigure."""


class _Data(msgspec.Struct):
    kind: str = msgspec.field(name="resultType", default="")
    result: list[msgspec.Raw] = []


class _Sample(msgspec.Struct):
    value: tuple[float, str]


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] = []


@dataclass(frozen=True, slots=True)
class _Asked:
    """A check, in one step of one rollout."""

    model: str
    rollout_id: int
    step: int
    check: str


def number_in(body: bytes) -> float:
    """The one number that Prometheus answered with. Raises NoAnswer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        if answer.status != "success" or answer.data is None:
            raise NoAnswer(f"Prometheus says: {plain(answer.error or answer.status)}")
        if answer.warnings:  # such as a store that did not answer: what is there may be a part of it
            raise NoAnswer(f"Prometheus warns: {plain(answer.warnings[0])}")
        text = _one(answer.data)
        value = float(text)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise NoAnswer("expected an answer of Prometheus's query API, got something else") from None
    if not math.isfinite(value):
        raise NoAnswer(f"expected a finite number, got {value}")
    return value


def _one(data: _Data) -> str:
    if data.kind == "scalar":
        return msgspec.json.decode(b"[%s]" % b",".join(data.result), type=tuple[float, str])[1]
    if data.kind != "vector":
        raise NoAnswer(f"expected one number, got a {data.kind[:20] or 'nothing'}")
    if len(data.result) != 1:
        raise NoAnswer(f"expected one sample, got {len(data.result) or 'none'}")
    return msgspec.json.decode(data.result[0], type=_Sample).value[1]


def roles_of(rollout: Rollout) -> tuple[Role, Role]:
    """Which roles the version on trial and its reference hold now."""
    return (Role.CHAMPION, Role.PREVIOUS) if rollout.mode is Mode.WATCH else (Role.CHALLENGER, Role.CHAMPION)


class Queries:
    """Asks each check of each running rollout as often as it wants; a query that is still open is not asked again.

    Args:
        controllers: the models under control, live.
        prometheus: where to ask, as the settings have it now; None: nowhere.
        outgoing: how others are reached.
        figures: what is measured here, by name.
    """

    def __init__(
        self,
        controllers: Mapping[str, ModelController],
        prometheus: Callable[[], PrometheusSettings | None],
        outgoing: Outgoing,
        figures: Mapping[str, Figure],
    ) -> None:
        self._controllers = controllers
        self._prometheus = prometheus
        self._outgoing = outgoing
        self._figures = figures
        self._due: dict[_Asked, float] = {}  # of the loop's clock; infinite while a query is open
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._open: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._ask_due(asyncio.get_running_loop().time())
                for task in [task for task in self._open if task.done()]:
                    self._open.discard(task)
                    task.result()  # nothing here may end silently
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _ask_due(self, now: float) -> None:
        wanted: dict[_Asked, float] = {}
        for model, controller in list(self._controllers.items()):
            rollout = controller.title.rollout
            if rollout is None or rollout.phase not in COMPARED:
                continue
            for check in rollout.policy.outside.checks:
                asked = _Asked(model, rollout.rollout_id, rollout.step, check.name)
                wanted[asked] = self._due.get(asked, now)
                if wanted[asked] <= now:
                    wanted[asked] = math.inf
                    work = self._ask(asked, controller, rollout, check, now)
                    self._open.add(asyncio.create_task(work, name=f"check {check.name}"))
        self._due = wanted

    async def _ask(
        self, asked: _Asked, controller: ModelController, rollout: Rollout, check: Check, began: float
    ) -> None:
        champion: float | None = None
        challenger: float | None = None
        problem = ""
        trial, reference = roles_of(rollout)
        try:
            async with self._slots:
                ours = self._number(check, asked.model, trial, rollout.version)
                if check.compares:  # as no figure does
                    theirs = self._number(check, asked.model, reference, rollout.reference)
                    challenger, champion = await asyncio.gather(ours, theirs)
                else:
                    challenger = await ours
        except NoAnswer as error:
            problem = str(error)
            if self._unlike(controller, asked, problem):
                log.warning("%s: check %s has no answer: %s", asked.model, asked.check, problem)
        result = CheckResult(time.time(), asked.rollout_id, asked.step, check.name, challenger, champion, problem)
        await controller.checked(result)
        if asked in self._due:
            self._due[asked] = began + check.every_seconds

    def _unlike(self, controller: ModelController, asked: _Asked, problem: str) -> bool:
        """Whether this is another problem than the check's last one: the same is not told again and again."""
        rollout = controller.title.rollout
        return rollout is not None and rollout.checks.problem(asked.check) != problem

    async def _number(self, check: Check, model: str, role: Role, version: int) -> float:
        """What the check asks for comes to for one version. Raises NoAnswer."""
        if check.figure:
            try:
                return self._figures[check.figure](model, version)
            except NoFigure as error:
                raise NoAnswer(str(error)) from None
        place = self._prometheus()
        if place is None:
            raise NoAnswer("the settings name no prometheus")
        name = role.name.lower()
        try:
            query = fill(check.query, role=name, version=version, model=model_of(model))
            answer = await self._outgoing.post(
                f"{place.url}/api/v1/query",
                urlencode({"query": query, "timeout": f"{place.timeout:g}"}).encode(),
                {"content-type": "application/x-www-form-urlencoded", **await _authorization(place)},
                tls=place.tls,
                deadline_seconds=place.timeout,
                most_bytes=LONGEST_ANSWER,
            )
        except (Failed, ValueError) as error:
            raise NoAnswer(f"for the {name}: {error}") from None
        if answer.status_code not in ITS_OWN:
            raise NoAnswer(f"for the {name}: the answer was {answer.status_code}")
        try:
            return number_in(answer.body)
        except NoAnswer as error:
            raise NoAnswer(f"for the {name}: {error}") from None


async def _authorization(place: PrometheusSettings) -> dict[str, str]:
    """Read at every query: tokens are renewed while we run. Raises Failed."""
    path = place.token_file or place.authorization_file
    if path is None:
        return {}
    try:
        secret = (await asyncio.to_thread(Path(path).read_text, "ascii")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"the token cannot be read: {getattr(error, 'strerror', None) or 'not ASCII'}") from None
    if not secret.isprintable():
        raise Failed("the token cannot be read: expected one line")
    return {"authorization": f"Bearer {secret}" if place.token_file is not None else secret}
