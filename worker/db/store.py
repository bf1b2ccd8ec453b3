"""Base class of the stores: statements on the pool, their rows, pages of them, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow

from worker.db.driver_errors import translated
from worker.db.paging import AFTER_ALL_IDS
from worker.db.pool import Pool, init_db


class Store:
    """Statements of one table. Every method raises ``DatabaseUnavailable`` when Postgres is away.

    Args:
        pool: the process's own if None.
        clock: parameter ``now`` of each statement, for tests; the database's if None.
    """

    def __init__(self, pool: Pool | None = None, clock: Callable[[], datetime] | None = None) -> None:
        self._pool = pool
        self._clock = clock

    def _rows(self, sql: LiteralString, params: Mapping[str, Any]) -> list[DictRow]:
        """Run one statement as a transaction; return its rows, none if it returns none."""
        with self._connection() as connection:
            cursor = connection.execute(sql, {"now": self._now(), **params})
            # Not ``description``, which is made anew of each column.
            return cursor.fetchall() if cursor.rownumber is not None else []

    @contextmanager
    def _connection(self) -> Iterator[Connection[DictRow]]:
        """Lend a connection for more than one statement; errors are translated."""
        with translated(), self._opened.connection() as connection:
            yield connection

    @property
    def _opened(self) -> Pool:
        return self._pool or init_db()

    def _now(self) -> datetime | None:
        return self._clock() if self._clock else None

    @staticmethod
    def _page(limit: int, before: UUID | None) -> dict[str, Any]:
        """Return the parameters of a page: ``limit`` rows, from before the id ``before``."""
        return {"limit": limit, "before": before or AFTER_ALL_IDS}
