"""Work of all other contenders' tasks: our statement, on psycopg's own pool, and the row as JSON.

They check no argument, wait for nothing and log nothing: whatever ours does besides is on our account. The
address comes from the environment, because this runs in the contenders' worker processes.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from typing import Any, Final

from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from benchmarks.threads import SlackThread

STATEMENT: Final = "UPSERT_STATEMENT"
"""Variable with our SQL: the environments of other queues lack what ``worker.db`` imports."""

# As our worker has it: each statement is its own transaction, prepared at once.
_CONNECTION: Final[Mapping[str, Any]] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
_MOST_CONNECTIONS: Final = 8

Pool = ConnectionPool[Connection[DictRow]]
AsyncPool = AsyncConnectionPool[AsyncConnection[DictRow]]

_pool: Pool | None = None
_opening = threading.Lock()
_async_pool: AsyncPool | None = None
_opening_async = asyncio.Lock()


def upsert(channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session."""
    arguments = SlackThread(channel_id, thread_ts, user_id).parameters()
    with _opened().connection() as connection:
        row = connection.execute(_statement(), arguments).fetchone()
    return _as_json(row)


async def upsert_async(channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session, for asyncio."""
    arguments = SlackThread(channel_id, thread_ts, user_id).parameters()
    async with (await _opened_async()).connection() as connection:
        row = await (await connection.execute(_statement(), arguments)).fetchone()
    return _as_json(row)


def _statement() -> bytes:
    return os.environ[STATEMENT].encode()


def _opened() -> Pool:
    """Return this process's pool, opened at its first use, so always after a fork."""
    global _pool
    with _opening:
        if _pool is None:
            _pool = Pool(os.environ["DATABASE_URL"], **_pool_arguments())
            _pool.open()
        return _pool


async def _opened_async() -> AsyncPool:
    global _async_pool
    if _async_pool is None:
        async with _opening_async:
            if _async_pool is None:
                pool = AsyncPool(os.environ["DATABASE_URL"], **_pool_arguments())
                await pool.open()
                _async_pool = pool
    return _async_pool


def _pool_arguments() -> dict[str, Any]:
    return {"kwargs": dict(_CONNECTION), "min_size": 1, "max_size": _MOST_CONNECTIONS, "open": False}


def _as_json(row: DictRow | None) -> dict[str, Any]:
    assert row is not None  # noqa: S101 - the statement always answers
    dates = {name: row[name].isoformat() for name in ("created_at", "updated_at")}
    return {**row, "id": str(row["id"]), **dates}
