"""What we answer ourselves: a small JSON body that says what and why. No text of the request is repeated in it."""

from __future__ import annotations

from typing import Final

from router.proxy.fields import STATUS_LINES


class OwnAnswer(Exception):
    """An answer of our own: raised, it ends an exchange for which no model server is asked.

    Args:
        status: of the answer.
        body: JSON.
        code: by which refusals are counted; empty: it is none.
        message: of the exception.
    """

    def __init__(self, status: int, body: bytes, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.code = code

    def forget(self) -> None:
        """Let go of where it was raised.

        One instance is raised for many requests, and each time adds the frames to its traceback: with them it would
        keep every connection that it was ever an answer to.
        """
        self.__traceback__ = self.__context__ = None

    def answer(self, request_id: bytes, *, close: bool, head_only: bool = False) -> bytes:
        """The whole answer as it goes to the client."""
        return b"".join(
            (
                STATUS_LINES[self.status],
                b"content-type: application/json\r\ncontent-length: %d\r\nx-titleshot-id: " % len(self.body),
                request_id,
                b"\r\nconnection: close\r\n\r\n" if close else b"\r\n\r\n",
                b"" if head_only else self.body,
            )
        )


class Refusal(OwnAnswer):
    """One that says why a request is not served.

    Args:
        status: of the answer.
        code: for programs; also the reason that it is counted by.
        message: for people; plain ASCII without quotes or backslashes, since it is put into JSON as it is.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        body = b'{"error": {"code": "%b", "message": "%b"}}\n' % (code.encode(), message.encode())
        super().__init__(status, body, code, message)


MALFORMED: Final = Refusal(400, "malformed", "The request is not well-formed HTTP/1.1; the connection is closed.")
BAD_HOST: Final = Refusal(400, "malformed", "Expected exactly one valid Host header.")
BAD_VERSION: Final = Refusal(400, "malformed", "Expected HTTP/1.1 or HTTP/1.0.")
BAD_CODING: Final = Refusal(400, "malformed", "Expected no transfer coding but chunked, and that not in HTTP/1.0.")
BAD_TARGET: Final = Refusal(400, "malformed", "Expected a request target that is a path.")
BAD_EXPECT: Final = Refusal(417, "expectation", "The only expectation that can be met is 100-continue.")
SLOW_REQUEST: Final = Refusal(408, "slow_request", "The request did not arrive in time.")
BODY_TOO_LARGE: Final = Refusal(413, "body_too_large", "The request's body is larger than the router accepts.")
HEAD_TOO_LARGE: Final = Refusal(
    431, "head_too_large", "The request's headers are larger or more than the router accepts."
)
UPGRADE_REFUSED: Final = Refusal(501, "upgrade", "Tunnels and websockets are not served here.")
UNKNOWN_MODEL: Final = Refusal(404, "unknown_model", "No such model here. A model is addressed as /models/NAME/...")
UNNAMED_MODEL: Final = Refusal(
    400,
    "unnamed_model",
    "Expected the name of a model under the key model of a JSON body, within its first bytes (limits.scan), "
    "or a path such as /models/NAME/v1/...",
)
NO_CHAMPION: Final = Refusal(
    503, "no_champion", "The registry names no champion for this model, or no endpoint is known for it."
)
NO_ROUTES: Final = Refusal(503, "no_routes", "The router has no routes yet.")
TOO_MANY_CONNECTIONS: Final = Refusal(503, "too_many_connections", "The router has as many connections as it accepts.")
OVERLOADED: Final = Refusal(503, "overloaded", "All connections to the model server are busy.")
CONNECT_FAILED: Final = Refusal(502, "connect_failed", "The model server could not be reached.")
CONNECT_TIMEOUT: Final = Refusal(504, "connect_timeout", "The model server did not accept a connection in time.")
UPSTREAM_BROKEN: Final = Refusal(502, "upstream_broken", "The model server broke off, or its answer was not HTTP.")
UPSTREAM_CLOSED: Final = Refusal(
    502, "upstream_closed", "The model server closed an idle connection as the request was sent; it may be sent again."
)
UPSTREAM_TIMEOUT: Final = Refusal(504, "upstream_timeout", "The model server did not answer in time.")
