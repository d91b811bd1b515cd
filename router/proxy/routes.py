"""The immutable snapshot that requests are assigned by, as lookup tables; kept in a local file too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from router.link.messages import Backend, ModelRoutes, Routes, routes_from_file
from router.protocols.protocol import Protocol
from router.protocols.select import protocol
from router.proxy import codes
from router.proxy.assignment import Assignment, asked_twice
from router.proxy.body_model import body_model
from router.proxy.breaker import State
from router.proxy.lanes import lane_routes
from router.proxy.mirror import Shadows
from router.proxy.pool import Endpoint, Endpoints
from router.proxy.refusal import BAD_TARGET, NO_ROUTES, UNKNOWN_MODEL, UNNAMED_MODEL, OwnAnswer, Refusal
from router.proxy.request import Request
from router.proxy.rules import compiled, look

log = logging.getLogger(__name__)

S = TypeVar("S")
"""A version, and how it is reached."""

_PREFIX: Final = b"/models/"
_MOST_MATCHES: Final = 4096
_LONGEST_REMEMBERED: Final = 256


class Served:
    """One version and where it is served; pinned by the requests that it was assigned to."""

    __slots__ = ("endpoint", "version")

    def __init__(self, backend: Backend, endpoint: Endpoint) -> None:
        self.version = backend.version
        self.endpoint = endpoint


class Flow(Generic[S]):
    """How one model's traffic goes, in one snapshot, whatever carries it.

    Args:
        routes: the model's.
        shadows: the slots and the breaker of its rollout.
        champion: how it is reached; None: it cannot be.
        other: the same of the other version.
    """

    __slots__ = (
        "asked_twice",
        "assign_by",
        "assignment",
        "champion",
        "mirrors",
        "mirrors_credentials",
        "mode",
        "name",
        "other",
        "other_role",
        "random_order",
        "request_id",
        "rollout_id",
        "rules",
        "samples",
        "shadows",
        "splits",
    )

    def __init__(self, routes: ModelRoutes, shadows: Shadows, champion: S | None, other: S | None) -> None:
        self.name = routes.name
        self.champion = champion
        self.other = other
        self.other_role = routes.other_role
        self.mode = routes.mode if other is not None else codes.MODE_NONE
        self.rollout_id = routes.rollout_id
        self.assignment = Assignment(routes.rollout_id, routes.share, routes.mirror)
        self.splits = self.mode == codes.MODE_CANARY and routes.share > 0
        self.mirrors = routes.mirror if self.mode in (codes.MODE_SHADOW, codes.MODE_WATCH) else 0  # percent
        self.mirrors_credentials = routes.mirror_credentials
        self.random_order = routes.mirror_random_order
        self.samples = routes.sample  # percent
        self.assign_by = look(routes.assign_by)
        self.rules = compiled(routes.rules)
        twice = routes.asked_twice if self.mode == codes.MODE_SHADOW else 0
        self.asked_twice = asked_twice(routes.rollout_id, twice) if twice else None
        self.request_id = _header(routes.request_id)
        self.shadows = shadows

    def may_be_forced(self, role: int) -> bool:
        """Whether a rule's role is the other version's, and the breaker is closed.

        Forced answers count for cutting the challenger off, as all do that clients get; they are never probes, whose
        failures roll back.
        """
        return role == codes.CHALLENGER == self.other_role and self.shadows.breaker.state is State.CLOSED


class Target(Flow[Served]):
    """How one model's traffic over HTTP goes, in one snapshot; or the copies of a lane."""

    __slots__ = ("lanes", "predict_path", "protocol", "served_as")

    def __init__(
        self, routes: ModelRoutes, endpoints: Endpoints, shadows: Shadows, lanes: tuple[Target, ...] = ()
    ) -> None:
        self.protocol: Protocol = protocol(routes.protocol)
        super().__init__(routes, shadows, _served(routes.champion, endpoints), _served(routes.other, endpoints))
        self.lanes = tuple(lane for lane in lanes if lane.other is not None)
        self.served_as = (routes.served_as or routes.name).encode()
        self.predict_path = routes.predict_path.encode()

    def predicts(self, method: bytes, path: bytes) -> bool:
        """Whether this request is a prediction; the path is the model server's, without query."""
        return self.predict_path in (b"", path) and self.protocol.calls_for_prediction(method, path)


