"""Connections to Postgres: one pool a process, opened on first use, so always after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from worker.config import get_settings
from worker.db.driver_errors import translated
from worker.db.moments import adapters
from worker.errors import InvalidSettings

Pool = ConnectionPool[Connection[DictRow]]
AsyncPool = AsyncConnectionPool[AsyncConnection[DictRow]]

_CHECKOUT_TIMEOUT_S: Final = 2.0
_TIME_LIMITS: Final = "-c statement_timeout=5000 -c lock_timeout=3000"
_UNLESS_THE_URL_SAYS_OTHERWISE: Final = {
    "application_name": "threadsync",
    "connect_timeout": 3,
    # A peer that is gone without a word is noticed in seconds, not in two hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_pool: Pool | None = None
_opening = threading.Lock()
_inherited: list[Pool | None] = []


def connect_arguments(url: str | None = None) -> dict[str, Any]:
    """Keyword arguments for ``connect`` on ``url`` (default ``DATABASE_URL``).

    Each command is its own transaction and one round trip. Raises ``InvalidSettings``.
    """
    given = _parsed(url or _database_url())
    ours = {"autocommit": True, "row_factory": dict_row, "context": adapters()}
    arguments = {**_UNLESS_THE_URL_SAYS_OTHERWISE, **given, **ours}
    if get_settings().database_prepared_statements:
        # The URL's own options stand last, and so prevail.
        options = f"{_TIME_LIMITS} {given.get('options', '')}".strip()
        return {**arguments, "prepare_threshold": 0, "options": options}
    # PgBouncer in transaction mode loses server-side prepares, and refuses start-up options.
    return {**arguments, "prepare_threshold": None}


def new_pool(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> Pool:
    """A pool on ``url`` (default ``DATABASE_URL``), not yet open. Raises ``InvalidSettings``."""
    return ConnectionPool(**_pool_arguments(url, min_size, max_size), check=_check, name="threadsync")


def new_async_pool(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> AsyncPool:
    """The same for asyncio."""
    arguments = _pool_arguments(url, min_size, max_size)
    return AsyncConnectionPool(**arguments, check=_check_async, name="threadsync-async")


def init_db(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> Pool:
    """Open this process's pool, or return the one that is open. Does not wait for Postgres.

    A forked child gets a pool of its own: two processes on one connection garble each other's answers.
    """
    global _pool
    with _opening:
        if _pool is None:
            _pool = new_pool(url, min_size=min_size, max_size=max_size)
            _pool.open()
        return _pool


def close_db() -> None:
    """Close this process's pool. A later call opens a new one."""
    global _pool
    with _opening:
        if _pool is not None:
            _pool.close()
        _pool = None


@contextmanager
def get_connection() -> Iterator[Connection[DictRow]]:
    """A connection of this process's pool. Raises ``DatabaseUnavailable`` after two seconds without one."""
    with translated(), init_db().connection() as connection:
        yield connection


@contextmanager
def single_connection(url: str | None = None) -> Iterator[Connection[DictRow]]:
    """A connection outside any pool, for what a person starts: ``DatabaseUnavailable`` says the reason."""
    with translated(), psycopg.connect(**connect_arguments(url)) as connection:
        yield connection


def _database_url() -> str:
    settings = get_settings()
    settings.require("database_url")
    assert settings.database_url is not None  # noqa: S101 - require() has just said so
    return settings.database_url.get_secret_value()


def _parsed(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's message repeats the URL, with its password; so no `from exc` either.
        raise InvalidSettings(
            "DATABASE_URL: is not a URL that libpq can read; special characters in the password must be "
            "percent-encoded"
        ) from None


def _pool_arguments(url: str | None, min_size: int, max_size: int) -> dict[str, Any]:
    return {
        "kwargs": connect_arguments(url),
        "min_size": min_size,
        "max_size": max_size,
        "timeout": _CHECKOUT_TIMEOUT_S,
        # The pause between two attempts doubles until then. After that each command starts a new attempt,
        # so that a pool is back a second after Postgres is, however long that was away.
        "reconnect_timeout": _CHECKOUT_TIMEOUT_S,
        "open": False,
    }


def _check(connection: Connection[DictRow]) -> None:
    """Raise if the server ended the connection while it lay idle: a look at the socket, no round trip."""
    connection.pgconn.consume_input()  # what the server said last …
    connection.pgconn.consume_input()  # … and that it hung up


async def _check_async(connection: AsyncConnection[DictRow]) -> None:
    connection.pgconn.consume_input()
    connection.pgconn.consume_input()


def _leave_the_parents_pool_alone() -> None:
    global _pool, _opening
    # Kept, because its end would be the end of the parent's connections.
    _inherited.append(_pool)
    _pool = None
    # Another thread may have held it at the moment of the fork.
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_leave_the_parents_pool_alone)
