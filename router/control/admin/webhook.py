"""POST /webhooks/alertmanager: an alert that fires rolls back what is on trial."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from comparator.acts import NotOnTrial, Refused
from comparator.events import Command, CommandKind
from router.control.admin.actors import Actor
from router.control.admin.alerts import Alert, LeftOut, Matcher, NotAlerts, left_out, matching, read_alerts
from router.control.admin.answers import ApiError, as_json
from router.control.admin.body import read_body
from router.control.admin.operations import Operations, UnknownModel
from router.control.ledger import Fenced, LedgerUnavailable

log = logging.getLogger(__name__)

NOTIFICATION_BYTES = 1024 * 1024
MOST_LOGGED = 1000
"""Sets of labels that are remembered as logged; beyond, the oldest may be logged again."""

LOGGED_AT_ONCE = 10


class AlertmanagerWebhook:
    """Says of every model whose `rollback_on` an alert matches what was done. Sent again, it does nothing more.

    A rollback that cannot be carried out now is answered with 503, so that Alertmanager tries again. A notification
    without any alert of a model here is refused with 422, which it counts as failed and does not try again.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._logged: dict[str, None] = {}  # labels of alerts of no model here, the oldest first

    async def __call__(self, request: Request, actor: Actor) -> Response:
        """Answer one notification."""
        body = await read_body(request, NOTIFICATION_BYTES)
        try:
            read = await asyncio.to_thread(read_alerts, body)  # the loop has rollouts to look after
        except NotAlerts as error:
            self._operations.alerted({"malformed": 1})
            raise ApiError(400, "not_alerts", str(error)) from None
        if read.odd:
            log.warning("alerts: left out %d entries of a notification: %s", read.odd, read.problem)
        matchers = {model: self._operations.rollback_on(model) for model in self._operations.models()}
        firing, others = await asyncio.to_thread(_sorted, read.alerts, matchers)  # many alerts times many models
        done: dict[str, dict[str, Any]] = {
            model: {"alert": alert.told, **await self._roll_back(model, alert, actor)}
            for model, alert in firing.items()
        }
        self._count(done, others, read.odd)
        self._log_once(others.unknown)
        answer = {"models": done, "ignored": others.told(read), "unknown": others.told_unknown()}
        if any(each["did"] == "refused" for each in done.values()):
            return as_json(answer, 503, {"retry-after": "5"})
        if others.unknown and len(others.unknown) == len(read.alerts):
            message = (
                "none of these alerts is of a model here; the models' rollback_on and the label model say which are"
            )
            return as_json({"error": {"code": "unknown_model", "message": message}, **answer}, 422)
        return as_json(answer)

    def _count(self, done: Mapping[str, Mapping[str, Any]], others: LeftOut, odd: int) -> None:
        counts = Counter(each["did"] if each["did"] in ("nothing", "refused") else "acted" for each in done.values())
        counts.update(
            resolved=len(others.resolved), ignored=len(others.ignored), unknown_model=len(others.unknown), malformed=odd
        )
        self._operations.alerted(counts)

    def _log_once(self, unknown: Sequence[Alert]) -> None:
        """Alertmanager repeats itself: a set of labels is logged once, and few of a large group."""
        new = list(dict.fromkeys(alert.told for alert in unknown if alert.told not in self._logged))
        for told in new[:LOGGED_AT_ONCE]:
            log.warning("alerts: of no model here: %s", told)
            self._logged[told] = None
            if len(self._logged) > MOST_LOGGED:
                del self._logged[next(iter(self._logged))]
        if len(new) > LOGGED_AT_ONCE:
            log.warning("alerts: %d more of no model here", len(new) - LOGGED_AT_ONCE)

    async def _roll_back(self, model: str, alert: Alert, actor: Actor) -> dict[str, Any]:
        """What was done about the model, and why not more."""
        command = Command(time.time(), CommandKind.ALERT, actor.name, f"alert {alert.told}", since=alert.since)
        try:
            decision = await self._operations.command(model, command)
        except NotOnTrial as reason:
            return {"did": "nothing", "why": str(reason)}
        except Refused as reason:
            return {"did": "refused", "why": str(reason)}
        except (LedgerUnavailable, Fenced, UnknownModel) as reason:  # the other models are still to come
            return {"did": "refused", "why": f"the model is not under control now: {reason}"}
        return {"did": decision.kind.value, "version": decision.version}


def _sorted(alerts: Sequence[Alert], matchers: Mapping[str, Sequence[Matcher]]) -> tuple[dict[str, Alert], LeftOut]:
    """For each model the alert that rolls it back, and all that are left out."""
    found = {model: matching(alerts, of) for model, of in matchers.items()}
    return {model: alert for model, alert in found.items() if alert is not None}, left_out(alerts, matchers)
