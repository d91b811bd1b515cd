"""A recording's file as it is written: NDJSON, packed or not, or Parquet, by its ending. Only its owner can read it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import msgspec

from router.recordings.reading import PARQUET, RecordingError

ROW_GROUP = 65_536
GROUP_BYTES = 64 * 1024 * 1024
"""Of lines that are kept in memory for a row group of Parquet, whichever is reached first."""

_OWNER_ONLY = 0o600

_WHOLE = (
    *("row", "version", "status", "header_length", "share", "requests", "observations", "labels"),
    *("dropped", "left_out"),
)
_NUMBERS = ("at", "latency_s", "first_byte_s", "prediction", "score", "label")
_TRUTHS = ("ok", "attempted_both", "shed", "copy_first")
_TEXTS = (
    *("type", "request_id", "role", "mode", "outcome", "method", "path", "content_type", "content_encoding"),
    *("body", "body_base64", "model", "protocol"),
)
_LISTS = ("redacted", "pseudonymised")


class Sink(Protocol):
    """Takes lines."""

    def write(self, lines: bytes) -> None:
        """Whole lines of NDJSON."""

    def close(self) -> None:
        """All is on disk afterwards."""


def create(path: Path) -> Sink:
    """A new file of this name.

    Raises:
        RecordingError: it is there already, cannot be written, or is Parquet and the extra is not installed.
    """
    parquet = path.suffix.lower() in PARQUET
    if parquet:
        _check_parquet(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise RecordingError(f"{path}: expected a file that is not there yet") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror}") from None
    file = os.fdopen(descriptor, "wb")
    if parquet:
        return _Parquet(file)
    return _Lines(file, packed=path.suffix.lower() == ".gz")


class _Lines:
    def __init__(self, file: BinaryIO, *, packed: bool) -> None:
        self._file = file
        self._out = cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="wb")) if packed else file

    def write(self, lines: bytes) -> None:
        self._out.write(lines)

    def close(self) -> None:
        self._out.close()
        self._file.close()


class _Parquet:
    def __init__(self, file: BinaryIO) -> None:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415

        self._schema = pa.schema(
            [(name, pa.string()) for name in _TEXTS]
            + [(name, pa.float64()) for name in _NUMBERS]
            + [(name, pa.int64()) for name in _WHOLE]
            + [(name, pa.bool_()) for name in _TRUTHS]
            + [(name, pa.list_(pa.string())) for name in _LISTS]
        )
        self._file = file
        self._table = pa.Table
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode_lines

    def write(self, lines: bytes) -> None:
        self._rows += self._decode(lines)
        self._bytes += len(lines)
        if len(self._rows) >= ROW_GROUP or self._bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._file.close()

    def _flush(self) -> None:
        rows, self._rows, self._bytes = self._rows, [], 0
        if rows:
            self._writer.write_table(self._table.from_pylist(rows, self._schema), row_group_size=ROW_GROUP)


def _check_parquet(path: Path) -> None:
    try:
        import pyarrow as _  # noqa: PLC0415, F401, ICN001 - an extra
    except ImportError:
        raise RecordingError(f"{path}: Parquet needs an extra: pip install 'titleshot[parquet]'") from None
