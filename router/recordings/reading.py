"""A recorded traffic file, read in chunks into columns: docs/recordings.md says field by field what it holds.

A whole chunk is checked at once (msgspec), and line by line only where it holds something wrong, to say where. No line
is skipped: one that is wrong refuses the file.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from comparator.class_code import class_code
from comparator.columns import fill, key_bytes, outcome_of
from comparator.events import LABEL, OBSERVATION, Columns, Mode, Outcome, Role
from router.protocols.coding import Coding
from router.protocols.protocol import Prediction
from router.recordings.lines import (
    EXPECTED,
    MOST_LINE_BYTES,
    TEXT_EXPECTED,
    Asked,
    Begun,
    Ended,
    Line,
    Observed,
    Told,
    Value,
    Wrong,
    in_words,
)

CHUNK = MOST_LINE_BYTES
"""Bytes read at once; a line that is longer is refused."""

MOST_PROBLEMS = 20
PARQUET = frozenset({".parquet", ".pq"})

_ROLES = {role.name.lower(): int(role) for role in Role}
_MODES = {mode.name.lower(): int(mode) for mode in Mode}
_OUTCOMES = {outcome.name.lower(): int(outcome) for outcome in Outcome}
_UNTOLD = 255


class RecordingError(ValueError):
    """A recording that cannot be read as one; the message has a line for everything that is wrong, up to a limit."""


@dataclass(slots=True)
class _Part:
    """Columns of one chunk, and which cells of them were told."""

    columns: Columns
    mode: NDArray[np.bool_]
    version: NDArray[np.bool_]
    attempted_both: NDArray[np.bool_]


@dataclass(slots=True)
class Recording:
    """What was read, from one file or more.

    Args:
        positive: the raw prediction or label that is the positive class (1; any other value is 0); None: they are
            numbers already, or classes.
        multiclass: they are classes: a text stands as its code (see `class_code`).
        threshold: a prediction is positive whose score, or without one whose number, is at least this.
        lines: read so far.
        begun: what the recording says of itself, where it does.
        ended: what it says at its end.
        asked: takes the requests; None: they are left out.
    """

    positive: str | None = None
    multiclass: bool = False
    threshold: float | None = None
    lines: int = 0
    begun: Begun | None = None
    ended: Ended | None = None
    asked: Callable[[list[Asked]], None] | None = None
    _observations: list[_Part] = field(default_factory=list)
    _labels: list[Columns] = field(default_factory=list)

    def columns(self, *, champion: int, challenger: int) -> tuple[Columns, Columns]:
        """Observations and labels, in the order of the file; versions that it does not tell are these."""
        parts = self._observations
        observations = np.concatenate([np.zeros(0, OBSERVATION), *(part.columns for part in parts)])
        nothing = np.zeros(0, dtype=bool)
        fill(
            observations,
            mode=np.concatenate([nothing, *(part.mode for part in parts)]),
            version=np.concatenate([nothing, *(part.version for part in parts)]),
            attempted_both=np.concatenate([nothing, *(part.attempted_both for part in parts)]),
            champion=champion,
            challenger=challenger,
        )
        return observations, np.concatenate([np.zeros(0, LABEL), *self._labels])

    def take(self, lines: list[Line]) -> None:
        """Take checked lines.

        Raises:
            ValueError: something among them is wrong that the structs do not know of; nothing was taken.
        """
        seen = [line for line in lines if type(line) is Observed]
        told = [line for line in lines if type(line) is Told]
        asked = [line for line in lines if type(line) is Asked]
        observations, labels = self._observed(seen), self._labelled(told)
        self._observations.append(observations)
        self._labels.append(labels)
        if asked and self.asked is not None:
            self.asked(asked)
        if len(seen) + len(told) + len(asked) < len(lines):
            self.begun = next((line for line in lines if type(line) is Begun), self.begun)
            self.ended = next((line for line in lines if type(line) is Ended), self.ended)
        self.lines += len(lines)

    def _observed(self, lines: list[Observed]) -> _Part:
        out = _start(lines, OBSERVATION)
        status = np.array([-1 if line.status is None else line.status for line in lines], dtype=np.int64)
        ok = np.array([-1 if line.ok is None else line.ok for line in lines], dtype=np.int64)
        outcome = np.array([_UNTOLD if line.outcome is None else _OUTCOMES[line.outcome] for line in lines], np.uint8)
        if ((status < 0) & (ok < 0) & (outcome == _UNTOLD)).any():
            raise Wrong("expected status, ok or outcome: what became of the request")
        if ((status > 0) & (status < 100)).any():
            raise Wrong(f"status: expected {EXPECTED['status']}")
        out["outcome"] = np.where(outcome == _UNTOLD, outcome_of(status, ok), outcome)
        out["role"] = [_ROLES[line.role] for line in lines]
        out["mode"] = [_UNTOLD if line.mode is None else _MODES[line.mode] for line in lines]
        out["version"] = [int(line.version or 0) for line in lines]
        with np.errstate(over="ignore"):  # what has no place in it becomes infinite: no latency, and counted
            out["latency"] = [np.nan if line.latency_s is None else line.latency_s for line in lines]
            out["first_byte"] = [np.nan if line.first_byte_s is None else line.first_byte_s for line in lines]
        out["score"] = [np.nan if line.score is None else line.score for line in lines]
        out["prediction"] = [self._predicted(line) for line in lines]
        out["shed"] = [line.shed for line in lines]
        out["copy_first"] = [line.copy_first for line in lines]
        both = np.array([_UNTOLD if line.attempted_both is None else line.attempted_both for line in lines], np.uint8)
        out["attempted_both"] = both == 1
        return _Part(out, out["mode"] != _UNTOLD, out["version"] != 0, both != _UNTOLD)

    def _labelled(self, lines: list[Told]) -> Columns:
        out = _start(lines, LABEL)
        out["label"] = [self._number("label", line.label) for line in lines]
        return out

    def _predicted(self, line: Observed) -> float:
        if self.threshold is None:
            return self._number("prediction", line.prediction)
        value = line.prediction if isinstance(line.prediction, str) else as_number(line.prediction)
        return Coding(threshold=self.threshold).prediction(Prediction(value, as_number(line.score)))[0]

    def _number(self, name: str, value: Value) -> float:
        if value is None:
            return np.nan
        if self.positive is None:
            if isinstance(value, str) and self.multiclass:
                return class_code(value)
            if isinstance(value, str):
                raise Wrong(f"{name}: expected {TEXT_EXPECTED}, not {value[:40]!r}")
            return float(value)
        if isinstance(value, str):
            return float(value == self.positive)
        if value != value:  # noqa: PLR0124 - not a number
            return np.nan
        text = str(value).lower() if isinstance(value, bool) else f"{value:.17g}"
        try:
            return float(text == self.positive.lower() or float(value) == float(self.positive))
        except ValueError:
            return 0.0


def as_number(value: float | None) -> float:
    """NaN where there is none."""
    return np.nan if value is None else float(value)


def _start(lines: Sequence[Observed] | Sequence[Told], dtype: np.dtype[np.void]) -> Columns:
    out = np.zeros(len(lines), dtype=dtype)
    keys = b"".join([key_bytes(line.request_id) for line in lines])
    halves = np.frombuffer(keys, dtype=">u8").reshape(-1, 2)
    out["at"] = [line.at for line in lines]
    out["request_hi"], out["request_lo"] = halves[:, 0], halves[:, 1]
    out["row"] = [line.row for line in lines]
    return out


def read_file(path: Path, into: Recording, *, only_labels: bool = False) -> None:
    """Read a file by its ending: Parquet (.parquet, .pq), else NDJSON (.gz: unpacked); "-" is standard input.

    Args:
        path: what to read.
        into: takes what is read.
        only_labels: every line is a label, and `type` may be left out.

    Raises:
        RecordingError: with everything that is wrong, as `file:line: what was expected`.
    """
    if path.suffix.lower() in PARQUET:
        from router.recordings.parquet import read_parquet  # noqa: PLC0415 - an extra

        read_parquet(path, into, only_labels=only_labels)
        return
    try:
        if str(path) == "-":
            read_ndjson(sys.stdin.buffer, "-", into, only_labels=only_labels)
        elif path.suffix.lower() == ".gz":
            with gzip.open(path, "rb") as file:
                read_ndjson(cast("BinaryIO", file), str(path), into, only_labels=only_labels)
        else:
            with path.open("rb") as file:
                read_ndjson(file, str(path), into, only_labels=only_labels)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: expected a whole gzip file: {error}") from None
    except OSError as error:
        raise RecordingError(f"{path}: expected a file that can be read: {error.strerror or error}") from None


def read_ndjson(file: BinaryIO, name: str, into: Recording, *, only_labels: bool = False) -> None:
    """Read NDJSON, a chunk at a time; `name` is what messages call it. Else as `read_file`."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Told if only_labels else Line)
    problems: list[str] = []
    number = 0
    try:
        for chunk in _chunks(file):
            try:
                into.take(decoder.decode_lines(chunk))
            except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
                for offset, line in enumerate(chunk.split(b"\n"), number + 1):
                    problem = fault(decoder.decode, line, into) if line.strip() else None
                    if problem:
                        problems.append(f"{name}:{offset}: {problem}")
                refuse(problems, at_end=False)
            number += chunk.count(b"\n")
    except Wrong as error:
        problems.append(f"{name}:{number + 1}: {error}")
    refuse(problems, at_end=True)


