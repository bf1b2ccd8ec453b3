"""The installation that a database is, decisions about it, and the server that it is on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg_pool import PoolTimeout

from threadsync.actors import AnyActor, as_json
from threadsync.broker.clocks import offset
from worker.db.driver_errors import translated
from worker.db.pool import Pool

_GET: Final[LiteralString] = "SELECT id FROM installation"

_RENEW: Final[LiteralString] = """
WITH renewed AS (
    UPDATE installation SET id = gen_random_uuid(), since = now() RETURNING old.id AS before, new.id
), noted AS (
    INSERT INTO installation_actions (action, actor, reason, installation, other, acted_by)
    SELECT 'renew', %(actor)s, %(reason)s, id, before::text, %(acted_by)s::jsonb FROM renewed
)
SELECT before, id FROM renewed
"""

_NOTE_ADOPTION: Final[LiteralString] = """
INSERT INTO installation_actions (action, actor, reason, installation, other, acted_by)
SELECT 'adopt', %(actor)s, %(reason)s, id, %(other)s, %(acted_by)s::jsonb FROM installation
"""

# Two databases with one identity are told apart by the server's start, which no copy has in common with what
# it was copied from. A server that takes no writes is none that anything is written to.
_PLACE: Final[LiteralString] = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       md5(concat_ws('|', extract(epoch FROM pg_postmaster_start_time()), d.oid)) AS database
FROM pg_database d
WHERE d.datname = current_database() AND NOT pg_is_in_recovery()
"""


def installation_of(pool: Pool) -> str:
    """Return the installation of a pool's database. Raises ``DatabaseUnavailable``."""
    with translated(), pool.connection() as connection:
        return str(InstallationStore(connection).get())


class InstallationStore:
    """The installation, over one connection. Raises ``DatabaseUnavailable``."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def get(self) -> UUID:
        with translated():
            row = self._connection.execute(_GET).fetchone()
        return UUID(str(row["id"])) if row else UUID(int=0)

    def renew(self, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> tuple[UUID, UUID]:
        """Give the installation a new id, as a copied database needs; return the former and the new one."""
        with translated():
            params = {"actor": actor, "reason": reason, "acted_by": as_json(acted_by)}
            row = self._connection.execute(_RENEW, params).fetchone()
        assert row is not None  # noqa: S101 - the migration has made the row
        return UUID(str(row["before"])), UUID(str(row["id"]))

    @contextmanager
    def adopting(
        self, other: str | None, *, actor: str, reason: str, acted_by: AnyActor | None = None
    ) -> Iterator[None]:
        """Record that the broker of ``other`` is taken over, if the body succeeds."""
        params = {"actor": actor, "reason": reason, "other": other, "acted_by": as_json(acted_by)}
        with translated(), self._connection.transaction():
            self._connection.execute(_NOTE_ADOPTION, params)
            yield


@dataclass(frozen=True)
class DatabasePlace:
    """A hash of the database, and the seconds by which this machine's clock is ahead of its server's."""

    database: str
    skew: float


def place_of(pool: Pool) -> DatabasePlace | None:
    """Ask Postgres for its database and clock; None if it is away, or takes no writes."""
    try:
        with pool.connection() as connection:
            asked = time.time()
            row = connection.execute(_PLACE).fetchone()
            answered = time.time()
    except (psycopg.Error, PoolTimeout):
        return None
    return DatabasePlace(row["database"], offset(row["now"], asked, answered).certain) if row else None
