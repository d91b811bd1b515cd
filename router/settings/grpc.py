"""gRPC in the settings: the port's extra, and where model servers have their gRPC ports."""

from __future__ import annotations

import importlib.util
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from router.link.grpc_place import grpc_place
from router.settings.address import Address
from router.settings.block import wrong
from router.settings.units import shown


def installed(address: Address) -> Address:
    """The port's address, where gRPC can be spoken at all."""
    if importlib.util.find_spec("grpc") is None:
        raise wrong("expected the extra grpc for it: pip install 'titleshot[grpc]'")
    return address


def unheard() -> str:
    """What is said of a model that nobody could call."""
    return "expected endpoint or endpoints, or grpc: host:port beside models: this model has gRPC endpoints only"


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(f"expected grpc://host:port, not {shown(value)}")
    try:
        grpc_place(value)
    except ValueError as error:
        raise wrong(str(error)) from None
    return value


GrpcUrl = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string", "pattern": "^grpcs?://"})]
