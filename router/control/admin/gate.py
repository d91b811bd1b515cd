"""POST /models/{name}/gate: a report of the gate in staging, for the ledger."""

from __future__ import annotations

import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from comparator.events import Gated
from router.control.admin.actors import Actor
from router.control.admin.answers import ApiError, as_json
from router.control.admin.body import read_body
from router.control.admin.operations import Operations

REPORT_BYTES = 128 * 1024
"""It is kept with the decision for good: a report of all checks has some 10 KiB."""


class GateReports:
    """Takes reports; the answer is the decision that was recorded. What does not fit changes nothing."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def __call__(self, request: Request, actor: Actor) -> Response:
        """Answer one report."""
        body = await read_body(request, REPORT_BYTES)
        try:
            report = msgspec.json.decode(body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(400, "not_a_report", f"expected a report of `titleshot gate`, as JSON: {error}") from None
        name = str(request.path_params["name"])
        return as_json(await self._operations.gated(name, Gated(time.time(), actor.name, report)))
