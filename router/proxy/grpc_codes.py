"""What a gRPC status says of a version, and the HTTP status that it stands for in rows and metrics.

The statuses are those of google.rpc.Code's mapping to HTTP: a version's errors count alike however clients call.
"""

from __future__ import annotations

from typing import Final

import grpc

from router.proxy import codes

HTTP_STATUS: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}


def outcome_of(code: grpc.StatusCode, *, connected: bool) -> int:
    """What a call came to that its client did not cancel.

    Args:
        code: of the model server, or of gRPC in its place.
        connected: whether there is a connection to it now.
    """
    if code is grpc.StatusCode.UNAVAILABLE and not connected:
        return codes.CONNECT
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return codes.TIMEOUT
    if code is grpc.StatusCode.CANCELLED:  # by the model server: it broke off
        return codes.BROKEN
    return codes.OUTCOME_OF[HTTP_STATUS[code]]
