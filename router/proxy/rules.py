"""Where a value of a request stands, and the rules that force a request to a role by such a value.

Values are read from the head only, never from a body. Each look is a few passes over bytes that the limits of the head
bound; nothing backtracks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from router.link.messages import Rule


class Head(Protocol):
    """What a request's fields are looked up in."""

    host: bytes | None

    def field(self, name: bytes) -> bytes:
        """The value of the first field of this name (lower case); empty: none."""


Look = Callable[[Head, bytes], bytes]
"""(the request, its path and query as the model server sees them) -> the value; empty: none."""

Compiled = tuple[Look, Callable[[bytes], bool], int]
"""Where a rule looks, whether a value fits, and the role that it names."""


def look(source: str) -> Look | None:
    """How to find what a source names: `header:NAME`, `query:NAME`, `cookie:NAME`, `path`, `path:N`; None: nothing."""
    kind, _, name = source.partition(":")
    wanted = name.strip().encode()
    match kind:
        case "header" if wanted.lower() == b"host":
            return lambda request, _path: request.host or b""
        case "header" if wanted:
            field = wanted.lower()
            return lambda request, _path: request.field(field)
        case "query" if wanted:
            return lambda _request, path: of_query(path, wanted)
        case "cookie" if wanted:
            return lambda request, _path: of_cookie(request.field(b"cookie"), wanted)
        case "path" if not wanted:
            return lambda _request, path: path.partition(b"?")[0]
        case "path" if wanted.isdigit() and int(wanted) > 0:
            number = int(wanted)
            return lambda _request, path: segment(path, number)
    return None


def of_query(path: bytes, name: bytes) -> bytes:
    """The first value of this name in the query of a path, decoded as a form's (`+` is a space)."""
    query = b"&" + path.partition(b"?")[2]
    _, found, rest = query.partition(b"&" + name + b"=")
    if not found:
        return b""
    value = rest.partition(b"&")[0]
    return unquote_to_bytes(value.replace(b"+", b" ")) if b"%" in value or b"+" in value else value


def of_cookie(cookies: bytes, name: bytes) -> bytes:
    """The first value of this name in a Cookie field (RFC 6265, section 4.2.1: there is no space in one)."""
    _, found, rest = (b";" + cookies.replace(b" ", b"")).partition(b";" + name + b"=")
    return rest.partition(b";")[0] if found else b""


def segment(path: bytes, number: int) -> bytes:
    """The segment of this number, from 1, as written; empty: the path has fewer."""
    parts = path.partition(b"?")[0].split(b"/", number + 1)
    return parts[number] if number < len(parts) else b""


def compiled(rules: Sequence[Rule]) -> tuple[Compiled, ...]:
    """The rules as they are asked; one whose source names nothing is left out."""
    return tuple((where, _fits(rule), rule.role) for rule in rules if (where := look(rule.source)) is not None)


def forced_role(rules: tuple[Compiled, ...], request: Head, path: bytes) -> int | None:
    """The role of the first rule that fits; None: none does. An empty value fits none."""
    for where, fits, role in rules:
        value = where(request, path)
        if value and fits(value):
            return role
    return None


def _fits(rule: Rule) -> Callable[[bytes], bool]:
    if rule.values:
        return frozenset(value.encode() for value in rule.values).__contains__
    if rule.prefixes:
        prefixes = tuple(prefix.encode() for prefix in rule.prefixes)
        return lambda value: value.startswith(prefixes)
    return bool
