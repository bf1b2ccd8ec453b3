"""Pools of connections to Postgres: one a process, opened on first use, so always after a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from threadsync.config import get_settings
from worker.db.connection import (
    PROBE_SECONDS,
    GuardedAsyncConnection,
    GuardedConnection,
    answering_within,
    start_up_options,
)
from worker.db.conninfo import parse_dsn, with_surroundings
from worker.db.driver_errors import translated
from worker.db.moments import adapters
from worker.db.reach import Reach

_CHECKOUT_TIMEOUT_S: Final = 2.0
_UNLESS_THE_URL_SAYS_OTHERWISE: Final = {
    "application_name": "threadsync",
    "connect_timeout": 3,
    # A peer that is gone without a word is noticed in seconds, not in two hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_CONNECT_TIMEOUT_OF_MANY_HOSTS: Final = 2
"""Shortest time-out of libpq, in seconds: a silent host may stand before the one that took over."""

_PROBE: Final = "SELECT 1"


class _Interrupted(BaseException):
    """A time limit on its way past psycopg_pool, which takes each ``Exception`` for a connection's own."""

    def __init__(self, by: Exception) -> None:
        super().__init__()
        self.by = by


class Pool(ConnectionPool[GuardedConnection]):
    """A pool that says why it has no connection to give."""

    connections: ClassVar[type[GuardedConnection]] = GuardedConnection

    def __init__(self, reach: Reach, **arguments: Any) -> None:
        super().__init__(connection_class=self.connections, check=_check, name="threadsync", **arguments)
        self._reach = reach

    def getconn(self, timeout: float | None = None) -> GuardedConnection:
        """Lend a connection. Raises ``PoolTimeout`` with the reason of the last attempt to connect."""
        try:
            return super().getconn(timeout)
        except _Interrupted as exc:
            raise exc.by from None
        except PoolTimeout as exc:
            raise PoolTimeout(f"{exc}{_why(self._reach)}") from self._reach.trouble

    def putconn(self, conn: GuardedConnection) -> None:
        """Take a connection back; if its server was read-only, drain the pool: the others lead there too."""
        conn.used_at = time.monotonic()
        if conn.met_read_only:
            self.drain()
        super().putconn(conn)


class AsyncPool(AsyncConnectionPool[GuardedAsyncConnection]):
    """A ``Pool`` for asyncio."""

    def __init__(self, reach: Reach, **arguments: Any) -> None:
        super().__init__(
            connection_class=GuardedAsyncConnection, check=_check_async, name="threadsync-async", **arguments
        )
        self._reach = reach

    async def getconn(self, timeout: float | None = None) -> GuardedAsyncConnection:  # noqa: ASYNC109
        """Lend a connection. Raises ``PoolTimeout`` with the reason of the last attempt to connect."""
        try:
            return await super().getconn(timeout)
        except PoolTimeout as exc:
            raise PoolTimeout(f"{exc}{_why(self._reach)}") from self._reach.trouble

    async def putconn(self, conn: GuardedAsyncConnection) -> None:
        """Take a connection back; if its server was read-only, drain the pool: the others lead there too."""
        conn.used_at = time.monotonic()
        if conn.met_read_only:
            await self.drain()
        await super().putconn(conn)


_pool: Pool | None = None
_opening = threading.Lock()
_inherited: list[Pool | None] = []


def connect_arguments(url: str | None = None) -> dict[str, Any]:
    """Return arguments for ``GuardedConnection.connect`` to ``url`` (default ``DATABASE_URL``).

    Each command is its own transaction and one round trip. Raises ``InvalidSettings``.
    """
    given = with_surroundings(parse_dsn(url or _database_url()))
    arguments = {
        **_UNLESS_THE_URL_SAYS_OTHERWISE,
        **({"connect_timeout": _CONNECT_TIMEOUT_OF_MANY_HOSTS} if _names_many(given) else {}),
        **given,
        "client_encoding": "UTF8",
        "autocommit": True,
        "context": adapters(),
        "row_factory": dict_row,
    }
    if get_settings().database_prepared_statements:
        return {**arguments, "prepare_threshold": 0, "options": start_up_options(given.get("options", ""))}
    # PgBouncer in transaction mode loses server-side prepares, and refuses start-up options.
    return {**arguments, "prepare_threshold": None}


