"""The tables as they are now, and the ordered steps that lead there from every older version.

A step, once released, never changes: it describes its own tables instead of using those that the queries use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    column,
    inspect,
    table,
)

from router.control.ledger.chain import START, link
from router.control.ledger.errors import LedgerUnavailable

FACTS = table(
    "facts",
    column("seq", BigInteger),  # the cursor; never used twice, not even after pruning
    column("model", Text),
    column("kind", Text),
    column("layout", Integer),
    column("row_count", Integer),
    column("last_at", Double),  # of the latest event in it: retention goes by this
    column("rollout_id", BigInteger),
    column("term", BigInteger),  # the fencing term that it was written under; NULL: none was needed
    column("batch", LargeBinary),
    column("decision", Text),
)
POLICIES = table("policies", column("digest", Text), column("canonical", Text))
CHECKPOINTS = table(
    "checkpoints",
    column("model", Text),
    column("cursor", BigInteger),  # of the last fact that it counts
    column("state", LargeBinary),
)
CHAIN = table(
    "chain",
    column("seq", BigInteger),  # of the decision
    column("model", Text),
    column("number", BigInteger),  # of the model's decisions, from 1
    column("prev", Text),
    column("hash", Text),  # see chain.py
)
EVIDENCE_STATES = table(
    "evidence_states",
    column("digest", Text),  # SHA-256 of the state
    column("state", LargeBinary),  # compressed; a decision's text names it by its digest
)
LEASE = table(
    "lease",
    column("name", Text),
    column("holder", Text),  # NULL: released
    column("term", BigInteger),  # grows with every change of holder
    column("beat", BigInteger),  # grows with every renewal; contenders time how long it stands still
    column("ttl_seconds", Double),  # what the holder promised to renew within
)
REFUSED_ACTS = table(
    "refused_acts",
    column("seq", BigInteger),
    column("at", Double),
    column("actor", Text),
    column("origin", Text),
    column("act", Text),
    column("model", Text),
    column("why", Text),
    column("times", BigInteger),
)
SCHEMA_VERSION = table("schema_version", column("version", Integer))

LEADER = "leader"
"""The one row of LEASE."""


def _version_1(connection: Connection) -> None:
    metadata = MetaData()
    counted = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts by itself in SQLite
    facts = Table(
        "facts",
        metadata,
        Column("seq", counted, primary_key=True, autoincrement=True),
        Column("model", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("layout", Integer, nullable=False),
        Column("row_count", Integer, nullable=False),
        Column("last_at", Double, nullable=False),
        Column("rollout_id", BigInteger, nullable=False),
        Column("term", BigInteger),
        Column("batch", LargeBinary),
        Column("decision", Text),
        sqlite_autoincrement=True,
    )
    Index("facts_of_model", facts.c.model, facts.c.kind, facts.c.seq)
    Index("facts_by_age", facts.c.kind, facts.c.last_at)
    Table("policies", metadata, Column("digest", Text, primary_key=True), Column("canonical", Text, nullable=False))
    lease = Table(
        "lease",
        metadata,
        Column("name", Text, primary_key=True),
        Column("holder", Text),
        Column("term", BigInteger, nullable=False),
        Column("beat", BigInteger, nullable=False),
        Column("ttl_seconds", Double, nullable=False),
    )
    metadata.create_all(connection)
    connection.execute(lease.insert().values(name=LEADER, holder=None, term=0, beat=0, ttl_seconds=0.0))


def _version_2(connection: Connection) -> None:
    metadata = MetaData()
    Table(
        "checkpoints",
        metadata,
        Column("model", Text, primary_key=True),
        Column("cursor", BigInteger, nullable=False),
        Column("state", LargeBinary, nullable=False),
    )
    metadata.create_all(connection)


def _version_3(connection: Connection) -> None:
    metadata = MetaData()
    counted = BigInteger().with_variant(Integer, "sqlite")
    chain = Table(
        "chain",
        metadata,
        Column("seq", counted, primary_key=True, autoincrement=False),
        Column("model", Text, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("prev", Text, nullable=False),
        Column("hash", Text, nullable=False),
    )
    Index("chain_of_model", chain.c.model, chain.c.number, unique=True)
    Table(
        "evidence_states",
        metadata,
        Column("digest", Text, primary_key=True),
        Column("state", LargeBinary, nullable=False),
    )
    metadata.create_all(connection)
    facts = table("facts", *(column(name) for name in ("seq", "model", "kind", "term", "decision")))
    heads: dict[str, tuple[int, str]] = {}
    for row in connection.execute(facts.select().where(facts.c.kind == "decision").order_by(facts.c.seq)).all():
        number, prev = heads.get(row.model, (0, START))
        hashed = link(prev, row.model, number + 1, row.seq, row.term, row.decision)
        connection.execute(
            chain.insert().values(seq=row.seq, model=row.model, number=number + 1, prev=prev, hash=hashed)
        )
        heads[row.model] = (number + 1, hashed)


def _version_4(connection: Connection) -> None:
    metadata = MetaData()
    counted = BigInteger().with_variant(Integer, "sqlite")
    refused = Table(
        "refused_acts",
        metadata,
        Column("seq", counted, primary_key=True, autoincrement=True),
        Column("at", Double, nullable=False),
        *(Column(name, Text, nullable=False) for name in ("actor", "origin", "act", "model", "why")),
        Column("times", BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    Index("refused_acts_of_model", refused.c.model, refused.c.seq)
    metadata.create_all(connection)


Migration = Callable[[Connection], None]

MIGRATIONS: tuple[Migration, ...] = (_version_1, _version_2, _version_3, _version_4)
"""MIGRATIONS[n] leads from version n to n + 1."""


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database to the newest version, within the caller's transaction; return that version.

    Raises:
        LedgerUnavailable: the database is of a newer version than this program knows, or not a ledger.
    """
    version = _version(connection)
    if version > len(migrations):
        raise LedgerUnavailable(
            f"the ledger has schema version {version}, this titleshot knows versions up to {len(migrations)}: "
            "it was written by a newer titleshot; install that one, or use another ledger"
        )
    for migration in migrations[version:]:
        migration(connection)
    if version < len(migrations):
        connection.execute(SCHEMA_VERSION.update().values(version=len(migrations)))
    return len(migrations)


def _version(connection: Connection) -> int:
    tables = set(inspect(connection).get_table_names())
    if "schema_version" in tables:
        versions = connection.execute(SCHEMA_VERSION.select()).scalars().all()
        if len(versions) != 1:
            raise LedgerUnavailable(f"not a ledger: schema_version holds {len(versions)} rows where 1 was expected")
        return int(versions[0])
    if taken := tables & {FACTS.name, POLICIES.name, LEASE.name}:
        raise LedgerUnavailable(f"not a ledger: it has a table {min(taken)!r}, but no schema_version")
    metadata = MetaData()
    Table("schema_version", metadata, Column("version", Integer, nullable=False))
    metadata.create_all(connection)
    connection.execute(SCHEMA_VERSION.insert().values(version=0))
    return 0
