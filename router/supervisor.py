"""`titleshot serve`: owns the listening sockets, starts the processes, restarts what dies. Does nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from router.link.endpoint import ListenTls
from router.link.grpc_place import GrpcListen
from router.link.server import check_path

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
STEADY_SECONDS = 10.0
"""A process that lived so long starts again at once."""

BACKLOG = 1024


class AlreadyRunning(Exception):
    """Another supervisor holds this state directory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Args:
        settings_path: handed to the control process.
        host, port: of the data port.
        tls: of the data port; None: it speaks plain HTTP.
        workers: proxy processes.
        state: the state directory.
        drain_seconds: how long open requests may take when stopping.
        grpc: the port for gRPC; None: there is none.
    """

    settings_path: Path
    host: str
    port: int
    tls: ListenTls | None
    workers: int
    state: Path
    drain_seconds: float
    grpc: GrpcListen | None = None


def listening_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """One listening socket per worker on one address (SO_REUSEPORT: the kernel spreads new connections over them).

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    for _ in range(count):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            for each in (*sockets, listening):
                each.close()
            raise OSError(error.errno, f"listen: cannot listen on {host}:{port}: {error.strerror}") from error
        listening.listen(BACKLOG)
        port = listening.getsockname()[1]
        sockets.append(listening)
    return sockets


def reserved(listen: GrpcListen) -> tuple[socket.socket, GrpcListen]:
    """The port for gRPC, held for the workers, which open it themselves beside this socket (SO_REUSEPORT).

    It is bound and does not listen, so that it gets no connection: a port that is taken is found out at once, and port
    0 becomes one for all workers.

    Raises:
        OSError: the address cannot be had.
    """
    held = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((listen.host, listen.port))
    except OSError as error:
        held.close()
        raise OSError(error.errno, f"grpc: cannot listen on {listen.address}: {error.strerror}") from error
    host, port = held.getsockname()[:2]
    return held, msgspec.structs.replace(listen, host=host, port=port)


class Supervisor:
    """Keeps one control process and the proxies alive until told to stop."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._generation = uuid.uuid4().hex
        self._stopping = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code.

        Raises:
            AlreadyRunning: another supervisor holds the state directory.
            OSError: the data port's address cannot be had, or the state directory, or a socket in it.
        """
        check_path(self._plan.state / "link.sock")
        self._plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock():
            sockets = listening_sockets(self._plan.host, self._plan.port, self._plan.workers)
            reserving, grpc = reserved(self._plan.grpc) if self._plan.grpc is not None else (None, None)
            lifeline, held = os.pipe()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stopping.set)
            keeping = [asyncio.create_task(self._keep("control", self._control(lifeline), (lifeline,)))]
            for worker, listening in enumerate(sockets):
                fd = listening.fileno()
                command = self._proxy(worker, fd, grpc)
                keeping.append(asyncio.create_task(self._keep(f"proxy {worker}", command, (fd,))))
            log.info("serving on %s:%d; proxy workers: %d", self._plan.host, sockets[0].getsockname()[1], len(sockets))
            if grpc is not None:
                log.info("gRPC on %s", grpc.address)
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait([stopping, *keeping], return_when=asyncio.FIRST_COMPLETED)
            await self._stop()
            for task in (stopping, *keeping):
                task.cancel()
            results = await asyncio.gather(*keeping, return_exceptions=True)
            os.close(held)
            os.close(lifeline)
            for listening in sockets:
                listening.close()
            if reserving is not None:
                reserving.close()
            failed = [result for result in results if isinstance(result, Exception)]
            for error in failed:
                log.error("the supervisor failed", exc_info=error)
            return 1 if failed else 0

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._plan.state / "supervisor.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"another titleshot serves from {self._plan.state}") from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def _control(self, lifeline: int) -> list[str]:
        plan = self._plan
        return ["control", str(plan.settings_path), str(plan.state), self._generation, str(lifeline)]

    def _proxy(self, worker: int, fd: int, grpc: GrpcListen | None) -> list[str]:
        state = self._plan.state
        # TLS is told at the start, not by the routes: this port must never speak plain HTTP while they are awaited.
        tls = msgspec.json.encode(self._plan.tls).decode()
        link, routes = str(state / "link.sock"), str(state / "routes.json")
        port = msgspec.json.encode(grpc).decode()
        return ["proxy", str(fd), str(worker), self._generation, link, routes, tls, port]

    async def _keep(self, name: str, command: Sequence[str], fds: tuple[int, ...]) -> None:
        """Start one process again and again until stopping."""
        wait = FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            # -P: a router.py in the user's directory must not shadow ours.
            # A session of its own: Ctrl-C is for the supervisor.
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "router.compose", *command, pass_fds=fds, start_new_session=True
                )
            except OSError as error:  # no memory or process to be had now; the others go on serving
                ended = f"cannot be started ({error})"
            else:
                self._running[name] = process
                if self._stopping.is_set():  # too late for `_stop` to have seen it
                    process.terminate()
                ended = f"ended with code {await process.wait()}"
                self._running.pop(name, None)
            if self._stopping.is_set():
                return
            lived = time.monotonic() - began
            wait = FIRST_WAIT_SECONDS if lived > STEADY_SECONDS else min(wait * 2, LONGEST_WAIT_SECONDS)
            log.error("%s %s after %.1f s; it starts again in %.1f s", name, ended, lived, wait)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    async def _stop(self) -> None:
        """Proxies drain first, so that their last observations still find the control process."""
        self._stopping.set()
        proxies = [process for name, process in self._running.items() if name != "control"]
        await _end(proxies, self._plan.drain_seconds)
        await _end(list(self._running.values()), self._plan.drain_seconds)


async def _end(processes: Sequence[asyncio.subprocess.Process], within_seconds: float) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    if not processes:
        return
    _, slow = await asyncio.wait([asyncio.create_task(process.wait()) for process in processes], timeout=within_seconds)
    if slow:
        for process in processes:
            if process.returncode is None:
                log.error("process %d did not end within %.0f s; killed", process.pid, within_seconds)
                process.kill()
