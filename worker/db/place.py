"""Which database a process writes to, and its clock beside this machine's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg_pool import PoolTimeout

from threadsync.broker.clocks import offset
from worker.db.pool import Pool

# Two databases with one identity are told apart by the server's start, which no copy has in common with what
# it was copied from. A server that takes no writes is none that anything is written to.
_PLACE: Final[LiteralString] = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       md5(concat_ws('|', extract(epoch FROM pg_postmaster_start_time()), d.oid)) AS database
FROM pg_database d
WHERE d.datname = current_database() AND NOT pg_is_in_recovery()
"""


@dataclass(frozen=True)
class DatabasePlace:
    """``database`` is a hash; ``skew`` how far this machine's clock is ahead of the server's, in seconds."""

    database: str
    skew: float


def place_of(pool: Pool) -> DatabasePlace | None:
    """Ask; None where Postgres is away, or takes no writes."""
    try:
        with pool.connection() as connection:
            asked = time.time()
            row = connection.execute(_PLACE).fetchone()
            answered = time.time()
    except (psycopg.Error, PoolTimeout):
        return None
    return DatabasePlace(row["database"], offset(row["now"], asked, answered).certain) if row else None
