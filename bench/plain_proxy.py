"""The proxy that a Python team writes in an afternoon: Starlette and httpx, one shared client, a background mirror.

`CHALLENGER=http://... uvicorn plain_proxy:app` mirrors as well. Honest: streaming both ways, pooled connections, no
log of each request.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

CHAMPION = os.environ.get("CHAMPION", "")
CHALLENGER = os.environ.get("CHALLENGER", "")
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        app.state.client = client
        yield


async def forward(request: Request) -> StreamingResponse:
    client: httpx.AsyncClient = request.app.state.client
    headers = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
    body = await request.body()

    async def mirror() -> None:
        with suppress(httpx.HTTPError):
            await client.post(CHALLENGER + request.url.path, content=body, headers=headers)

    asked = client.build_request(request.method, CHAMPION + request.url.path, content=body, headers=headers)
    answer = await client.send(asked, stream=True)
    passed = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}

    async def end() -> None:
        await answer.aclose()
        if CHALLENGER:
            await mirror()

    return StreamingResponse(answer.aiter_raw(), answer.status_code, passed, background=BackgroundTask(end))


app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])], lifespan=lifespan)
