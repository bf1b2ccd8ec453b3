"""The store for asyncio: the same statements and methods, which one test suite holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from threadsync.command import Validated
from threadsync.errors import ThreadsyncError
from worker.db.connection import GuardedConnection
from worker.db.driver_errors import translated
from worker.db.pipeline import GIVE_UP, Batch, FirstFault, SameColumns
from worker.db.pool import AsyncPool, new_async_pool
from worker.db.sessions.statements import statement_of
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement

P = ParamSpec("P")
T = TypeVar("T")


class _Commands(SessionStore):
    """A store whose methods return the command that they would carry out."""

    def run(self, command: Any) -> Any:
        return command


_COMMANDS: Final = _Commands()


def _awaited(
    method: Callable[Concatenate[SessionStore, P], T],
) -> Callable[Concatenate[AsyncSessionStore, P], Coroutine[Any, Any, T]]:
    """Return the method for asyncio: it carries out the same command."""

    @wraps(method)
    async def call(store: AsyncSessionStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        command: Any = method(_COMMANDS, *args, **kwargs)
        result: T = await store.run(command)
        return result

    return call


class AsyncSessionStore:
    """Sessions and channel contexts in Postgres, as ``SessionStore`` has them.

    ``async with AsyncSessionStore() as store`` opens and closes a pool on ``DATABASE_URL``; give ``pool``
    to use one that is open already, which then stays yours.
    """

    def __init__(self, pool: AsyncPool | None = None) -> None:
        self._pool = pool
        self._owned = pool is None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _opened(self) -> AsyncPool:
        async with self._opening:
            if self._pool is None:
                pool = new_async_pool()
                await pool.open()
                self._pool = pool
            return self._pool

    async def close(self) -> None:
        """Close the pool that this store opened."""
        if self._owned and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def run(self, command: Validated[T]) -> T:
        """Carry out one command."""
        return await self.execute(statement_of(command))

    async def run_many(self, commands: Sequence[Validated[T]]) -> list[T | ThreadsyncError]:
        """Carry out commands as if one after the other, hundreds in few round trips: see ``execute_many``."""
        return await self.execute_many([statement_of(command) for command in commands])

    async def execute(self, statement: Statement[T]) -> T:
        """Run one statement and read its result."""
        with translated():
            async with (await self._opened()).connection() as connection:
                cursor = await connection.execute(statement.sql, statement.params)
                rows = await cursor.fetchall()
        return statement.read(rows)

    async def execute_many(self, statements: Sequence[Statement[T]]) -> list[T | ThreadsyncError]:
        """Run statements as if one after the other, hundreds in few round trips.

        Returns for each, in the order given, its result or the error of ours that ``execute`` would raise:
        what is refused fails alone. Raises ``DatabaseUnavailable`` for all; some may have been run then.

        Sessions that were created together are listed by thread, not in the order given.
        """
        batch = Batch(statements)
        with translated():
            async with (await self._opened()).connection() as connection:
                for trip in batch.trips():
                    first = FirstFault()
                    with first:
                        async with connection.pipeline():
                            cursors = []
                            with first:
                                for sql, params in trip.runs():
                                    cursors.append(connection.cursor())
                                    if len(params) == 1:
                                        await cursors[-1].execute(sql, params[0])
                                    else:
                                        cursors[-1].row_factory = SameColumns()
                                        await cursors[-1].executemany(sql, params, returning=True)
                            if first.is_of_the_driver:
                                await connection.execute(GIVE_UP, prepare=False)
                    if first.fault:
                        batch.refused(trip, first.fault)
                    else:
                        rows = [await cursor.fetchall() for cursor in cursors async for _ in cursor.results()]
                        batch.accepted(trip, rows)
        return batch.results

    async def create_tables(self) -> int:
        """Bring the schema up to date; returns its version. Raises ``SchemaMismatch`` when it is newer."""
        with translated():
            async with (await self._opened()).connection() as connection:
                info = connection.info
                return await asyncio.to_thread(_migrate, {**info.get_parameters(), "password": info.password})

    get_or_create_session = _awaited(SessionStore.get_or_create_session)
    update_status = _awaited(SessionStore.update_status)
    mark_synced = _awaited(SessionStore.mark_synced)
    request_sync = _awaited(SessionStore.request_sync)
    link = _awaited(SessionStore.link)
    unlink = _awaited(SessionStore.unlink)
    get_session = _awaited(SessionStore.get_session)
    get_session_by_thread = _awaited(SessionStore.get_session_by_thread)
    list_sessions_by_channel = _awaited(SessionStore.list_sessions_by_channel)
    list_sessions = _awaited(SessionStore.list_sessions)
    get_channel_context = _awaited(SessionStore.get_channel_context)
    channel_moved = _awaited(SessionStore.channel_moved)
    merge_channel_context = _awaited(SessionStore.merge_channel_context)


def _migrate(where: Mapping[str, Any]) -> int:
    from worker.db.migrate import migrate

    with GuardedConnection.connect(**where, autocommit=True) as connection:
        return migrate(connection)