class Match:
    """What a request target stands for: the model, the path that its server sees, whether it is a prediction.

    `mode` is how a prediction is assigned: one of a version that the client names is the champion's, whatever the mode.
    Where `in_body`, the model is named in the request's body: `Table.named` finds it, and nothing else is known yet.
    """

    __slots__ = ("in_body", "lanes", "mode", "path", "predicts", "target")

    target: Target
    predicts: bool
    mode: int
    lanes: tuple[Target, ...]

    def __init__(self, target: Target | None, url: bytes, path: bytes, method: bytes) -> None:
        self.path = url
        self.in_body = target is None
        if target is not None:
            self.target = target
            self.predicts = target.predicts(method, path)
            pinned = target.protocol.pins_version(path)
            self.mode, self.lanes = (codes.MODE_NONE, ()) if pinned else (target.mode, target.lanes)


class Table:
    """One snapshot of the routes.

    Args:
        routes: the snapshot.
        endpoints: the pools of connections; they outlive snapshots.
        former: the table before this one: a rollout that goes on keeps its breaker and its slots.
    """

    def __init__(self, routes: Routes, endpoints: Endpoints, former: Table | None = None) -> None:
        self.revision = routes.revision
        self.generation = routes.generation
        self.limits = routes.limits
        self.models = routes.models
        self._targets: dict[bytes, Target] = {}
        self.shadows: dict[str, Shadows] = {}
        """By the names of models and lanes."""
        before = former.shadows if former is not None else {}
        for model in routes.models:
            sharers = 1 + len(model.lanes)
            try:
                made = [
                    (each, Shadows.following(before.get(each.name), each, routes.limits, sharers))
                    for each in (model, *(lane_routes(model, lane) for lane in model.lanes))
                ]
                lanes = tuple(Target(each, endpoints, shadows) for each, shadows in made[1:])
                self._targets[model.name.encode()] = Target(model, endpoints, made[0][1], lanes)
                self.shadows.update((each.name, shadows) for each, shadows in made)
            except ValueError as error:  # its protocol; the other models are served
                log.error("model %s gets no traffic: %s", model.name, error)  # noqa: TRY400 - the text says all
        self._in_paths = {(target.protocol.name, target.served_as): target for target in self._targets.values()}
        self._only = next(iter(self._targets.values())) if len(self._targets) == 1 else None
        self.by_body = routes.by_body and len(self._targets) > 1
        """Whether a body may have to name the model."""
        self._in_body = {
            target.served_as: target for target in self._targets.values() if target.protocol.bodies_name_models
        }
        self._protocols = list({id(target.protocol): target.protocol for target in self._targets.values()}.values())
        self._listings = {
            each.listing_path: _listing(each, self._in_body)
            for each in self._protocols
            if self.by_body and each.listing_path
        }
        self._remembered: dict[tuple[bytes, bytes], Match] = {}

    def target(self, name: str) -> Target | None:
        """The routes of a model, or None."""
        return self._targets.get(name.encode())

    def targets(self) -> list[Target]:
        """All of them."""
        return list(self._targets.values())

    def endpoints(self) -> set[Endpoint]:
        """All model servers that requests may be sent to."""
        return {
            served.endpoint
            for target in self._targets.values()
            for served in (target.champion, target.other, *(lane.other for lane in target.lanes))
            if served is not None
        }

    def match(self, method: bytes, url: bytes) -> Match:
        """Which model a request target names: by prefix, by its protocol's own path, or the only one there is.

        Where none of these does, a body may.

        Raises:
            Refusal: it names none that is known here.
            OwnAnswer: it asks which models there are, where bodies name them.
        """
        match = self._remembered.get((method, url))
        if match is None:
            match = self._resolve(method, url)
            if len(url) <= _LONGEST_REMEMBERED:
                if len(self._remembered) >= _MOST_MATCHES:
                    self._remembered.clear()
                self._remembered[method, url] = match
        return match

    def held(self, request: Request) -> bool:
        """Whether a request has to wait until more of its body has come, which names its model."""
        if request.complete or request.refusal is not None or request.received >= self.limits.scan_bytes:
            return False
        try:
            return self.match(request.method, request.url).in_body
        except OwnAnswer:
            return False  # it is answered when it begins

    def named(self, match: Match, request: Request) -> Match:
        """The match with the model that the request's body names.

        Raises:
            Refusal: it names none, or one that is not known here.
        """
        name = body_model(b"".join(request.chunks)[: self.limits.scan_bytes])
        if name is None:
            raise UNNAMED_MODEL
        target = self._in_body.get(name)
        if target is None:
            raise UNKNOWN_MODEL
        return Match(target, match.path, match.path.partition(b"?")[0], request.method)

    def _resolve(self, method: bytes, url: bytes) -> Match:
        url = url.partition(b"#")[0]
        if not url.startswith(b"/"):
            url = _path_of(url)
        path = url.partition(b"?")[0]
        if path.startswith(_PREFIX):
            name, slash, _ = path[len(_PREFIX) :].partition(b"/")
            target = self._targets.get(unquote_to_bytes(name))
            if target is None:
                raise self._unknown()
            cut = len(_PREFIX) + len(name)
            url = url[cut:] if slash else b"/" + url[cut:]
            path = path[cut:] if slash else b"/"
        else:
            found = self._listed(method, path) or self._by_protocol(path, by_body=self.by_body and method == b"POST")
            return Match(found, url, path, method)
        return Match(target, url, path, method)

    def _listed(self, method: bytes, path: bytes) -> Target | None:
        """The model that is asked about by the name that bodies have; None: none is.

        Raises:
            OwnAnswer: it is asked which there are.
        """
        if method not in (b"GET", b"HEAD"):
            return None
        for at, answer in self._listings.items():
            if path == at:
                raise answer
            if path.startswith(at + b"/"):
                return self._in_body.get(unquote_to_bytes(path[len(at) + 1 :]))
        return None

    def _by_protocol(self, path: bytes, *, by_body: bool) -> Target | None:
        for candidate in self._protocols:
            name = candidate.model_in_path(path)
            if name is None:
                continue
            target = self._in_paths.get((candidate.name, unquote_to_bytes(name)))
            if target is None:
                raise self._unknown()
            return target
        if self._only is None and not by_body:
            raise self._unknown()
        return self._only

    def _unknown(self) -> Refusal:
        return UNKNOWN_MODEL if self._targets else NO_ROUTES


