"""A ledger as it is read beside the titleshot that writes it: nothing is created, migrated or changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, make_url
from sqlalchemy.exc import ArgumentError

from comparator.events import Labels, Observations
from router.control.ledger import chaining, queries
from router.control.ledger.chain import Entry
from router.control.ledger.engine import connect, reading
from router.control.ledger.errors import LedgerUnavailable
from router.control.ledger.schema import MIGRATIONS, SCHEMA_VERSION

BUSY_SECONDS = 5.0


class Archive:
    """All methods raise LedgerUnavailable where it cannot be read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    @contextmanager
    def open(cls, url: str) -> Iterator[Archive]:
        """Open a ledger that is there.

        Raises:
            LedgerUnavailable: it is not there, is not a ledger, or was written by an older or newer titleshot.
        """
        _check_file(url)
        engine = connect(url, BUSY_SECONDS, only_reading=True)
        try:
            with reading(engine) as connection:
                _check_schema(connection)
            yield cls(engine)
        finally:
            engine.dispose()

    def models(self) -> list[str]:
        """Every model that has decisions, or a chain."""
        with reading(self._engine) as connection:
            return chaining.models(connection)

    def entries(self, model: str) -> list[Entry]:
        """All decisions of a model, and all that stands in its chain."""
        with reading(self._engine) as connection:
            return chaining.entries(connection, model)

    def state(self, digest: str) -> bytes | None:
        """The state of the evidence under a digest; None: there is none that has it."""
        with reading(self._engine) as connection:
            return chaining.state(connection, digest)

    def traffic(self, model: str, since: float) -> Iterator[Observations | Labels]:
        """Batches of observations and labels that do not end before `since` (seconds since the epoch), in order."""
        cursor = queries.Cursor(after=0, batches_from=0, batches_at=since)
        while page := queries.page(self._engine, model, cursor):
            for _, fact in page:
                if isinstance(fact, Observations | Labels):
                    yield fact
            cursor = cursor.past(page[-1][0])

    def policies(self) -> dict[str, str]:
        """Every policy kept: digest -> canonical JSON."""
        with reading(self._engine) as connection:
            return queries.policies(connection)


def _check_file(url: str) -> None:
    """SQLite would make an empty file."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # told when it is opened
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise LedgerUnavailable(
            f"there is no file {parsed.database}: expected the ledger of a titleshot that has served "
            "(a relative path counts from the working directory)"
        )


def _check_schema(connection: Connection) -> None:
    known = len(MIGRATIONS)
    if "schema_version" not in inspect(connection).get_table_names():
        raise LedgerUnavailable("not a ledger: it has no schema_version")
    version = connection.execute(SCHEMA_VERSION.select()).scalars().first()
    if version != known:
        older = isinstance(version, int) and version < known
        remedy = "start `titleshot serve` on it once" if older else "use the titleshot that wrote it"
        raise LedgerUnavailable(f"the ledger has schema version {version}, this titleshot reads {known}: {remedy}")
