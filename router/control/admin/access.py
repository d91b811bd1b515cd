"""Who may speak to the admin port at all: Host, Origin, and the actor behind a request."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from router.control.admin.actors import LOCAL, Actor, Right
from router.control.admin.answers import ApiError
from router.control.admin.attempts import asked_for
from router.control.admin.tokens import Tokens
from router.control.ledger import RefusedAct
from router.settings import is_loopback

THIS_MACHINE = "this machine"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_OPEN_PATHS = frozenset({"/health/live", "/health/ready"})


class Access:
    """The rules of the admin port.

    A page in somebody's browser can reach a loopback port, so what protects a browser's user holds there too: the Host
    must be a name that we know (against DNS rebinding), and a request that changes something must not come from another
    site's page (Origin, Sec-Fetch-Site).

    Args:
        host: the address that the admin port listens on, as configured.
        admin_hosts: more names that clients may know it by.
        tokens: None: no tokens file is set.
        local_operator: whether a loopback connection without an Authorization header has all rights although a tokens
            file is set. Without one it always has.
        refused: told why (an error's code) of every request without a known token, or without the right.
        attempted: told of those among them, and of others that are refused for who asks, that would have changed
            something.
    """

    def __init__(
        self,
        host: str,
        admin_hosts: Iterable[str] = (),
        tokens: Tokens | None = None,
        *,
        local_operator: bool = False,
        refused: Callable[[str], None] = lambda _: None,
        attempted: Callable[[RefusedAct], None] = lambda _: None,
    ) -> None:
        self._hosts = frozenset(name.lower().strip("[]").rstrip(".") for name in (host, *admin_hosts) if name)
        self._tokens = tokens
        self.refused = refused
        self._attempted = attempted
        self._local_operator = local_operator or tokens is None

    @property
    def problem(self) -> str:
        """Why the tokens file as it is now is not in force; "": it is, or there is none."""
        return self._tokens.problem if self._tokens is not None else ""

    @property
    def guarded(self) -> bool:
        """Whether there is a tokens file: who is there is known by a token."""
        return self._tokens is not None

    def check_host(self, request: Request) -> None:
        """Raise ApiError 400 or 421 unless the Host header is there once and names us."""
        hosts = request.headers.getlist("host")
        name = hostname(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            raise ApiError(400, "bad_host", "expected one Host header with a host name or address")
        if name in self._hosts or is_loopback(name) or name == _own_address(request):
            return
        raise ApiError(421, "unknown_host", "the admin port is not known by this name; `admin_hosts` lists more names")

    def check_origin(self, request: Request) -> None:
        """Raise ApiError 403 where a browser sends a changing request for another site's page."""
        if request.method in _SAFE_METHODS:
            return
        origins = request.headers.getlist("origin")
        if origins:
            host = request.headers["host"].lower()
            if len(origins) > 1 or _origin_host(origins[0]) != host:
                raise ApiError(403, "foreign_origin", "a page of another site may not change anything here")
        elif request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ApiError(403, "foreign_origin", "a page of another site may not change anything here")

    def known(self, token: str) -> Actor | None:
        """Whose token this is; None: nobody's."""
        return self._tokens.actor(token.strip()) if self._tokens is not None else None

    def actor(self, request: Request) -> Actor:
        """Who sends this request. Raises ApiError 401."""
        given = request.headers.getlist("authorization")
        if given:
            scheme, _, token = given[0].partition(" ")
            actor = self.known(token) if len(given) == 1 and scheme.lower() == "bearer" else None
            if actor is not None:
                return actor
            raise _unauthenticated("this token is not known here")
        if self._local_operator and _from_this_machine(request):
            return LOCAL
        raise _unauthenticated("expected an Authorization header with a bearer token")

    def require(self, request: Request, right: Right) -> Actor:
        """The actor, who has this right. Raises ApiError 401, 403."""
        try:
            actor = self.actor(request)
        except ApiError as error:
            self.refused("unauthenticated")
            self.attempt_refused(request, "", error.message)
            raise
        if right not in actor.rights:
            why = f"{actor.name} does not have the right to {right.value}"
            self.refused("forbidden")
            self.attempt_refused(request, actor.name, why)
            raise ApiError(403, "forbidden", why)
        return actor

    def attempt_refused(self, request: Request, actor: str, why: str) -> None:
        """A request was refused for who asks, or for where it comes from: keep it, if it would have changed something.

        Args:
            request: as it came; of what it carries only method, path and address are looked at.
            actor: the name of who asks; "": nobody known.
            why: in words of ours.
        """
        asked = asked_for(request.method, request.scope["path"])
        if asked is not None:
            act, model = asked
            self._attempted(RefusedAct(time.time(), actor, _origin(request), act, model, why))


class Doorkeeper:
    """ASGI middleware: Host and Origin of every request, before anything else looks at it.

    Probes of the kubelet name a pod by an address that we may not know; what they are told is no secret.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or answer it."""
        if scope["type"] == "http":
            request = Request(scope)
            try:
                if scope["path"] not in _OPEN_PATHS:
                    self._access.check_host(request)
                    self._access.check_origin(request)
            except ApiError as error:
                self._access.attempt_refused(request, "", error.message)
                await error.answer()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def hostname(authority: str) -> str | None:
    """The host of host[:port], in lower case, an IPv6 address without brackets; None where it is neither."""
    if not authority.isascii() or any(sign in authority for sign in "/\\@?# \t,"):
        return None
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises where it is no port
    except ValueError:
        return None
    return parts.hostname.rstrip(".") if parts.hostname else None


def _origin_host(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _own_address(request: Request) -> str | None:
    """The address that this connection reached us at: no name, so nothing to rebind."""
    server = request.scope.get("server")
    try:
        return str(ipaddress.ip_address(server[0])) if server else None
    except ValueError:
        return None


def _from_this_machine(request: Request) -> bool:
    """A loopback peer that is not a proxy speaking for somebody else."""
    return _origin(request) == THIS_MACHINE


def _origin(request: Request) -> str:
    if any(name in request.headers for name in _FORWARDED):
        return "through a proxy"
    return THIS_MACHINE if request.client is not None and is_loopback(request.client.host) else "the network"


def _unauthenticated(message: str) -> ApiError:
    return ApiError(401, "unauthenticated", message, {"www-authenticate": 'Bearer realm="titleshot"'})