def _names_many(given: dict[str, Any]) -> bool:
    return any("," in str(given.get(name, "")) for name in ("host", "hostaddr"))


def new_pool(
    url: str | None = None, *, min_size: int = 1, max_size: int = 4, kind: type[Pool] = Pool
) -> Pool:
    """Return a pool on ``url`` (default ``DATABASE_URL``), not yet open. Raises ``InvalidSettings``."""
    return kind(**_pool_arguments(url, min_size, max_size))


def new_async_pool(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> AsyncPool:
    """Return a pool for asyncio, not yet open. Raises ``InvalidSettings``."""
    return AsyncPool(**_pool_arguments(url, min_size, max_size))


def init_db(url: str | None = None, *, min_size: int = 1, max_size: int = 4) -> Pool:
    """Open this process's pool, or return the one that is open. Does not wait for Postgres.

    A forked child gets a pool of its own: two processes on one connection garble each other's responses.
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
    """Lend a connection of this process's pool. Raises ``DatabaseUnavailable`` after two seconds."""
    with translated(), init_db().connection() as connection:
        yield connection


@contextmanager
def single_connection(url: str | None = None) -> Iterator[Connection[DictRow]]:
    """Open a connection outside any pool, for the command line. Raises ``DatabaseUnavailable``."""
    with translated(), GuardedConnection.connect(**connect_arguments(url)) as connection:
        yield connection


def _database_url() -> str:
    settings = get_settings()
    settings.require("database_url")
    assert settings.database_url is not None  # noqa: S101 - require() has just said so
    return settings.database_url.get_secret_value()


def _pool_arguments(url: str | None, min_size: int, max_size: int) -> dict[str, Any]:
    reach = Reach()
    return {
        "reach": reach,
        "kwargs": {**connect_arguments(url), "reach": reach},
        "min_size": min_size,
        "max_size": max_size,
        "timeout": _CHECKOUT_TIMEOUT_S,
        # The pause between two attempts doubles until then. After that each command starts a new attempt,
        # so that a pool is back a second after Postgres is, however long that was away.
        "reconnect_timeout": _CHECKOUT_TIMEOUT_S,
        "open": False,
    }


def _check(connection: GuardedConnection) -> None:
    """Raise if the connection is useless, and close it, because the pool would keep it otherwise."""
    why = connection.look()
    if not why and connection.is_idle:
        try:
            with answering_within(connection, PROBE_SECONDS):
                connection.execute(_PROBE, prepare=False)
        except psycopg.Error:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a signal raises
            # A soft time limit: swallowed, it would let the command go on until the hard one.
            raise _Interrupted(exc) from None
        why = connection.look()
    if why:
        connection.close()
        raise psycopg.OperationalError(why)


async def _check_async(connection: GuardedAsyncConnection) -> None:
    why = connection.look()
    if not why and connection.is_idle:
        with answering_within(connection, PROBE_SECONDS):
            await connection.execute(_PROBE, prepare=False)
        why = connection.look()
    if why:
        await connection.close()
        raise psycopg.OperationalError(why)


def _why(reach: Reach) -> str:
    if reach.trouble is None:
        return "; all are in use, or the server has not answered yet"
    # The driver breaks its lines as it likes.
    return f"; the last attempt to connect failed: {' '.join(str(reach.trouble).split())}"


def _leave_the_parents_pool_alone() -> None:
    global _pool, _opening
    # Kept, because its end would be the end of the parent's connections.
    _inherited.append(_pool)
    _pool = None
    # Another thread may have held it at the moment of the fork.
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_leave_the_parents_pool_alone)
