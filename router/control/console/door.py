"""Who stands at the console's door: signing in with a token, a cookie for it, and out again; the forms that come in."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from router.control.admin.access import Access
from router.control.admin.actors import Actor, Right
from router.control.admin.answers import SAFE_HEADERS, ApiError
from router.control.admin.body import read_body
from router.control.console.sessions import COOKIE, SESSION_SECONDS, Sessions

log = logging.getLogger(__name__)

FORM_BYTES = 16 * 1024
LOGIN = "/console/login"
_OF_A_MODEL = re.compile(r"/console/models/[\w.~%!$&'()*+,;=:@-]+(?:/(?:decisions|ask)/[\w-]+)?", re.ASCII)
"""The pages that one may be led to after signing in: of ours, and of nobody else."""


class Door:
    """Looks at who comes.

    Args:
        access: who may do what.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._sessions = Sessions()

    def visitor(self, request: Request) -> Actor:
        """Who looks: by the cookie, else as in the API. Raises ApiError 401."""
        if cookie := request.cookies.get(COOKIE):
            token = self._sessions.token(cookie)
            actor = self._access.known(token) if token is not None else None
            if actor is not None:
                return actor
            self._access.refused("unauthenticated")
        try:
            return self._access.actor(request)
        except ApiError as error:
            if not cookie:
                raise
            raise ApiError(error.status, error.code, "signed out, or the token was taken back") from None

    def may(self, actor: Actor, right: Right) -> None:
        """Raise ApiError 403 unless the actor has the right."""
        if right not in actor.rights:
            log.warning("console: %s may not %s", actor.name, right.value)
            self._access.refused("forbidden")
            raise ApiError(403, "forbidden", f"{actor.name} does not have the right to {right.value}")

    def enter(self, form: Mapping[str, str]) -> Response:
        """Sign in with the token in the form, and go on to the page that was asked for. Raises ApiError."""
        token, to = form.get("token", "").strip(), form.get("to", "")
        actor = self._access.known(token) if token else None
        if actor is None:
            log.warning("console: somebody came with a token that is not known here")
            self._access.refused("unauthenticated")
            raise ApiError(401, "unauthenticated", "This token is not known here.")
        self.may(actor, Right.READ)
        answer = RedirectResponse(to if _OF_A_MODEL.fullmatch(to) else "/", 303, headers=dict(SAFE_HEADERS))
        answer.set_cookie(
            COOKIE,
            self._sessions.open(token),
            max_age=int(SESSION_SECONDS),
            path="/",
            httponly=True,
            samesite="lax",  # a link in a chat leads in; what changes something is told by its Origin
        )
        return answer

    async def leave(self, request: Request) -> Response:
        """Sign out."""
        self._sessions.close(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(LOGIN, 303, headers=dict(SAFE_HEADERS))
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return answer


def login_for(request: Request) -> str:
    """The way to the door, and from there to the page that is asked for."""
    page = quote(request.scope["path"])
    return f"{LOGIN}?{urlencode({'to': page})}" if _OF_A_MODEL.fullmatch(page) else LOGIN


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, each once. Raises ApiError."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise ApiError(415, "bad_form", "expected a form (application/x-www-form-urlencoded)")
    body = await read_body(request, FORM_BYTES)
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=16)
    except (ValueError, UnicodeDecodeError):
        raise ApiError(400, "bad_form", "expected a form") from None
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
