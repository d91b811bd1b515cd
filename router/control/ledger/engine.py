"""How the database is reached, and what its errors mean."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from router.control.ledger.errors import LedgerUnavailable

_READS = "titleshot_reads"
_WAL_RETRY_SECONDS = 0.01


def connect(url: str, busy_seconds: float, *, only_reading: bool = False) -> Engine:
    """An engine with one connection; nothing is opened yet.

    Args:
        url: as SQLAlchemy reads it.
        busy_seconds: how long a write waits for another process's write.
        only_reading: nothing is ever changed, not even how the file is kept.

    Raises:
        LedgerUnavailable: the URL cannot be read, or its database driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerUnavailable("the ledger's address is not a URL such as sqlite:///titleshot.db") from None
    sqlite = parsed.get_backend_name() == "sqlite"
    connect_args: dict[str, Any] = {"timeout": busy_seconds, "check_same_thread": False} if sqlite else {}
    try:
        engine = create_engine(
            parsed,
            pool_size=1,
            max_overflow=0,
            pool_timeout=busy_seconds,
            pool_pre_ping=not sqlite,
            connect_args=connect_args,
        )
    except (NoSuchModuleError, ImportError, TypeError) as error:
        raise LedgerUnavailable(f"{shown(parsed)}: no driver for this database: {error}") from error
    if sqlite:
        prepare = _prepare_reading if only_reading else partial(_prepare_sqlite, busy_seconds)
        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def shown(url: URL) -> str:
    """The address without its password."""
    return url.render_as_string(hide_password=True)


def _prepare_sqlite(busy_seconds: float, connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    # WAL: readers and the writer do not wait for one another. FULL: every commit is on disk when it returns, so that an
    # acknowledged label survives a power cut too; in batches that costs one fsync a flush.
    _to_wal(connection, busy_seconds)
    connection.execute("PRAGMA synchronous=FULL")


def _prepare_reading(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")
    connection.text_factory = _text


def _text(data: bytes) -> str:
    """What was put there and is no UTF-8 is text all the same: another one than was written."""
    return data.decode(errors="backslashreplace")


def _to_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to WAL. Of several connections that switch a new database at once SQLite fails some without waiting."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_WAL_RETRY_SECONDS)  # in the ledger's own thread
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A plain BEGIN that reads and then writes fails as "locked" when another process wrote in between, time-out or not.
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes; committed at the end, rolled back on an error. Raises LedgerUnavailable."""
    with _translated(engine), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads. Raises LedgerUnavailable."""
    with _translated(engine), engine.execution_options(**{_READS: True}).begin() as connection:
        yield connection


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        # str(error) would repeat the statement with its parameters: a whole batch
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise LedgerUnavailable(f"{shown(engine.url)}: {cause}") from error