def fault(decode: Callable[[Any], Line], line: object, into: Recording) -> str | None:
    """What is wrong with one line, in words; None: nothing."""
    try:
        Recording(into.positive, into.multiclass, into.threshold).take([decode(line)])
    except Wrong as error:
        return str(error)
    except msgspec.ValidationError as error:
        return in_words(str(error))
    except (ValueError, RecursionError):
        return "expected one JSON object in UTF-8"
    return None


def refuse(problems: list[str], *, at_end: bool) -> None:
    """Refuse what has problems: at the end of the file, or when there are enough of them.

    Raises:
        RecordingError: with the problems.
    """
    if len(problems) > MOST_PROBLEMS:
        raise RecordingError("\n".join([*problems[:MOST_PROBLEMS], "and more: the first are shown"]))
    if problems and at_end:
        raise RecordingError("\n".join(problems))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, many at once.

    Raises:
        Wrong: a line is too long; the chunks before it were given.
    """
    rest = b""
    first = True
    while block := file.read(CHUNK):
        if first:
            block, first = block.removeprefix(b"\xef\xbb\xbf"), False
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        elif len(rest) + len(block) > CHUNK:
            raise Wrong(f"expected a line of at most {CHUNK} bytes")
        else:
            rest += block
    if rest:
        yield rest
