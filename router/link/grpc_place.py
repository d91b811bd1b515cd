"""Where a model server's gRPC port is, and what a worker's own gRPC port is made of."""

from __future__ import annotations

from typing import Final

import msgspec

from router.link.endpoint import place_of

SERVICE: Final = "inference.GRPCInferenceService"
"""Of the Open Inference Protocol."""

INFER: Final = f"/{SERVICE}/ModelInfer"
STREAM: Final = f"/{SERVICE}/ModelStreamInfer"
PREDICTIONS: Final = frozenset({INFER, STREAM})
"""The methods that predict."""

SCHEMES: Final = {"grpc://": "http://", "grpcs://": "https://"}


class GrpcPlace(msgspec.Struct, frozen=True):
    """A model server's gRPC port."""

    target: str  # host:port, as gRPC reads it
    secure: bool
    host: str
    port: int


class GrpcListen(msgspec.Struct, frozen=True):
    """The workers' gRPC port. What gRPC fixes when a port is opened is told at the start, not by the routes."""

    host: str
    port: int
    most_message_bytes: int
    most_metadata_bytes: int
    most_calls: int  # under way at once, of one worker

    @property
    def address(self) -> str:
        """As gRPC reads it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def grpc_place(url: str) -> GrpcPlace:
    """Read `grpc://host:port` or `grpcs://host:port`.

    Raises:
        ValueError: anything else; the message says what was expected.
    """
    expected = "expected grpc://host:port, or grpcs://host:port for TLS"
    scheme = next((scheme for scheme in SCHEMES if url.startswith(scheme)), None)
    if scheme is None:
        raise ValueError(expected)
    try:
        place = place_of(SCHEMES[scheme] + url[len(scheme) :])
    except ValueError:
        raise ValueError(f"{expected}, and nothing before or after it") from None
    if place.base or not place.authority.endswith(f":{place.port}"):
        raise ValueError(f"{expected}, with a port and without a path")
    return GrpcPlace(place.authority, scheme == "grpcs://", place.host, place.port)


def is_grpc(url: str) -> bool:
    """Whether this names a gRPC port, not an HTTP one."""
    return url.startswith(tuple(SCHEMES))
