"""Where vectors are kept: in PostgreSQL by pgvector, or in memory.

A vector's key is the sha256 of its text: the same text is never embedded twice, whichever document bears it.
"""

from __future__ import annotations

import hashlib
import logging
import time
import weakref
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString, Protocol

from harness.errors import ServiceUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from psycopg import Connection, Cursor
    from psycopg.sql import Composed

EXACT_UP_TO = 2_000  # vectors that are compared one by one; the graph is for more
CANDIDATES = 100  # that a search of the graph comes back with
SCHEMA = "retrieval"

# any numbers that all versions of the harness agree on; two that make the same table or index wait in turn
_TABLE_LOCK, _INDEX_LOCK = 0x63_61_6F_32, 0x63_61_6F_33

_BUILD_MEMORY = "512MB"  # a graph of 100,000 vectors of 384 numbers fits; one that does not is built far slower

logger = logging.getLogger(__name__)


def key_of(text: str) -> bytes:
    """32 bytes."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


class Vectors(Protocol):
    """Vectors of length 1, all of one model. ServiceUnavailable where what keeps them cannot be had."""

    def known(self, keys: Set[bytes]) -> frozenset[bytes]: ...  # which of these are kept
    def keep(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None: ...  # one kept already stays
    def index(self, among: Set[bytes], within_s: float) -> None: ...  # what makes a search among many quick
    def nearest(
        self, vector: NDArray[np.float32], among: Set[bytes], limit: int
    ) -> Sequence[tuple[bytes, float]]: ...  # keys with their cosine, -1 to 1, best first


class MemoryVectors:
    """Gone with the process. Compares with all it has: exact."""

    def __init__(self) -> None:
        self._rows: dict[bytes, NDArray[np.float32]] = {}
        self._matrix: NDArray[np.float32] | None = None  # of all rows; None: to be stacked at the next search

    def known(self, keys: Set[bytes]) -> frozenset[bytes]:
        return frozenset(keys & self._rows.keys())

    def keep(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        for key, vector in zip(keys, vectors, strict=True):
            self._rows.setdefault(key, vector)
        self._matrix = None

    def index(self, among: Set[bytes], within_s: float) -> None:
        """There is none."""

    def nearest(self, vector: NDArray[np.float32], among: Set[bytes], limit: int) -> Sequence[tuple[bytes, float]]:
        import numpy as np  # noqa: PLC0415 a tenth of a second, which `harness --help` is not to pay

        if not self._rows or limit < 1:
            return ()
        if self._matrix is None:
            self._matrix = np.stack([*self._rows.values()])
        scored = zip(self._rows, map(float, self._matrix @ vector), strict=True)
        return sorted((each for each in scored if each[0] in among), key=lambda each: (-each[1], each[0]))[:limit]


class PgVectors:
    """A table for each model in the schema ``retrieval``, shared by all who use the database.

    Up to ``EXACT_UP_TO`` vectors are compared one by one, in the server. Among more, an HNSW graph over the whole table
    (Malkov, Yashunin, 2016) gives ``CANDIDATES``, and where too few of them are among those asked for, all of
    those are compared after all. ``url`` and ``model`` are asked for at first use: the server starts later than this is
    made. One connection is kept, and closed when this is no longer used.

    ServiceUnavailable where the server fails, or has no pgvector: to go on without it would embed all documents anew in
    every trial, unseen.
    """

    def __init__(self, url: Callable[[], str], *, model: Callable[[], str], dimensions: int) -> None:
        self._url, self._model, self._dimensions = url, model, dimensions
        self._connection: Connection[Any] | None = None

    def known(self, keys: Set[bytes]) -> frozenset[bytes]:
        with self._cursor() as cursor:
            cursor.execute(self._sql("SELECT key FROM {table} WHERE key = ANY(%b)"), [[*keys]])
            return frozenset(key for (key,) in cursor)

    def keep(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        statement = "INSERT INTO {table} (key, vector) VALUES (%b, %s::vector) ON CONFLICT DO NOTHING"
        with self._cursor() as cursor:
            cursor.executemany(self._sql(statement), [(key, _text(v)) for key, v in zip(keys, vectors, strict=True)])

    def index(self, among: Set[bytes], within_s: float) -> None:
        """Only for many, and only once they are in: a graph over all is built far quicker than it grows."""
        if len(among) <= EXACT_UP_TO:
            return
        limits = {"maintenance_work_mem": _BUILD_MEMORY, "statement_timeout": f"{within_s * 1000:.0f}ms"}
        with self._cursor() as cursor:
            for setting in limits.items():
                cursor.execute("SELECT set_config(%s, %s, true)", setting)
            # workers would take the graph's memory from /dev/shm, of which a container has 64 MB
            cursor.execute("SET LOCAL max_parallel_maintenance_workers = 0")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_INDEX_LOCK])
            if cursor.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.{self._name}_hnsw"]).fetchone() != (None,):
                return
            logger.info("building the index of %d vectors", len(among))
            since_s = time.monotonic()
            cursor.execute(self._sql("CREATE INDEX {graph} ON {table} USING hnsw (vector vector_cosine_ops)"))
            logger.info("built the index in %.0f s", time.monotonic() - since_s)

    def nearest(self, vector: NDArray[np.float32], among: Set[bytes], limit: int) -> Sequence[tuple[bytes, float]]:
        if not among or limit < 1:
            return ()
        if len(among) > EXACT_UP_TO and limit <= CANDIDATES:
            found = [(key, score) for key, score in self._candidates(vector) if key in among]
            if len(found) >= limit:
                return found[:limit]
        # those asked for as a list of its own: else the planner may take the graph, which leaves some out
        exact = (
            "WITH own AS MATERIALIZED (SELECT key, vector FROM {table} WHERE key = ANY(%b)) "
            "SELECT key, 1 - (vector <=> %s::vector) AS score FROM own ORDER BY score DESC, key LIMIT %s"
        )
        with self._cursor() as cursor:
            cursor.execute(self._sql(exact), [[*among], _text(vector), limit])
            return cursor.fetchall()

    def _candidates(self, vector: NDArray[np.float32]) -> Sequence[tuple[bytes, float]]:
        nearest = (
            "SELECT key, 1 - (vector <=> %(v)s::vector) AS score FROM {table} "
            "ORDER BY vector <=> %(v)s::vector LIMIT %(n)s"
        )
        with self._cursor() as cursor:
            settings = "SELECT set_config('hnsw.ef_search', %s, true), set_config('enable_seqscan', 'off', true)"
            cursor.execute(settings, [str(CANDIDATES)])  # the planner knows little of a table that has just been filled
            cursor.execute(self._sql(nearest), {"v": _text(vector), "n": CANDIDATES})
            return cursor.fetchall()

    @property
    def _name(self) -> str:
        """The model's full name is the table's comment."""
        return f"vector_{hashlib.sha256(self._model().encode()).hexdigest()[:12]}"

    def _sql(self, statement: LiteralString) -> Composed:
        from psycopg import sql  # noqa: PLC0415 - a third of a second; the command line imports this module

        return sql.SQL(statement).format(
            table=sql.Identifier(SCHEMA, self._name),
            graph=sql.Identifier(f"{self._name}_hnsw"),
            schema=sql.Identifier(SCHEMA),
            dimensions=sql.Literal(self._dimensions),
            model=sql.Literal(self._model()),
        )

    @contextmanager
    def _cursor(self) -> Iterator[Cursor[Any]]:
        """In a transaction of its own."""
        import psycopg  # noqa: PLC0415 - as above

        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connected()
            with self._connection.transaction(), self._connection.cursor() as cursor:
                yield cursor
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege) as error:
            raise ServiceUnavailable(
                f"the PostgreSQL server offers no vectors: {error}",
                cure="install pgvector there (as an administrator: CREATE EXTENSION vector), unset DATABASE_URL, "
                "or choose --retriever lexical",
            ) from error
        except psycopg.Error as error:
            cure = "see the server's log; what was embedded is kept, so that the next try goes on from there"
            raise ServiceUnavailable(f"PostgreSQL, which keeps the vectors: {error}", cure=cure) from error

    def _connected(self) -> Connection[Any]:
        import psycopg  # noqa: PLC0415 - as above

        connection = psycopg.connect(self._url(), autocommit=True, connect_timeout=10, application_name="creamandonion")
        weakref.finalize(self, connection.close)
        try:
            self._make_table(connection)
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def _make_table(self, connection: Connection[Any]) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_TABLE_LOCK])
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute(self._sql("CREATE SCHEMA IF NOT EXISTS {schema}"))
            made = "CREATE TABLE IF NOT EXISTS {table} (key bytea PRIMARY KEY, vector vector({dimensions}) NOT NULL)"
            connection.execute(self._sql(made))
            connection.execute(self._sql("COMMENT ON TABLE {table} IS {model}"))


def _text(vector: NDArray[np.float32]) -> str:
    """As pgvector reads it."""
    return str(vector.tolist())
