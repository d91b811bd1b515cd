"""The routes as they are now: into the routes file, and to every proxy."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from router.control.controller import ModelController
from router.control.routing import model_routes
from router.link.messages import Limits, ModelRoutes, Routes, routes_from_file, routes_to_file
from router.link.server import LinkServer
from router.settings import ModelSettings
from router.settings.lanes import lane_name

log = logging.getLogger(__name__)


class Publisher:
    """Makes the snapshot that proxies serve from, writes it to the routes file, sends it to the proxies.

    Args:
        path: of the routes file.
        generation: of this control process; proxies take any revision of a new generation.
        link: to the proxies.
    """

    def __init__(self, path: Path, generation: str, link: LinkServer) -> None:
        self._path = path
        self._generation = generation
        self._link = link
        self._last: dict[str, ModelRoutes] = {}
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):  # no routes yet: the registry will say
            self._last = {model.name: model for model in routes_from_file(path.read_bytes()).models}
        self.current: Routes | None = None

    def publish(
        self,
        controllers: Mapping[str, ModelController],
        settings: Mapping[str, ModelSettings],
        limits: Limits,
        sample: Callable[[str], int] = lambda _: 0,
        *,
        traced: int | None = None,
        by_body: bool = False,
    ) -> None:
        """Send the routes if they changed. A model that nothing is known of yet keeps its last ones.

        `sample` says of a model what percent of its requests proxies are to copy to control; `traced` and `by_body` are
        those of the routes.
        """
        models: list[ModelRoutes] = []
        for name, written in settings.items():
            title = controllers[name].title if name in controllers else None
            if title is not None and (title.aliases is not None or title.champion is not None):
                beside = (lane_name(name, alias) for alias in written.challengers)
                lanes = {lane: controllers[lane].title.serving for lane in beside if lane in controllers}
                models.append(model_routes(name, written, title.serving, sample(name), lanes))
            elif name in self._last:
                models.append(self._last[name])
        current = self.current
        now = (tuple(models), limits, traced, by_body)
        if current is not None and (current.models, current.limits, current.traced, current.by_body) == now:
            return
        if current is None and not models:
            return
        revision = current.revision + 1 if current is not None else 1
        self.current = Routes(revision, self._generation, *now)
        self._last = {model.name: model for model in models}
        self._link.publish(self.current)
        try:
            self._write(routes_to_file(self.current))
        except OSError as error:
            log.error("the routes file cannot be written: %s; proxies have the routes, a new one would not", error)  # noqa: TRY400

    def served(self, model: str) -> int | None:
        """The version that answers the model's clients by the last routes, an earlier process's included."""
        last = self._last.get(model)
        return last.champion.version if last is not None and last.champion is not None else None

    def _write(self, data: bytes) -> None:
        """Replace the file in one step: a proxy that starts now reads the old or the new, never half."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
