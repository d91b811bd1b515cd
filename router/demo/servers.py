"""The servers of the demo: MLflow's own scoring server for each version, and titleshot in front of them."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import yaml

from router.demo.children import Children
from router.demo.connection import Client
from router.demo.traffic import read_replay
from router.demo.workspace import MODEL, Workspace

HOST = "127.0.0.1"
READY_SECONDS = 90.0
WARM_UP_REQUESTS, WARM_UP_AT_ONCE = 100, 10
POLL_SECONDS = 0.1
POLICY = Path(__file__).with_name("policy.yaml")
TITLESHOT = "titleshot serve"
COMMAND = ("-c", "from router.cli.main import main; main(prog_name='titleshot')")
"""The interpreter's arguments for `titleshot`, wherever its console script was installed."""

QUIET = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""One row needs one thread, and the demo calls nobody."""


class NotReady(Exception):
    """A server did not become ready in time."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens, on loopback.

    Args:
        data, admin: titleshot's ports.
        models: version -> port of its scoring server.
    """

    data: int
    admin: int
    models: Mapping[int, int]

    path: ClassVar[str] = "/invocations"

    @property
    def requests(self) -> str:
        """Where clients send their requests."""
        return f"http://{HOST}:{self.data}{self.path}"

    @property
    def console(self) -> str:
        """For people."""
        return f"http://{HOST}:{self.admin}/"

    @property
    def metrics(self) -> str:
        """For Prometheus."""
        return f"http://{HOST}:{self.admin}/metrics"


def free_addresses(versions: int) -> Addresses:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(versions + 2)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        data, admin, *models = (int(each.getsockname()[1]) for each in sockets)
    finally:
        for each in sockets:
            each.close()
    return Addresses(data, admin, dict(enumerate(models, 1)))


async def start_scoring_server(children: Children, workspace: Workspace, version: int, port: int) -> str:
    """Start what `mlflow models serve --env-manager local` starts, with its access log off; its name when it answers.

    Raises:
        ChildFailed: it ended.
        NotReady: it did not answer in time, or not with predictions.
    """
    name = f"scoring server {version}"
    await children.start(
        name,
        [
            *("-m", "uvicorn", "--host", HOST, "--port", str(port), "--log-level", "warning", "--no-access-log"),
            "mlflow.pyfunc.scoring_server.app:app",
        ],
        {**QUIET, "MLFLOW_TRACKING_URI": workspace.registry, "__pyfunc_model_path__": f"models:/{MODEL}/{version}"},
    )
    await until_ready(children, port, "/ping", name)
    await _warm_up(workspace, port, name)
    return name


async def _warm_up(workspace: Workspace, port: int, name: str) -> None:
    """Ask for a few predictions: what the server loads with its first ones should not be held against its version."""
    requests, _ = await asyncio.to_thread(read_replay, workspace.replay, WARM_UP_REQUESTS)
    client = Client(HOST, port, most=WARM_UP_AT_ONCE)
    try:
        for answer in await asyncio.gather(*(client.post(Addresses.path, request) for request in requests)):
            if answer.status != 200:
                said = answer.body[:300].decode(errors="replace").strip()
                raise NotReady(f"{name} does not answer predictions: {answer.status or 'no answer'}: {said}")
    finally:
        client.close()


async def start_titleshot(children: Children, workspace: Workspace, addresses: Addresses) -> str:
    """Start `titleshot serve titleshot.yaml`, as a user does; its name when it says that it is ready.

    Raises:
        ChildFailed: it ended.
        NotReady: it was not ready in time.
    """
    await children.start(TITLESHOT, [*COMMAND, "serve", workspace.settings.name], QUIET)
    await until_ready(children, addresses.admin, "/health/ready", TITLESHOT)
    return TITLESHOT


async def until_ready(children: Children, port: int, path: str, name: str) -> None:
    """Wait until a server answers with 200. Raises ChildFailed, NotReady."""
    client = Client(HOST, port, most=1)
    said = ""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while (answer := await client.get(path)).status != 200:
                said = answer.body[:300].decode(errors="replace").strip()
                children.check()
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        log = children.log(name)
        raise NotReady(f"{name} was not ready within {READY_SECONDS:.0f} s: {said} (its log: {log})") from None
    finally:
        client.close()


def write_settings(workspace: Workspace, addresses: Addresses) -> None:
    """Write titleshot.yaml and the policy beside it, as a user would."""
    shutil.copyfile(POLICY, workspace.directory / POLICY.name)
    settings = {
        "registry": workspace.registry,
        "listen": f"{HOST}:{addresses.data}",
        "admin": f"{HOST}:{addresses.admin}",
        "models": {
            MODEL: {
                "protocol": "mlflow",
                "endpoints": {version: f"http://{HOST}:{port}" for version, port in addresses.models.items()},
                "positive": 1,
                "policy": POLICY.name,
            }
        },
    }
    workspace.settings.write_text(yaml.safe_dump(settings, sort_keys=False))


def policy_text() -> str:
    """The declared policy, as it is written."""
    return POLICY.read_text()
