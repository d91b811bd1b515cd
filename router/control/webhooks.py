"""Asks webhooks to confirm starts and promotions, and tells them of rollbacks. Nothing here holds a rollback up.

What has been confirmed and told stands in the record, so that a restart asks and tells only what is left; an answer
that was lost on the way is asked for again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from comparator.asking import Question
from comparator.confirming import Ask, Notice
from comparator.events import Confirmation, Notified
from comparator.guardrail import Verdict
from router.control.controller import ModelController
from router.control.outgoing import Failed, Outgoing, plain
from router.control.signing import stamped
from router.settings.outside import WebhookSettings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.2
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
"""Between two times that the same is asked or told; it doubles up to there."""

MOST_AT_ONCE: Final = 8
LONGEST_ANSWER: Final = 64 * 1024


class _Said(msgspec.Struct):
    verdict: Literal["pass", "fail", "inconclusive"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Call:
    """What one webhook is asked, or told."""

    model: str
    id: str
    webhook: str


@dataclass(slots=True)
class _Turn:
    """When a call is made next, and the one that is open."""

    due: float  # of the loop's clock
    wait: float = FIRST_WAIT_SECONDS
    open: asyncio.Task[None] | None = None
    told: Notified | None = None  # it has been told, but that could not be recorded yet
    problem: str = ""


def question_body(model: str, question: Question) -> dict[str, Any]:
    """What a webhook is asked to confirm, as plain data. Nothing in it may be an answer: some servers send back all."""
    return {
        "id": f"{model}/{question.id}",
        "event": question.ask.value,
        "model": model,
        "version": question.version,
        "champion": question.champion,
        "rollout_id": str(question.rollout_id),  # more digits than a double holds
        "phase": question.phase,
        "step": question.step + 1,
        "evidence_verdict": question.verdict,
        "evidence_digest": question.evidence_digest,
        "policy_digest": question.policy_digest,
    }


def notice_body(model: str, notice: Notice) -> dict[str, Any]:
    """What a webhook is told of a rollback, as plain data."""
    decision = notice.decision
    return {
        "id": f"{model}/{notice.id}",
        "event": Ask.ROLLBACK.value,
        "model": model,
        "version": decision.version,
        "champion": notice.champion,
        "rollout_id": str(decision.rollout_id),
        "phase": decision.phase,
        "decision": decision.kind.value,
        "at": decision.at,
        "by": decision.actor,
        "trigger": decision.trigger,
        "reason": decision.reason,
        "evidence_verdict": str(decision.evidence.get("verdict", Verdict.INCONCLUSIVE.value)),
        "evidence_digest": notice.evidence_digest,
        "policy_digest": decision.policy_digest,
    }


class Webhooks:
    """Makes the calls that are due, each again with longer and longer waits until it has come to something.

    Args:
        controllers: the models under control, live.
        webhooks: by name, as the settings have them now.
        outgoing: how others are reached.
    """

    def __init__(
        self,
        controllers: Mapping[str, ModelController],
        webhooks: Callable[[], Mapping[str, WebhookSettings]],
        outgoing: Outgoing,
    ) -> None:
        self._controllers = controllers
        self._webhooks = webhooks
        self._outgoing = outgoing
        self._turns: dict[_Call, _Turn] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._call_due(asyncio.get_running_loop().time())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            tasks = [turn.open for turn in self._turns.values() if turn.open is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _call_due(self, now: float) -> None:
        wanted: dict[_Call, tuple[ModelController, Question | Notice]] = {}
        for model, controller in list(self._controllers.items()):
            title = controller.title
            for question in title.questions(controller.last_tick):
                wanted[_Call(model, question.id, question.webhook)] = controller, question
            for notice in title.notices.open.values():
                if notice.decision == controller.unrecorded:
                    continue  # nobody is told of what a crash would undo
                wanted.update({_Call(model, notice.id, name): (controller, notice) for name in notice.webhooks})
        for call in self._turns.keys() - wanted.keys():
            if (task := self._turns.pop(call).open) is not None:
                task.cancel()  # nobody waits for that answer any more
        for call, (controller, about) in wanted.items():
            turn = self._turns.setdefault(call, _Turn(now))
            if turn.open is not None and turn.open.done():
                turn.open.result()  # nothing here may end silently
                turn.open = None
            if turn.open is None and turn.due <= now:
                work = (
                    self._ask(call, turn, controller, about)
                    if isinstance(about, Question)
                    else self._tell(call, turn, controller, about)
                )
                turn.open = asyncio.create_task(work, name=f"webhook {call.webhook}")

    def _later(self, turn: _Turn) -> None:
        turn.due = asyncio.get_running_loop().time() + turn.wait
        turn.wait = min(2 * turn.wait, LONGEST_WAIT_SECONDS)

    async def _ask(self, call: _Call, turn: _Turn, controller: ModelController, question: Question) -> None:
        verdict, reason = Verdict.INCONCLUSIVE.value, ""
        try:
            status, body = await self._post(call, question_body(call.model, question))
            said = _said(status, body)
            verdict, reason = said.verdict, plain(said.reason) or "no reason was given"
        except Failed as error:
            reason = str(error)
        self._log(call, turn, "" if verdict != Verdict.INCONCLUSIVE.value else reason)
        await controller.heard(
            Confirmation(
                time.time(),
                question.rollout_id,
                question.step,
                question.policy_digest,
                question.ask.value,
                call.webhook,
                verdict,
                reason,
            )
        )
        self._later(turn)

    async def _tell(self, call: _Call, turn: _Turn, controller: ModelController, notice: Notice) -> None:
        if turn.told is None:
            problem, reason = "", ""
            if call.webhook not in self._webhooks():
                reason = f"{call.webhook} was not told: the settings have no such webhook any more"
            else:
                try:
                    status, _ = await self._post(call, notice_body(call.model, notice))
                    problem = "" if 200 <= status < 300 else f"the answer was {status}"
                except Failed as error:
                    problem = str(error)
            fact = Notified(time.time(), notice.id, call.webhook, reason, problem)
            turn.told = None if problem else fact
            self._log(call, turn, problem)
        else:
            fact = turn.told
        await controller.heard(fact)
        self._later(turn)

    def _log(self, call: _Call, turn: _Turn, problem: str) -> None:
        if problem and problem != turn.problem:  # the same is not told again and again
            log.warning("%s: webhook %s (%s): %s", call.model, call.webhook, call.id, problem)
        turn.problem = problem

    async def _post(self, call: _Call, data: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer. Raises Failed."""
        webhook = self._webhooks().get(call.webhook)
        if webhook is None:
            raise Failed("the settings have no such webhook")
        body = msgspec.json.encode(data)
        headers = {"content-type": "application/json", **await stamped(str(data["id"]), body, webhook.secret_file)}
        async with self._slots:
            answer = await self._outgoing.post(
                webhook.url,
                body,
                headers,
                tls=webhook.tls,
                deadline_seconds=webhook.timeout,
                most_bytes=LONGEST_ANSWER,
            )
        return answer.status_code, answer.body


def _said(status: int, body: bytes) -> _Said:
    """What was answered. Raises Failed: it says neither pass nor fail."""
    if status != 200:
        raise Failed(f"the answer was {status}")
    try:
        return msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Failed('expected {"verdict": "pass" | "fail" | "inconclusive", "reason": TEXT} as the answer') from None
