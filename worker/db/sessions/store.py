"""The store of the worker: a method is one statement in one round trip, or hundreds in few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from threadsync import calls
from threadsync.actors import AnyActor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Validated
from threadsync.commands import Link, MergeContext, RequestSync, Unlink
from threadsync.errors import ThreadsyncError
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft
from threadsync.types import Status
from worker.db.pipeline import GIVE_UP, Batch, FirstFault, SameColumns
from worker.db.sessions.statements import AllSessions, SessionById, statement_of
from worker.db.statement import Statement
from worker.db.store import Store

T = TypeVar("T")


class SessionStore(Store):
    """Sessions and channel contexts in Postgres.

    Every method may be repeated and reordered freely. All raise ``InvalidCommand`` for a wrong argument
    and ``DatabaseUnavailable`` when Postgres is away; then it is unknown whether the write took place,
    and repeating it is safe.
    """

    def run(self, command: Validated[T]) -> T:
        """Carry out one command."""
        return self.execute(statement_of(command))

    def run_many(self, commands: Sequence[Validated[T]]) -> list[T | ThreadsyncError]:
        """Carry out commands as if one after the other, hundreds in few round trips: see ``execute_many``."""
        return self.execute_many([statement_of(command) for command in commands])

    def execute(self, statement: Statement[T]) -> T:
        """Run one statement and read its result."""
        return statement.read(self._rows(statement.sql, statement.params))

    def execute_many(self, statements: Sequence[Statement[T]]) -> list[T | ThreadsyncError]:
        """Run statements as if one after the other, hundreds in few round trips.

        Returns for each, in the order given, its result or the error of ours that ``execute`` would raise:
        what is refused fails alone. Raises ``DatabaseUnavailable`` for all; some may have been run then.

        Sessions that were created together are listed by thread, not in the order given.
        """
        batch = Batch(statements)
        with self._connection() as connection:
            for trip in batch.trips():
                first = FirstFault()
                with first, connection.pipeline():
                    cursors = []
                    with first:
                        for sql, params in trip.runs():
                            cursors.append(connection.cursor())
                            if len(params) == 1:
                                cursors[-1].execute(sql, params[0])
                            else:
                                cursors[-1].row_factory = SameColumns()
                                cursors[-1].executemany(sql, params, returning=True)
                    if first.is_of_the_driver:
                        connection.execute(GIVE_UP, prepare=False)
                if first.fault:
                    batch.refused(trip, first.fault)
                else:
                    rows = [cursor.fetchall() for cursor in cursors for _ in cursor.results()]
                    batch.accepted(trip, rows)
        return batch.results

    def create_tables(self) -> int:
        """Bring the schema up to date; returns its version. Raises ``SchemaMismatch`` when it is newer."""
        with self._connection() as connection:
            from worker.db.migrate import migrate

            return migrate(connection)

    def get_or_create_session(
        self, channel_id: str, thread_ts: str, user_id: str, actor: AnyActor | None = None
    ) -> SessionResult:
        """Open the thread's session: ``created``, or ``unchanged`` when it was there."""
        return self.run(calls.get_or_create(channel_id, thread_ts, user_id, actor))

    def update_status(
        self, channel_id: str, thread_ts: str, status: Status, actor: AnyActor | None = None
    ) -> SessionResult:
        """Move the session forward: ``applied | unchanged | stale``. Raises ``SessionNotFound``."""
        return self.run(calls.update_status(channel_id, thread_ts, status, actor))

    def mark_synced(
        self, channel_id: str, thread_ts: str, jira_key: str, actor: AnyActor | None = None
    ) -> SessionResult:
        """Write a ticket's key: ``applied | unchanged``. Raises ``SessionNotFound``, ``JiraKeyConflict``."""
        return self.run(calls.mark_synced(channel_id, thread_ts, jira_key, actor))

    def request_sync(
        self,
        channel_id: str,
        thread_ts: str,
        draft: Draft,
        drafted_at: str,
        actor: AnyActor | None = None,
    ) -> SessionResult:
        """Ask for the session's ticket: ``applied | unchanged | stale``. Raises ``SessionNotFound``."""
        return self.run(
            RequestSync(
                channel_id=channel_id, thread_ts=thread_ts, draft=draft, drafted_at=drafted_at, actor=actor
            )
        )

    def link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str,
        reason: str | None = None,
        jira_id: str | None = None,
    ) -> SessionResult:
        """Link the ticket that a person names: ``applied | unchanged``. Raises as ``mark_synced`` does."""
        return self.run(
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

    def unlink(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        reason: str,
        command_id: UUID | str,
        unlinked_at: str | None = None,
    ) -> SessionResult:
        """Unlink the session's ticket: ``applied | unchanged | stale``. Raises ``SessionNotFound``."""
        return self.run(
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

    def get_session(self, session_id: UUID | str) -> ThreadSession | None:
        """Read the session with this id, or None."""
        return self.run(SessionById(session_id=session_id))

    def get_session_by_thread(self, channel_id: str, thread_ts: str) -> ThreadSession | None:
        """Read the thread's session, or None."""
        return self.run(calls.get(channel_id, thread_ts))

    def list_sessions_by_channel(
        self, channel_id: str, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> SessionPage:
        """Read a page of 1 to 200 sessions of a channel, newest first."""
        return self.run(calls.list_by_channel(channel_id, status, limit, cursor))

    def list_sessions(
        self, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> SessionPage:
        """Read a page of 1 to 200 sessions of all channels, newest first."""
        return self.run(AllSessions(status=status, limit=limit, cursor=cursor))

    def get_channel_context(self, channel_id: str) -> ChannelContext | None:
        """Read the channel's context, or None."""
        return self.run(calls.get_context(channel_id))

    def channel_moved(
        self, channel_id: str, new_channel_id: str, actor: AnyActor | None = None
    ) -> ChannelMove:
        """Record a channel's other id; either one leads to the same rows then: ``applied | unchanged``."""
        return self.run(calls.channel_moved(channel_id, new_channel_id, actor))

    def merge_channel_context(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        command_id: UUID | str,
        actor: AnyActor | None = None,
    ) -> ContextResult:
        """Apply an RFC 7396 merge patch, once a ``command_id``: ``created | applied | unchanged``."""
        return self.run(MergeContext(channel_id=channel_id, patch=patch, command_id=command_id, actor=actor))
