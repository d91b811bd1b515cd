"""The admin port's application: routes, and what each asks of the control plane."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from comparator.acts import NotEntitled, Refused
from comparator.events import Command, CommandKind, Decision
from comparator.reigns import Reign
from router.control.admin.access import Access, Doorkeeper
from router.control.admin.actors import Actor, Right
from router.control.admin.answers import SAFE_HEADERS, ApiError, as_json
from router.control.admin.body import read_body
from router.control.admin.commands import COMMANDS, LONGEST_REASON, legal_reason
from router.control.admin.gate import GateReports
from router.control.admin.labels import NotLabels, read_labels
from router.control.admin.operations import Operations, RegistryAway, UnknownModel
from router.control.admin.recording import RecordingStreams
from router.control.admin.webhook import AlertmanagerWebhook
from router.control.ledger import Fenced, LedgerUnavailable

log = logging.getLogger(__name__)

LABELS_BYTES = 8 * 1024 * 1024
COMMAND_BYTES = 16 * 1024
MOST_DECISIONS = 1000

Handler = Callable[[Request, Actor], Awaitable[Response]]


class _CommandBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""
    to: int | None = None
    evidence: str = ""
    champion: int | None = None
    on_trial: int | None = None


def admin_app(
    operations: Operations, access: Access, labels_bytes: int = LABELS_BYTES, pages: Sequence[BaseRoute] = ()
) -> Starlette:
    """The ASGI application of the admin port.

    Args:
        operations: the control plane.
        access: who may do what.
        labels_bytes: the longest body of POST /labels.
        pages: for people, beside the API.
    """
    api = _Api(operations, access, labels_bytes)
    recording = RecordingStreams(operations)

    def route(path: str, method: str, right: Right | None, handler: Handler) -> Route:
        return Route(path, _guarded(handler, access, right), methods=[method])

    return Starlette(
        routes=[
            route("/status", "GET", Right.READ, api.status),
            route("/metrics", "GET", Right.READ, api.metrics),
            route("/labels", "POST", Right.LABEL, api.labels),
            route("/models/{name}", "GET", Right.READ, api.model),
            route("/models/{name}/history", "GET", Right.READ, api.history),
            route("/models/{name}/production", "GET", Right.READ, api.production),
            route("/models/{name}/recording", "GET", Right.RECORD, recording.live),
            route("/models/{name}/recording/past", "GET", Right.RECORD, recording.past),
            route("/models/{name}/refused", "GET", Right.READ, api.refused),
            *(
                route(f"/models/{{name}}/{action}", "POST", right, api.command_of(kind))
                for action, (kind, right) in COMMANDS.items()
            ),
            route("/models/{name}/gate", "POST", Right.GATE, GateReports(operations)),
            route("/webhooks/alertmanager", "POST", Right.ALERT, AlertmanagerWebhook(operations)),
            route("/health/live", "GET", None, api.live),
            route("/health/ready", "GET", None, api.ready),
            *pages,
        ],
        middleware=[Middleware(Doorkeeper, access=access)],
        exception_handlers={HTTPException: _http_error, Exception: _broken},
    )


class _Api:
    """The handlers."""

    def __init__(self, operations: Operations, access: Access, labels_bytes: int) -> None:
        self._operations = operations
        self._access = access
        self._labels_bytes = labels_bytes

    async def labels(self, request: Request, _actor: Actor) -> Response:
        body = await read_body(request, self._labels_bytes)
        codings = {model: self._operations.coding(model) for model in self._operations.models()}
        content_type = request.headers.get("content-type", "")
        try:  # in a thread: the loop has a rollout to look after
            batch = await asyncio.to_thread(read_labels, body, content_type, codings, time.time())
        except NotLabels as error:
            raise ApiError(400, "not_labels", str(error)) from None
        # Where a later model's labels cannot be recorded, nothing is acknowledged: sent again, the earlier ones are
        # known already, which changes nothing.
        for model, columns in batch.columns.items():
            await self._operations.add_labels(model, columns)
        rejected = [{"index": index, "error": error} for index, error in batch.rejected]
        return as_json({"accepted": batch.accepted, "rejected": rejected}, 200 if batch.accepted else 422)

    def command_of(self, kind: CommandKind) -> Handler:
        async def command(request: Request, actor: Actor) -> Response:
            body = await read_body(request, COMMAND_BYTES)
            model = self._model(request)
            try:
                asked = msgspec.json.decode(body.strip() or b"{}", type=_CommandBody)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ApiError(400, "bad_command", f'expected {{"reason": text}}: {error}') from None
            reason = asked.reason.strip()
            if not legal_reason(reason):
                raise ApiError(
                    422, "bad_command", f"reason: expected one line of 1 to {LONGEST_REASON} printable characters"
                )
            if (kind is CommandKind.SIGN_OFF) != bool(asked.evidence):
                raise ApiError(
                    422,
                    "bad_command",
                    "evidence: expected the evidence_digest that the status shows"
                    if not asked.evidence
                    else "evidence: only a sign-off has one",
                )
            if asked.to is not None and not 1 <= asked.to < 2**31:
                raise ApiError(422, "bad_command", "to: expected the number of a version, 1 or more")
            if asked.to is not None and kind not in (CommandKind.ROLL_BACK, CommandKind.START):
                raise ApiError(422, "bad_command", "to: only rollback and start name a version")
            seen = (asked.champion, asked.on_trial)
            if seen != (None, None) and kind is not CommandKind.ROLL_BACK:
                raise ApiError(422, "bad_command", "champion, on_trial: only a rollback says what was seen")
            asked_for = Command(
                time.time(),
                kind,
                actor.name,
                reason,
                asked.to,
                asked.evidence,
                champion=asked.champion,
                on_trial=asked.on_trial,
            )
            decision = await self._operations.command(model, asked_for)
            return as_json(decision)

        return command

    async def status(self, _request: Request, _actor: Actor) -> Response:
        return as_json({**self._operations.status(), "tokens": {"error": self._access.problem}})

    async def model(self, request: Request, _actor: Actor) -> Response:
        name = self._model(request)
        found = self._operations.status()["models"].get(name)
        if found is None:
            raise LedgerUnavailable("the model's records have not been read yet")
        return as_json(found)

    async def history(self, request: Request, _actor: Actor) -> Response:
        name, limit = self._model(request), _limit(request)
        decisions = [{"id": told, **_fields(each)} for told, each in await self._operations.record(name, limit)]
        return as_json({"model": name, "decisions": decisions})

    async def refused(self, request: Request, _actor: Actor) -> Response:
        name, limit = self._model(request), _limit(request)
        return as_json({"model": name, "refused": await self._operations.refused(name, limit)})

    async def production(self, request: Request, _actor: Actor) -> Response:
        name = self._model(request)
        reigns = [{**_fields(each), "decision": told} for told, each in await self._operations.production(name)]
        return as_json({"model": name, "production": reigns})

    async def metrics(self, request: Request, _actor: Actor) -> Response:
        body, content_type = self._operations.exposition(request.headers.get("accept", ""))
        return Response(body, headers={**SAFE_HEADERS, "content-type": content_type})

    async def live(self, _request: Request, _actor: Actor) -> Response:
        return as_json({"status": "live"})

    async def ready(self, _request: Request, _actor: Actor) -> Response:
        ready, reasons = self._operations.health()
        return as_json({"status": "ready" if ready else "not ready", "reasons": reasons}, 200 if ready else 503)

    def _model(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if not self._operations.known(name):
            raise UnknownModel(name)
        return name


def _limit(request: Request) -> int:
    """How many are asked for. Raises ApiError 422."""
    given = request.query_params.get("limit", "50")
    if not (given.isascii() and given.isdecimal() and 1 <= len(given) <= 4 and 1 <= int(given) <= MOST_DECISIONS):
        raise ApiError(422, "bad_limit", f"limit: expected an integer from 1 to {MOST_DECISIONS}")
    return int(given)


def _fields(told: Decision | Reign) -> dict[str, Any]:
    return {each.name: getattr(told, each.name) for each in fields(told)}


_NOBODY = Actor("nobody", frozenset())


def _guarded(handler: Handler, access: Access, right: Right | None) -> Callable[[Request], Awaitable[Response]]:
    """The handler behind its right; what it raises as an answer."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        actor = _NOBODY
        try:
            actor = access.require(request, right) if right is not None else _NOBODY
            return await handler(request, actor)
        except ApiError as error:
            return error.answer()
        except UnknownModel:
            return ApiError(404, "unknown_model", "there is no such model here").answer()
        except Refused as error:
            if isinstance(error, NotEntitled):
                access.attempt_refused(request, actor.name, str(error))
            return ApiError(409, "refused", str(error)).answer()
        except RegistryAway as error:
            return ApiError(503, "registry_unavailable", str(error), {"retry-after": "5"}).answer()
        except LedgerUnavailable as error:
            log.warning("%s %s: the ledger is away: %s", request.method, request.url.path, error)
            return ApiError(
                503, "ledger_unavailable", "the ledger is not available; nothing was acknowledged", {"retry-after": "5"}
            ).answer()
        except Fenced as error:
            log.warning("%s %s: %s", request.method, request.url.path, error)
            return ApiError(503, "not_leader", "another replica leads now", {"retry-after": "5"}).answer()

    return endpoint


async def _http_error(_request: Request, error: Exception) -> Response:
    """No route, or not this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    texts = {404: ("not_found", "there is nothing here"), 405: ("bad_method", "expected another method")}
    code, message = texts.get(status, ("bad_request", "this request cannot be answered"))
    return ApiError(status, code, message, headers).answer()


async def _broken(_request: Request, _error: Exception) -> Response:
    """A fault of ours; Starlette raises it again for the log."""
    return ApiError(500, "internal", "a fault in titleshot; its log says more").answer()
