"""The store for asyncio: the same statements and methods, which one test suite holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar
from uuid import UUID

from threadsync.actors import AnyActor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Validated
from threadsync.commands import (
    ChannelMoved,
    GetContext,
    GetOrCreate,
    GetSession,
    Link,
    ListByChannel,
    MarkSynced,
    MergeContext,
    RequestSync,
    Unlink,
    UpdateStatus,
)
from threadsync.errors import ThreadsyncError
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft
from threadsync.types import Status
from worker.db.connection import GuardedConnection
from worker.db.driver_errors import translated
from worker.db.migrate import migrate
from worker.db.pipeline import Batch, FirstFault, SameColumns
from worker.db.pool import AsyncPool, new_async_pool
from worker.db.sessions.statements import AllSessions, SessionById, statement_of
from worker.db.statement import Statement

T = TypeVar("T")


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
        """Carry out commands as if one after the other, hundreds in a round trip: see ``execute_many``."""
        return await self.execute_many([statement_of(command) for command in commands])

    async def execute(self, statement: Statement[T]) -> T:
        """Run one statement and read its result."""
        with translated():
            async with (await self._opened()).connection() as connection:
                cursor = await connection.execute(statement.sql, statement.params)
                rows = await cursor.fetchall()
        return statement.read(rows)

    async def execute_many(self, statements: Sequence[Statement[T]]) -> list[T | ThreadsyncError]:
        """Run statements as if one after the other, hundreds in a round trip.

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
                            with first:
                                cursors = []
                                for part in trip.parts():
                                    cursors.append(connection.cursor())
                                    if len(part) == 1:
                                        await cursors[-1].execute(part[0].sql, part[0].params)
                                    else:
                                        cursors[-1].row_factory = SameColumns()
                                        params = [statement.params for statement in part]
                                        await cursors[-1].executemany(part[0].sql, params, returning=True)
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

    async def get_or_create_session(
        self, channel_id: str, thread_ts: str, user_id: str, actor: AnyActor | None = None
    ) -> SessionResult:
        """Open the thread's session: ``created``, or ``unchanged`` when it was there."""
        return await self.run(
            GetOrCreate(channel_id=channel_id, thread_ts=thread_ts, user_id=user_id, actor=actor)
        )

    async def update_status(
        self, channel_id: str, thread_ts: str, status: Status, actor: AnyActor | None = None
    ) -> SessionResult:
        """Move the session forward: ``applied | unchanged | stale``. Raises ``SessionNotFound``."""
        return await self.run(
            UpdateStatus(channel_id=channel_id, thread_ts=thread_ts, status=status, actor=actor)
        )

    async def mark_synced(
        self, channel_id: str, thread_ts: str, jira_key: str, actor: AnyActor | None = None
    ) -> SessionResult:
        """Write the key: ``applied | unchanged``. Raises ``SessionNotFound``, ``JiraKeyConflict``."""
        return await self.run(
            MarkSynced(channel_id=channel_id, thread_ts=thread_ts, jira_key=jira_key, actor=actor)
        )

    async def request_sync(
        self,
        channel_id: str,
        thread_ts: str,
        draft: Draft,
        drafted_at: str,
        actor: AnyActor | None = None,
    ) -> SessionResult:
        """Ask for the session's ticket: ``applied | unchanged | stale``. Raises ``SessionNotFound``."""
        return await self.run(
            RequestSync(
                channel_id=channel_id, thread_ts=thread_ts, draft=draft, drafted_at=drafted_at, actor=actor
            )
        )

    async def link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str,
        reason: str | None = None,
        jira_id: str | None = None,
    ) -> SessionResult:
        """Give it the ticket that a person names: ``applied | unchanged``. Raises as ``mark_synced`` does."""
        return await self.run(
            Link(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                command_id=command_id,
                reason=reason,
                jira_id=jira_id,
            )
        )

    async def unlink(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        reason: str,
        command_id: UUID | str,
        unlinked_at: str | None = None,
    ) -> SessionResult:
        """Unlink its ticket: ``applied | unchanged | stale``. Raises ``SessionNotFound``."""
        return await self.run(
            Unlink(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                reason=reason,
                command_id=command_id,
                unlinked_at=unlinked_at,
            )
        )

    async def get_session(self, session_id: UUID | str) -> ThreadSession | None:
        """The session with this id, or None."""
        return await self.run(SessionById(session_id=session_id))

    async def get_session_by_thread(self, channel_id: str, thread_ts: str) -> ThreadSession | None:
        """The thread's session, or None."""
        return await self.run(GetSession(channel_id=channel_id, thread_ts=thread_ts))

    async def list_sessions_by_channel(
        self, channel_id: str, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> SessionPage:
        """A page of 1 to 200 sessions, newest first."""
        return await self.run(ListByChannel(channel_id=channel_id, status=status, limit=limit, cursor=cursor))

    async def list_sessions(
        self, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> SessionPage:
        """A page of 1 to 200 sessions of all channels, newest first."""
        return await self.run(AllSessions(status=status, limit=limit, cursor=cursor))

    async def get_channel_context(self, channel_id: str) -> ChannelContext | None:
        """The channel's context, or None."""
        return await self.run(GetContext(channel_id=channel_id))

    async def channel_moved(
        self, channel_id: str, new_channel_id: str, actor: AnyActor | None = None
    ) -> ChannelMove:
        """A channel got another id; either one leads to the same rows then: ``applied | unchanged``."""
        return await self.run(ChannelMoved(channel_id=channel_id, new_channel_id=new_channel_id, actor=actor))

    async def merge_channel_context(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        command_id: UUID | str,
        actor: AnyActor | None = None,
    ) -> ContextResult:
        """Apply an RFC 7396 merge patch, once a ``command_id``: ``created | applied | unchanged``."""
        return await self.run(
            MergeContext(channel_id=channel_id, patch=patch, command_id=command_id, actor=actor)
        )


def _migrate(where: Mapping[str, Any]) -> int:
    with GuardedConnection.connect(**where, autocommit=True) as connection:
        return migrate(connection)
