"""POST /webhooks/alertmanager: an alert that fires rolls back what is on trial."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from comparator.acts import NotOnTrial, Refused
from comparator.events import Command, CommandKind
from router.control.admin.actors import Actor
from router.control.admin.alerts import Alert, NotAlerts, left_out, matching, read_alerts
from router.control.admin.answers import ApiError, as_json
from router.control.admin.body import read_body
from router.control.admin.operations import Operations, UnknownModel
from router.control.ledger import Fenced, LedgerUnavailable

log = logging.getLogger(__name__)

NOTIFICATION_BYTES = 1024 * 1024


class AlertmanagerWebhook:
    """Says of every model whose `rollback_on` an alert matches what was done. Sent again, it does nothing more.

    A rollback that cannot be carried out now is answered with 503, so that Alertmanager tries again.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def __call__(self, request: Request, actor: Actor) -> Response:
        """Answer one notification."""
        body = await read_body(request, NOTIFICATION_BYTES)
        try:
            read = await asyncio.to_thread(read_alerts, body)  # the loop has rollouts to look after
        except NotAlerts as error:
            raise ApiError(400, "not_alerts", str(error)) from None
        if read.odd:
            log.warning("alerts: left out %d entries of a notification: %s", read.odd, read.problem)
        matchers = {model: self._operations.rollback_on(model) for model in self._operations.models()}
        done: dict[str, dict[str, Any]] = {}
        for model, of in matchers.items():
            if (alert := matching(read.alerts, of)) is not None:
                done[model] = {"alert": alert.told, **await self._roll_back(model, alert, actor)}
        ignored = left_out(read, [each for of in matchers.values() for each in of])
        refused = any(each["did"] == "refused" for each in done.values())
        headers = {"retry-after": "5"} if refused else {}
        return as_json({"models": done, "ignored": ignored}, 503 if refused else 200, headers)

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
