"""What the demo does in MLflow, as its user would: name the champion, name a challenger, read who is what.

MLflow's client is synchronous and slow to import: everything here runs in a thread.
"""

from __future__ import annotations

import asyncio
import os
from functools import cached_property
from typing import Any

from router.demo.workspace import MODEL, Workspace

NAMES = ("champion", "challenger", "previous")


class Aliases:
    """The aliases of the demo's model."""

    def __init__(self, workspace: Workspace) -> None:
        self._registry = workspace.registry
        self._turn = asyncio.Lock()  # the import and the first connection are not for two threads at once

    async def name(self, alias: str, version: int) -> None:
        """Set one alias."""
        async with self._turn:
            await asyncio.to_thread(self._set, alias, version)

    async def read(self) -> dict[str, int | None]:
        """Which version each of NAMES names."""
        async with self._turn:
            return await asyncio.to_thread(self._read)

    async def tags(self, version: int) -> dict[str, str]:
        """The tags of one version."""
        async with self._turn:
            return await asyncio.to_thread(self._tags, version)

    async def offline_precision(self, version: int) -> float:
        """What its evaluation promised."""
        async with self._turn:
            return await asyncio.to_thread(self._offline_precision, version)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - an MlflowClient
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient  # noqa: PLC0415 - not before the demo needs it

        return MlflowClient(tracking_uri=self._registry, registry_uri=self._registry)

    def _set(self, alias: str, version: int) -> None:
        self._client.set_registered_model_alias(MODEL, alias, str(version))

    def _read(self) -> dict[str, int | None]:
        named = self._client.get_registered_model(MODEL).aliases
        return {name: int(named[name]) if name in named else None for name in NAMES}

    def _tags(self, version: int) -> dict[str, str]:
        return dict(self._client.get_model_version(MODEL, str(version)).tags)

    def _offline_precision(self, version: int) -> float:
        run = self._client.get_model_version(MODEL, str(version)).run_id
        return float(self._client.get_run(run).data.metrics["precision"])
