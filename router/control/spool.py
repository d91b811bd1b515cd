"""Decisions that could not wait for the ledger: kept in a local file until it takes them."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from comparator.events import Decision
from router.control.ledger.chaining import pack, unpack
from router.control.ledger.codec import Unreadable, decode_decision, encode_decision

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spooled:
    """One decision of a model, and the state that it was made from, if it was made from one."""

    model: str
    decision: Decision
    state: bytes = b""


class _Line(msgspec.Struct, frozen=True):
    model: str
    decision: str  # as the ledger would keep it
    state: bytes = b""  # packed; Base64 in the file


class Spool:
    """An append-only file of decisions, in order; emptied when the ledger has them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = 0  # bytes that the ledger has, in a file that could not be deleted

    def append(self, model: str, decision: Decision, state: bytes = b"") -> None:
        """Keep one decision and its state; on disk when this returns. OSError where the disk refuses."""
        line = msgspec.json.encode(_Line(model, encode_decision(decision), pack(state) if state else b""))
        with self._path.open("ab") as file:
            file.write(b"\n" + line + b"\n")  # the first one ends what a crash or a full disk cut short
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Spooled]:
        """Everything kept, in order, but for lines cut short. OSError where the file cannot be read."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        if len(data) < self._taken:
            self._taken = 0  # another file: somebody deleted the one that we could not
        kept: list[Spooled] = []
        for text in filter(None, data[self._taken :].split(b"\n")):
            try:
                line = msgspec.json.decode(text, type=_Line)
                decision = decode_decision(line.decision)
                kept.append(Spooled(line.model, decision, (unpack(line.state) or b"") if line.state else b""))
            except (msgspec.DecodeError, Unreadable) as error:
                log.error("spool: a line of %d bytes is left out: %s", len(text), error)  # noqa: TRY400
        return kept

    def clear(self) -> None:
        """The ledger has it all."""
        try:
            self._path.unlink(missing_ok=True)
            self._taken = 0
        except OSError as error:
            log.error("the spool cannot be deleted: %s; what it holds is recorded", error)  # noqa: TRY400
            with contextlib.suppress(OSError):
                self._taken = self._path.stat().st_size
