"""Tells the user's own endpoints what has happened. Nothing waits for it, and nothing of it is kept over a restart.

Each target has a queue with a bound, and one notification under way at a time, so that they come in their order. Only
decisions that are in the record, or in the spool, are told; those that a restart receives again are not told again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from comparator.events import Decision, DecisionKind
from comparator.title import Title
from router.control.metric_table import NOTIFICATION_OUTCOMES
from router.control.notifications import Notification, body, notifications
from router.control.outgoing import Failed, Outgoing
from router.control.signing import stamped
from router.settings.lanes import alias_of, model_of
from router.settings.notify import NotifySettings
from router.settings.outside import is_address

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.1
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
"""Between two attempts; it doubles up to there, and each is cut by up to a half, so that many do not come at once."""

PATIENCE_SECONDS: Final = 3600.0
"""What has failed so long after it happened is given up; what has not been tried yet is tried once more."""

MOST_WAITING: Final = 256
LONGEST_ANSWER: Final = 64 * 1024

DELIVERED, REFUSED, GIVEN_UP, DROPPED = NOTIFICATION_OUTCOMES

_AGAIN: Final = frozenset({408, 429})


class Controlled(Protocol):
    """One model under control, as far as is told of it."""

    title: Title


def outcome_of(status_code: int) -> str:
    """What an answer comes to; "": it is sent again."""
    if 200 <= status_code < 300:
        return DELIVERED
    return "" if status_code >= 500 or status_code in _AGAIN else REFUSED


@dataclass(slots=True)
class Line:
    """What waits for one target. Times are those of the caller's clock, in seconds."""

    waiting: deque[tuple[Notification, float]] = field(default_factory=deque)  # with when it was put here
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NOTIFICATION_OUTCOMES, 0))
    due: float = 0.0
    wait: float = FIRST_WAIT_SECONDS
    open: asyncio.Task[None] | None = None  # the first one is on its way
    problem: str = ""

    def add(self, told: Notification, now: float) -> None:
        """Put it last. Where there is no room, the oldest one that is not on its way is dropped."""
        self.waiting.append((told, now))
        if len(self.waiting) > MOST_WAITING:
            del self.waiting[0 if self.open is None else 1]
            self.counts[DROPPED] += 1

    def done(self, outcome: str) -> None:
        """The first one is over, one way or the other; the next one need not wait."""
        self.waiting.popleft()
        self.counts[outcome] += 1
        self.due, self.wait = 0.0, FIRST_WAIT_SECONDS

    def failed(self, now: float, chance: float) -> bool:
        """The first one has to be sent again, after a while; False: it is given up.

        Args:
            now: when.
            chance: from 0 to 1: how much of half the wait is cut.
        """
        given_up = now - self.waiting[0][1] >= PATIENCE_SECONDS
        if given_up:
            wait = self.wait
            self.done(GIVEN_UP)
            self.wait = wait  # who does not answer is not asked more often for that
        self.due = now + self.wait * (1 - chance / 2)
        self.wait = min(2 * self.wait, LONGEST_WAIT_SECONDS)
        return not given_up


class Notifier:
    """Queues what is to be told, and sends it.

    Args:
        controlled: the models under control, live.
        targets: who is told, as the settings have them now.
    """

    def __init__(self, controlled: Mapping[str, Controlled], targets: Callable[[], Sequence[NotifySettings]]) -> None:
        self._controlled = controlled
        self._targets = targets
        self._outgoing = Outgoing()
        self._lines: dict[str, Line] = {}
        self._chance = random.Random()  # noqa: S311 - spreads attempts, no secret

    @property
    def lines(self) -> Mapping[str, Line]:
        """By the name of the target: those of the settings, and no others."""
        return {target.name: self._lines.setdefault(target.name, Line()) for target in self._targets()}

    def recorded(self, model: str, decision: Decision, number: int) -> None:
        """A decision is in force, and in the record as this entry of its chain; 0: in the spool. Never raises."""
        try:
            targets, lines = self._targets(), self.lines
            if not targets or model not in self._controlled:
                return
            if alias_of(model) is not None and decision.kind is DecisionKind.FOREIGN_MOVE:
                return  # of the champion, as the model tells
            for told in notifications(model, self._controlled[model].title, decision, number):
                for target in targets:
                    if target.wants(told.event, model_of(model)):
                        lines[target.name].add(told, _now())
        except Exception:  # what is only told may not hold up what is decided
            log.exception("%s: nobody is told of %s", model, decision.kind.value)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._send_due(_now())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            tasks = [line.open for line in self._lines.values() if line.open is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _send_due(self, now: float) -> None:
        lines, targets = self.lines, {target.name: target for target in self._targets()}
        for name in self._lines.keys() - lines.keys():
            gone = self._lines.pop(name)
            if gone.open is not None:
                gone.open.cancel()
            if gone.waiting:
                log.warning("notify %s: no longer in the settings; %d not told", name, len(gone.waiting))
        for name, line in lines.items():
            if line.open is not None and line.open.done():
                line.open.result()  # nothing here may end silently
                line.open = None
            if line.open is None and line.waiting and line.due <= now:
                line.open = asyncio.create_task(self._send(targets[name], line), name=f"notify {name}")

    async def _send(self, target: NotifySettings, line: Line) -> None:
        told, _ = line.waiting[0]
        name, outcome, problem = target.name, "", ""
        try:
            status = await self._post(target, told)
            outcome = outcome_of(status)
            problem = "" if outcome == DELIVERED else f"the answer was {status}"
        except Failed as error:
            problem = str(error)
        except Exception:  # a fault of ours: the next one may do better
            log.exception("notify %s: %s of %s could not be sent", name, told.event.value, told.model)
            outcome = GIVEN_UP
        if problem not in ("", line.problem):  # the same is not told again and again
            log.warning("notify %s: %s: %s%s", name, told.id, problem, "" if outcome else "; sent again later")
        line.problem = problem
        if outcome:
            line.done(outcome)
        elif not line.failed(_now(), self._chance.random()):
            log.warning("notify %s: %s is given up: %s", name, told.id, problem)

    async def _post(self, target: NotifySettings, told: Notification) -> int:
        """The answer's status. Raises Failed."""
        content, content_type = body(told, target.format, target.source)
        headers = {"content-type": content_type, **await stamped(told.id, content, target.secret_file)}
        answer = await self._outgoing.post(
            target.url if target.url is not None else await _held(target.url_file or ""),
            content,
            headers,
            tls=target.tls,
            deadline_seconds=target.timeout,
            most_bytes=LONGEST_ANSWER,
        )
        return answer.status_code


async def _held(path: str) -> str:
    """The address that a file holds, read at every use. Raises Failed, without it."""
    try:
        held = (await asyncio.to_thread(Path(path).read_text, encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError):
        raise Failed("the file of its address cannot be read") from None
    if not is_address(held):
        raise Failed("expected http(s)://host:port/path and nothing else in the file of its address")
    return held


def _now() -> float:
    return asyncio.get_running_loop().time()
