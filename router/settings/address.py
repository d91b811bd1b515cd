"""host:port, and whether a host is reachable from other machines."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})", re.ASCII)
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]{2,45})\]|([^\[\]:/@\s]{1,253})):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a port listens; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read "127.0.0.1:9901", "localhost:9901" or "[::1]:9901".

    Raises:
        ValueError: anything else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:9901")
    host = match[1] or match[2]
    if match[1] is not None or host.replace(".", "").isdigit():
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("expected host:port with a legal address, such as 127.0.0.1:9901 or [::1]:9901") from None
    elif _HOST.fullmatch(host) is None:
        raise ValueError("expected host:port, such as 127.0.0.1:9901")
    return Address(host, int(match[3]))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a port on this host. Names other than localhost count as reachable."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
