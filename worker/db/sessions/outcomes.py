"""Statements of an import: they are those of three commands, and only the outcome of their rows is read.

An import has validated its lines, and looks at no session: to make a command of each, and a DTO of each row,
would take as long as all the rest of it.
"""

from __future__ import annotations

from functools import partial

from threadsync.errors import JiraKeyConflict, SessionNotFound
from threadsync.types import Outcome
from worker.db.sessions import many_sql, sql
from worker.db.statement import Rows, Statement


def opening(channel_id: str, thread_ts: str, user_id: str, actor: str | None) -> Statement[Outcome]:
    """Return the statement of ``GetOrCreate``; ``actor`` is as it is stored, here and below."""
    return Statement(
        sql.GET_OR_CREATE_SESSION,
        {"channel_id": channel_id, "thread_ts": thread_ts, "user_id": user_id, "actor": actor},
        _outcome,
        (channel_id, thread_ts),
        many_sql.OUTCOMES_OF_OPENING,
    )


def moving(channel_id: str, thread_ts: str, status: str, actor: str | None) -> Statement[Outcome]:
    """Return the statement of ``UpdateStatus``."""
    return Statement(
        sql.UPDATE_STATUS,
        {"channel_id": channel_id, "thread_ts": thread_ts, "status": status, "actor": actor},
        partial(_of_session, channel_id, thread_ts),
        (channel_id, thread_ts),
        many_sql.OUTCOMES_OF_MOVING,
    )


def closing(channel_id: str, thread_ts: str, jira_key: str, actor: str | None) -> Statement[Outcome]:
    """Return the statement of ``MarkSynced``."""
    return Statement(
        sql.MARK_SYNCED,
        {"channel_id": channel_id, "thread_ts": thread_ts, "jira_key": jira_key, "actor": actor},
        partial(_of_key, channel_id, thread_ts, jira_key),
        (channel_id, thread_ts),
        many_sql.OUTCOMES_OF_CLOSING,
    )


def _outcome(rows: Rows) -> Outcome:
    outcome: Outcome = rows[0]["outcome"]
    return outcome


def _of_session(channel_id: str, thread_ts: str, rows: Rows) -> Outcome:
    if not rows:
        raise SessionNotFound(channel_id, thread_ts)
    return _outcome(rows)


def _of_key(channel_id: str, thread_ts: str, jira_key: str, rows: Rows) -> Outcome:
    if rows and rows[0]["outcome"] == "conflict":
        raise JiraKeyConflict(channel_id, thread_ts, rows[0]["jira_key"], jira_key)
    return _of_session(channel_id, thread_ts, rows)