def read_routes(path: Path) -> Routes | None:
    """The routes as control last wrote them; None: there are none, or the file is not a routes file."""
    try:
        return routes_from_file(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.error("the routes file cannot be read: %s", error)  # noqa: TRY400 - the text says all
        return None


def _listing(spoken: Protocol, targets: Mapping[bytes, Target]) -> OwnAnswer:
    """The models of a protocol that can be asked for by name."""
    there = [target for target in targets.values() if target.protocol is spoken and target.champion is not None]
    return OwnAnswer(200, spoken.listing([target.served_as.decode() for target in there]))


def _served(backend: Backend | None, endpoints: Endpoints) -> Served | None:
    if backend is None or not backend.endpoint:
        return None
    try:
        return Served(backend, endpoints.at(backend.endpoint, backend.tls))
    except (ValueError, OSError) as error:
        log.error("version %d gets no traffic: %s", backend.version, error)  # noqa: TRY400 - the text says all
        return None


def _header(source: str) -> bytes:
    """The name in `header:NAME`, in lower case; empty: none."""
    kind, _, name = source.partition(":")
    return name.strip().lower().encode() if kind == "header" else b""


def _path_of(url: bytes) -> bytes:
    """The path and query of a target in absolute form (RFC 9112, section 3.2.2).

    Raises:
        Refusal: it has another form.
    """
    scheme, mark, rest = url.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        raise BAD_TARGET
    for index, byte in enumerate(rest):
        if byte == 0x2F:
            return rest[index:]
        if byte == 0x3F:
            return b"/" + rest[index:]
    return b"/"
