"""The console's pages: who may see them, what they ask of the control plane, and the forms that people act by."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from comparator.acts import NotEntitled, Refused
from comparator.events import Command
from router.control.admin.access import Access
from router.control.admin.actors import Actor, Right
from router.control.admin.answers import SAFE_HEADERS, ApiError
from router.control.admin.commands import COMMANDS, LONGEST_REASON, legal_reason
from router.control.admin.operations import Operations, RegistryAway, UnknownModel
from router.control.admin.stream import Stream
from router.control.console import view
from router.control.console.acts import Offer, offer, offers, outdated, seen
from router.control.console.door import LOGIN, Door, form_of, login_for
from router.control.console.series import SAMPLE_SECONDS, Series
from router.control.console.skew import skew
from router.control.explanation import in_words
from router.control.ledger import Fenced, LedgerUnavailable

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
SHOWN_DECISIONS = 30
SHOWN_REFUSED = 10
PUSH_SECONDS = 2.0
MOST_STREAMS = 32
FRESH_SECONDS = 1.0
"""What was made for one page is shown on others that are open, too, for so long."""
PUSHES = 300
"""A stream ends after so many; the browser opens another, and is looked at again."""

PAGE_HEADERS: Mapping[str, str] = {
    **SAFE_HEADERS,
    "referrer-policy": "same-origin",  # with no-referrer a browser sends its own forms as from "null"
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}
"""Own style and script, own forms, and nothing of anybody else."""

_STATIC = {"console.css": "text/css", "console.js": "text/javascript"}
_FIELDS = ("to", "champion", "on_trial")

Handler = Callable[[Request, Actor], Awaitable[Response]]


class Console:
    """The pages.

    Args:
        operations: the control plane.
        access: who may do what.
    """

    def __init__(self, operations: Operations, access: Access) -> None:
        self._operations = operations
        self._access = access
        self._door = Door(access)
        self._series = Series()
        self._streams = 0
        self._explaining = asyncio.Lock()
        self._made: dict[tuple[str, frozenset[Right]], tuple[float, Markup]] = {}
        self._files = {name: (HERE / "static" / name).read_bytes() for name in _STATIC}
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["stamp"] = sha256(b"".join(self._files.values())).hexdigest()[:12]

    async def sample_forever(self) -> None:
        """Look at the figures for the charts now and then."""
        while True:
            try:
                self._series.take(self._operations.status())
            except Exception:  # charts are not worth the control plane's life
                log.exception("the console could not look at the figures")
            await asyncio.sleep(SAMPLE_SECONDS)

    def routes(self) -> list[BaseRoute]:
        """For the admin port's application."""
        model = "/console/models/{name}"
        return [
            Route("/", self._guarded(self._overview), methods=["GET"]),
            Route("/console", self._home, methods=["GET"]),
            Route(LOGIN, self._login_page, methods=["GET"]),
            Route(LOGIN, self._login, methods=["POST"]),
            Route("/console/logout", self._door.leave, methods=["POST"]),
            Route("/console/static/{file}", self._static, methods=["GET"]),
            Route("/console/stream", self._guarded(self._overview_stream), methods=["GET"]),
            Route(model, self._guarded(self._model), methods=["GET"]),
            Route(f"{model}/stream", self._guarded(self._model_stream), methods=["GET"]),
            Route(f"{model}/decisions/{{number}}", self._guarded(self._decision), methods=["GET"]),
            Route(f"{model}/ask/{{action}}", self._guarded(self._ask), methods=["GET"]),
            Route(f"{model}/ask/{{action}}", self._guarded(self._act), methods=["POST"]),
        ]

    # ---- pages

    async def _overview(self, _request: Request, actor: Actor) -> Response:
        return self._page("overview.html", actor, live=self._overview_part())

    def _overview_part(self) -> Markup:
        status = self._operations.status()
        ready, reasons = self._operations.health()
        told = [*([] if ready else reasons)]
        if self._access.problem:
            told.append(f"tokens file not taken: {self._access.problem}")
        return self._part(
            "overview_live.html", at=view.moment(status.get("at")), models=view.overview(status), told=told
        )

    async def _model(self, request: Request, actor: Actor) -> Response:
        name = self._name(request)
        record, reigns, refused, missing = await self._history(name)
        return self._page(
            "model.html",
            actor,
            name=name,
            live=self._model_part(name, actor),
            timeline=view.timeline(record),
            reigns=[
                (
                    view.version(reign.version),
                    view.moment(reign.since) if reign.since is not None else "before the record",
                    view.moment(reign.until) if reign.until is not None else "now",
                    reign.by or "not told",
                    told or "",
                    reign.reason,
                )
                for told, reign in reigns
            ],
            refused=view.refused(refused),
            missing=missing,
        )

    def _model_part(self, name: str, actor: Actor) -> Markup:
        model = self._state(name)
        rollout = model.get("rollout") or {}
        evidence = rollout.get("evidence") or {}
        charts = [
            (each.title, Markup(each.svg), each.legend)  # noqa: S704 - made by an XML writer
            for each in view.charts(self._series.of(name), time.time())
        ]
        return self._part(
            "model_live.html",
            name=name,
            at=view.moment(time.time()),
            state=view.state_line(model),
            verdict=view.verdict(model),
            says=str(evidence.get("reason", "")) if rollout.get("active") else "",
            problems=view.problems(model),
            aliases=view.aliases(model),
            lanes=[str(lane) for lane in model.get("lanes") or ()],
            lane_of=str((model.get("lane") or {}).get("of", "")),
            roles=view.roles(model),
            steps=view.steps(rollout),
            forced=view.forced(model),
            agreement=view.agreement(model),
            guardrails=view.guardrails(evidence) if rollout.get("active") else [],
            confirmations=[
                tuple(str(each.get(key)) for key in ("what", "webhook", "verdict", "reason"))
                for each in rollout.get("confirmations") or ()
            ],
            signing=view.signing(rollout),
            coverage=view.coverage(model),
            disagreements=view.disagreements(model),
            charts=charts,
            skew=skew(model),
            offers=[each for each in offers(model) if COMMANDS[each.action][1] in actor.rights],
        )

    async def _history(self, name: str) -> tuple[list[Any], list[Any], list[Any], str]:
        try:
            record = await self._operations.record(name, SHOWN_DECISIONS)
            reigns = await self._operations.production(name)
            return list(record), list(reigns), list(await self._operations.refused(name, SHOWN_REFUSED)), ""
        except LedgerUnavailable as error:
            return [], [], [], f"the ledger cannot be read: {error}"

    async def _decision(self, request: Request, actor: Actor) -> Response:
        """A decision with its numbers, decided again from its evidence as `titleshot explain` does."""
        name, number = self._name(request), _whole(str(request.path_params["number"]))
        if self._explaining.locked():
            raise ApiError(503, "too_many", "another decision is being explained: try soon", {"retry-after": "2"})
        async with self._explaining:
            # in a thread: the loop has rollouts to look after
            found = None if not number else await asyncio.to_thread(self._operations.explained, name, number)
        if found is None:
            raise ApiError(404, "not_found", "there is no such decision in the record")
        lines = in_words(found, view.moment)
        return self._page("decision.html", actor, name=name, id=found.id, stands=found.stands, lines=lines)

    # ---- acting

    async def _ask(self, request: Request, actor: Actor) -> Response:
        """What will happen, and the form that asks for it."""
        name, action = self._name(request), str(request.path_params["action"])
        self._may(actor, action)
        found = offer(self._state(name), action)
        if found is None:
            raise ApiError(409, "refused", f"{action} does not fit what {name} is doing now")
        return self._form(name, found, actor)

    async def _act(self, request: Request, actor: Actor) -> Response:
        name, action = self._name(request), str(request.path_params["action"])
        kind = self._may(actor, action)
        form = await form_of(request)
        reason = form.get("reason", "").strip()
        if not legal_reason(reason):
            problem = f"Say why, in one line of 1 to {LONGEST_REASON} characters: it is kept with the decision."
            return self._again(name, action, actor, problem, reason, status=422)
        if problem := outdated(form, self._state(name), actor.name):
            return self._again(name, action, actor, f"Nothing was done: {problem}. Look again.", reason, status=409)
        numbers = {key: _whole(form[key]) for key in _FIELDS if key in form}
        if any(number is None for number in numbers.values()):
            raise ApiError(422, "bad_command", "expected the form as it was shown")
        command = Command(
            time.time(),
            kind,
            actor.name,
            reason,
            evidence=form.get("evidence", ""),
            **numbers,  # type: ignore[arg-type]
        )
        try:
            await self._operations.command(name, command)
        except Refused as error:
            if isinstance(error, NotEntitled):
                self._access.attempt_refused(request, actor.name, str(error))
            return self._again(name, action, actor, f"Refused: {error}.", reason, status=409)
        return RedirectResponse(f"/console/models/{quote(name, safe='')}", 303, headers=dict(SAFE_HEADERS))

    def _may(self, actor: Actor, action: str) -> Any:  # noqa: ANN401 - a CommandKind
        if action not in COMMANDS:
            raise ApiError(404, "not_found", "there is nothing here")
        kind, right = COMMANDS[action]
        self._door.may(actor, right)
        return kind

    def _again(self, name: str, action: str, actor: Actor, problem: str, reason: str, status: int) -> Response:
        """The form as it is now, with what was wrong; without the form where there is nothing to ask for any more."""
        found = offer(self._state(name), action)
        if found is None:
            return self._page("problem.html", actor, status, problem=problem, name=name)
        return self._form(name, found, actor, problem, reason, status)

    def _form(
        self, name: str, asked: Offer, actor: Actor, problem: str = "", reason: str = "", status: int = 200
    ) -> Response:
        model = self._state(name)
        evidence = (model.get("rollout") or {}).get("evidence") or {}
        rails = view.guardrails(evidence) if asked.action in ("sign-off", "promote", "reject") else []
        return self._page(
            "ask.html", actor, status, name=name, offer=asked, problem=problem, reason=reason, guardrails=rails,
            longest=LONGEST_REASON, hidden={**asked.fields, **seen(model, actor.name)}, state=view.state_line(model),
        )  # fmt: skip

    # ---- live

    async def _overview_stream(self, request: Request, actor: Actor) -> Response:
        return self._stream(request, actor, lambda: self._fresh("", actor, self._overview_part))

    async def _model_stream(self, request: Request, actor: Actor) -> Response:
        name = self._name(request)
        return self._stream(request, actor, lambda: self._fresh(name, actor, lambda: self._model_part(name, actor)))

    def _fresh(self, name: str, actor: Actor, make: Callable[[], Markup]) -> Markup:
        """The live part of a page, made once for all who see the same of it."""
        now = time.monotonic()
        kept = self._made.get((name, actor.rights))
        if kept is None or now - kept[0] >= FRESH_SECONDS:
            kept = self._made[name, actor.rights] = now, make()
        return kept[1]

    def _stream(self, request: Request, actor: Actor, part: Callable[[], Markup]) -> Response:
        """Server-sent events (WHATWG HTML, 9.2): the live part of a page, again and again."""
        if self._streams >= MOST_STREAMS:
            raise ApiError(503, "too_many", "too many pages are open", {"retry-after": "30"})

        async def events() -> AsyncGenerator[bytes]:
            if self._streams >= MOST_STREAMS:  # others have begun since
                return
            self._streams += 1
            try:
                for _ in range(PUSHES):
                    if await request.is_disconnected() or self._door.visitor(request) != actor:
                        return
                    data = "".join(f"data: {line}\n" for line in part().splitlines())
                    yield f"{data}\n".encode(errors="replace")
                    await asyncio.sleep(PUSH_SECONDS)
            except (ApiError, LedgerUnavailable):
                return  # signed out, or the model is gone: the next request is told
            finally:
                self._streams -= 1

        return Stream(events(), PAGE_HEADERS, "text/event-stream")

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/", 303, headers=dict(SAFE_HEADERS))

    async def _login_page(self, request: Request) -> Response:
        if not self._access.guarded:
            return await self._home(request)
        return self._page("login.html", None, problem="", to=request.query_params.get("to", ""))

    async def _login(self, request: Request) -> Response:
        to = ""
        try:
            form = await form_of(request)
            to = form.get("to", "")
            return self._door.enter(form)
        except ApiError as error:
            return self._page("login.html", None, error.status, problem=error.message, to=to)

    # ---- inside

    async def _static(self, request: Request) -> Response:
        name = str(request.path_params["file"])
        if name not in self._files:
            return ApiError(404, "not_found", "there is nothing here").answer()
        headers = {**PAGE_HEADERS, "cache-control": "max-age=86400"}
        return Response(self._files[name], headers=headers, media_type=_STATIC[name])

    def _name(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if not self._operations.known(name):
            raise UnknownModel(name)
        return name

    def _state(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self._operations.status()["models"].get(name)
        if found is None:
            raise LedgerUnavailable("the model's records have not been read yet")
        return found

    def _part(self, template: str, **shown: object) -> Markup:
        return Markup(self._templates.get_template(template).render(shown))  # noqa: S704 - autoescaped

    def _page(self, template: str, actor: Actor | None, status: int = 200, **shown: object) -> Response:
        text = self._templates.get_template(template).render(
            shown, actor=actor.name if actor is not None else "", signed_in=actor is not None and self._access.guarded
        )
        return Response(
            text.encode(errors="replace"), status, headers=dict(PAGE_HEADERS), media_type="text/html; charset=utf-8"
        )

    def _problem(self, request: Request, actor: Actor, status: int, text: str) -> Response:
        """What kept a page from being shown, or an act from being done."""
        name = str(request.path_params.get("name", ""))
        text = f"nothing was done: {text}" if request.method == "POST" else text
        known = name if self._operations.known(name) else ""
        return self._page("problem.html", actor, status, problem=f"{text[:1].upper()}{text[1:]}.", name=known)

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The page for whoever may read; what it raises as a page."""

        async def endpoint(request: Request) -> Response:
            try:
                actor = self._door.visitor(request)
            except ApiError as error:
                self._access.attempt_refused(request, "", error.message)
                if request.headers.get("accept", "").startswith("text/event-stream"):
                    return Response(status_code=204, headers=dict(PAGE_HEADERS))  # tells EventSource to stop
                if request.method == "POST":
                    problem = (
                        "Nothing was done: you are not signed in, or not any more. Sign in, and send the form again."
                    )
                    return self._page("login.html", None, 401, problem=problem, to=quote(request.scope["path"]))
                return RedirectResponse(login_for(request), 303, headers=dict(SAFE_HEADERS))
            try:
                self._door.may(actor, Right.READ)
                return await handler(request, actor)
            except ApiError as error:
                if error.code == "forbidden":
                    self._access.attempt_refused(request, actor.name, error.message)
                return self._problem(request, actor, error.status, error.message)
            except UnknownModel:
                return self._problem(request, actor, 404, "there is no such model here")
            except (LedgerUnavailable, RegistryAway) as error:
                return self._problem(request, actor, 503, f"not now: {error}")
            except Fenced as error:
                return self._page("problem.html", actor, 503, problem=f"Not here: {error}.", name="")

        return endpoint


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None
