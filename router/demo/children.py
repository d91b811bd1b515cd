"""The processes that the demo starts: each with a log of its own, none outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from router.demo.workspace import Workspace

END_SECONDS = 8.0

SHOWN_LINES = 12

NOT_PASSED_ON = ("MLFLOW_", "TITLESHOT_ADMIN", "TITLESHOT_LEDGER", "TITLESHOT_SETTINGS", "TITLESHOT_TOKEN")
"""Beginnings of the names of variables that say where the user's own registry and titleshot are."""


class ChildFailed(Exception):
    """A process ended that should not have; the message has the end of its log."""


class Children:
    """Starts processes in sessions of their own (Ctrl-C is for the demo, which ends them in order).

    Args:
        workspace: where they run, and where their logs are.
        end_seconds: how long one may take to end before it is killed.
    """

    def __init__(self, workspace: Workspace, end_seconds: float = END_SECONDS) -> None:
        self._workspace = workspace
        self._end_seconds = end_seconds
        self._running: dict[str, asyncio.subprocess.Process] = {}

    def log(self, name: str) -> Path:
        """What a child wrote to its standard error; servers also to standard output."""
        return self._workspace.log(name)

    async def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a Python program as a server.

        Args:
            name: for its log and for messages.
            arguments: the interpreter's.
            environment: added to ours, without what is NOT_PASSED_ON.
        """
        with self.log(name).open("wb") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *_python(arguments),
                cwd=self._workspace.directory,
                env={**_ours(), **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def run(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        expected: int = 0,
    ) -> None:
        """Run a Python program to its end; `on_line` gets what it prints. Raises ChildFailed: another exit code."""
        with self.log(name).open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *_python(arguments),
                cwd=self._workspace.directory,
                env={**_ours(), **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = process
        if process.stdout is not None:
            async for line in process.stdout:
                on_line(line.decode(errors="replace").rstrip())
        code = await process.wait()
        del self._running[name]
        if code != expected:
            raise ChildFailed(self._told(name, code))

    def check(self) -> None:
        """Raise ChildFailed where one has ended by itself."""
        for name, process in self._running.items():
            if process.returncode is not None:
                raise ChildFailed(self._told(name, process.returncode))

    async def stop(self, first: str = "") -> None:
        """End them all, one of them before the others; what does not end in time is killed."""
        await asyncio.gather(*(self._end(name) for name in [*self._running] if name == first))
        await asyncio.gather(*(self._end(name) for name in [*self._running]))

    async def _end(self, name: str) -> None:
        process = self._running.pop(name)
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._end_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _told(self, name: str, code: int) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        said = "\n".join(["", *(f"    {line}" for line in lines)]) if lines else " without a word"
        return f"{name} ended with code {code}:{said}"


def _ours() -> dict[str, str]:
    """The demo writes into its own registry, wherever the user's environment points to."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}


def _python(arguments: Sequence[str]) -> list[str]:
    # -P: a router.py or mlflow.py in the current directory must not shadow the installed package.
    return [sys.executable, "-P", *arguments]
