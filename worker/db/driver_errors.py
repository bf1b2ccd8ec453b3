"""Translate psycopg's errors into ours: here, once, always ``from exc``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import errors

from threadsync.errors import DatabaseFault, DatabaseUnavailable, InvalidCommand, ThreadsyncError
from worker.db import pgbouncer
from worker.db.sqlstates import judge

CONSTRAINTS: Final = {
    "thread_sessions_status_check": "status: must be collecting, ready_to_sync or synced",
    "thread_sessions_synced_has_key_check": "status: synced and a jira_key go together",
    "thread_sessions_channel_id_check": "channel_id: must be a Slack id, 1 to 64 characters",
    "thread_sessions_thread_ts_check": "thread_ts: must look like 1700000000.000100",
    "thread_sessions_user_id_check": "user_id: must be a Slack id, 1 to 64 characters",
    "thread_sessions_jira_key_check": "jira_key: must look like PROJ-123",
    "channel_context_channel_id_check": "channel_id: must be a Slack id, 1 to 64 characters",
    "channel_context_object_check": "patch: the context must stay a JSON object",
    "channel_context_size_check": "patch: the channel's context would exceed 1 MiB",
}

# An operator has to fix these, but not by changing the command.
_SET_UP_FAULTS: Final = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
    errors.InsufficientPrivilege,
)

# Errors behind a proxy that gives each transaction another connection.
_LOST_PREPARES: Final = (errors.DuplicatePreparedStatement, errors.InvalidSqlStatementName)


def translate(exc: psycopg.Error) -> ThreadsyncError:
    """Return our error with the meaning that the driver's has for a command."""
    reason = (exc.diag.message_primary or str(exc)).strip() or type(exc).__name__
    meaning = judge(exc).meaning
    if isinstance(exc, _SET_UP_FAULTS):
        return DatabaseFault(f"the database is not set up for this ({reason}); run: threadsync migrate")
    if meaning == "refused":
        constraint = exc.diag.constraint_name or ""
        return InvalidCommand(CONSTRAINTS.get(constraint, f"refused by the database: {reason}"))
    kind = DatabaseUnavailable if meaning == "outage" else DatabaseFault
    fix = pgbouncer.WITHOUT_PREPARES if isinstance(exc, _LOST_PREPARES) else pgbouncer.advice(reason)
    return kind(f"Postgres: {type(exc).__name__}: {reason}{f'; {fix}' if fix else ''}")


def is_about_the_content(error: BaseException) -> bool:
    """Return True if the error is about the values written, not about the database's state.

    One of Python's own is, too: the values could not be put into words for Postgres.
    """
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    if isinstance(cause, psycopg.Error):
        # P0: a trigger of another's, which looks at the row.
        return judge(cause).meaning == "refused" or (cause.sqlstate or "").startswith("P0")
    return isinstance(error, TypeError | ValueError | OverflowError | RecursionError)


def may_be_about_the_content(error: BaseException) -> bool:
    """Return True if smaller values might be accepted: these took too long, or too much memory."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    state = (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""
    is_too_much = state.startswith("XX") or state in ("57014", "53200")
    return is_too_much or isinstance(error, MemoryError) or is_about_the_content(error)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our error in place of psycopg's."""
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc) from exc
