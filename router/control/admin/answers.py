"""How the admin port answers: JSON, and errors as {"error": {"code", "message"}}."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

SAFE_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer."""


class ApiError(Exception):
    """A request that is not carried out.

    Args:
        status: of the HTTP answer.
        code: for programs; stable.
        message: for people.
        headers: besides the usual ones.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def answer(self) -> Response:
        """This error as an HTTP answer."""
        return as_json({"error": {"code": self.code, "message": self.message}}, self.status, self.headers)


def as_json(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain data, dataclasses and enums as JSON; a float that is not finite becomes null."""
    return Response(
        msgspec.json.encode(data) + b"\n",
        status,
        {**SAFE_HEADERS, **(headers or {})},
        media_type="application/json",
    )
