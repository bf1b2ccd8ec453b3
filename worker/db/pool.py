"""Connections to Postgres: one pool a process, opened on first use, so always after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from worker.config import get_settings
from worker.db.driver_errors import translated

Pool = ConnectionPool[Connection[DictRow]]
AsyncPool = AsyncConnectionPool[AsyncConnection[DictRow]]

_STATEMENT_TIMEOUT_MS: Final = 5_000
_LOCK_TIMEOUT_MS: Final = 3_000
_CHECKOUT_TIMEOUT_S: Final = 2.0

_pool: Pool | None = None
_pool_owner: int = 0
_opening = threading.Lock()


def connection_options(*, prepared_statements: bool) -> dict[str, Any]:
    """Keyword arguments for ``connect``: each command is its own transaction and one round trip."""
    options: dict[str, Any] = {
        "autocommit": True,
        "row_factory": dict_row,
        "application_name": "threadsync",
        "connect_timeout": 3,
        # A peer that is gone without a word is noticed in seconds, not in two hours.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    if prepared_statements:
        options["prepare_threshold"] = 0
        options["options"] = f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_LOCK_TIMEOUT_MS}"
    else:
        # PgBouncer in transaction mode: neither server-side prepares nor start-up options survive there.
        options["prepare_threshold"] = None
    return options


def _pool_arguments(url: str | None, min_size: int, max_size: int) -> dict[str, Any]:
    settings = get_settings()
    if url is None:
        settings.require("database_url")
        assert settings.database_url is not None  # noqa: S101 - require() has just said so
        url = settings.database_url.get_secret_value()
    return {
        "conninfo": url,
        "kwargs": connection_options(prepared_statements=settings.database_prepared_statements),
        "min_size": min_size,
        "max_size": max_size,
        "timeout": _CHECKOUT_TIMEOUT_S,
        "reconnect_timeout": 0,  # try for ever: giving up is the caller's decision, command by command
        "open": False,
    }


def new_pool(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> Pool:
    """A pool on ``url`` (default ``DATABASE_URL``), not yet open. Raises ``InvalidSettings``."""
    return ConnectionPool(**_pool_arguments(url, min_size, max_size), name="threadsync")


def new_async_pool(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> AsyncPool:
    """The same for asyncio."""
    return AsyncConnectionPool(**_pool_arguments(url, min_size, max_size), name="threadsync-async")


def init_db(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> Pool:
    """Open this process's pool, or return the one that is open. Does not wait for Postgres.

    A forked child gets a pool of its own: two processes on one connection garble each other's answers.
    """
    global _pool, _pool_owner
    with _opening:
        if _pool is None or _pool_owner != os.getpid():
            _pool = new_pool(url, min_size=min_size, max_size=max_size)
            _pool_owner = os.getpid()
            _pool.open()
        return _pool


def close_db() -> None:
    """Close this process's pool. A later call opens a new one."""
    global _pool
    with _opening:
        if _pool is not None and _pool_owner == os.getpid():
            _pool.close()
        _pool = None


@contextmanager
def get_connection() -> Iterator[Connection[DictRow]]:
    """A connection of this process's pool. Raises ``DatabaseUnavailable`` after two seconds without one."""
    with translated(), init_db().connection() as connection:
        yield connection
