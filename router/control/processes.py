"""What our processes use, as the kernel has it (/proc, Linux). Asked at a scrape: it costs the proxies nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# Fields of /proc/PID/stat (proc_pid_stat(5)), counted from the one after the name, which may hold anything.
_USER, _SYSTEM, _STARTED, _RESIDENT = 11, 12, 19, 21


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, now."""

    cpu_seconds: float
    resident_bytes: int
    open_files: int
    started_at: float
    """Seconds since the epoch."""


class Processes:
    """Remembers when each process started: told by a clock that is set, it must not seem to have started anew."""

    def __init__(self) -> None:
        self._started: dict[int, tuple[int, float]] = {}

    def usage(self, pids: Mapping[str, int]) -> dict[str, Usage]:
        """What these processes use; those that the kernel does not tell of are left out."""
        self._started = {pid: found for pid, found in self._started.items() if pid in pids.values()}
        found = {name: self._of(pid) for name, pid in pids.items()}
        return {name: usage for name, usage in found.items() if usage is not None}

    def _of(self, pid: int) -> Usage | None:
        process = Path("/proc", str(pid))
        try:
            fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
            open_files = len(os.listdir(process / "fd"))  # noqa: PTH208 - names are all that is needed
            ticks = int(fields[_STARTED])
            known = self._started.get(pid)
            if known is None or known[0] != ticks:  # the number may have been given to another
                known = self._started[pid] = ticks, _booted_at() + ticks / _TICKS
        except OSError:
            return None
        return Usage(
            cpu_seconds=(int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS,
            resident_bytes=int(fields[_RESIDENT]) * _PAGE_BYTES,
            open_files=open_files,
            started_at=known[1],
        )


@lru_cache(maxsize=1)
def _booted_at() -> float:
    """When this machine started, in seconds since the epoch. Raises OSError."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise OSError("no btime in /proc/stat")
