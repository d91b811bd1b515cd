"""Whether a model server says over gRPC that it is ready."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio

from router.link.endpoint import Tls
from router.link.grpc_channel import grpc_channel
from router.link.grpc_place import SERVICE
from router.protocols.open_inference_grpc import TRUE

_READY: Final = f"/{SERVICE}/ServerReady"


async def server_ready(url: str, tls: Tls, deadline_seconds: float) -> bool:
    """Ask once, over a connection of its own; False: it is not, or does not say so in time."""
    try:
        channel = grpc_channel(url, tls, (("grpc.use_local_subchannel_pool", 1),))
    except (ValueError, OSError):
        return False
    try:
        answer: bytes = await channel.unary_unary(_READY)(b"", timeout=deadline_seconds)
    except grpc.aio.AioRpcError:
        return False
    finally:
        await channel.close()
    return answer == TRUE
