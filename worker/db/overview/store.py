"""What operators look at beyond single sessions, syncs and letters: searches, decisions, and how it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

from psycopg.rows import DictRow
from pydantic import AwareDatetime, Field

from threadsync.actors import StoredActor
from threadsync.dto import Dto
from threadsync.errors import InvalidCommand
from threadsync.queues import QUEUES
from threadsync.sessions import ThreadSession
from worker.db.driver_errors import translated
from worker.db.overview import sql as console_queries
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore

Series = Mapping[str, Mapping[datetime, float]]
"""By name, then by the beginning of a stretch of time."""

_ID: Final = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}-[1-9][0-9]{0,12}")
_THREAD: Final = re.compile(r"([A-Za-z0-9]{1,64})[\s/]+([0-9]{1,16}\.[0-9]{1,9})")
# https://docs.slack.dev/reference/methods/chat.getPermalink: p, then the timestamp without its point.
_LINK: Final = re.compile(r"https?://\S*/archives/([A-Za-z0-9]{1,64})/p([0-9]{7,16})([0-9]{6})(\?\S*)?")
_REPLY: Final = re.compile(r"[?&]thread_ts=([0-9]{1,16}\.[0-9]{1,9})")
_MOMENT: Final = re.compile(
    r"-?infinity|[0-9]{4,6}-[0-9]{2}-[0-9]{2}(T[0-9:.]{1,20}([+-][0-9:]{1,8}|Z)?)?( BC)?"
)
_MOST_FOUND: Final = 50
_AFTER_ALL_IDS: Final = UUID(int=2**128 - 1)


class Decision(Dto):
    """A decision about a sync (``session_id``), a dead letter (``dead_letter_id``) or all.

    ``task_name`` of an act of forgetting is the thread or the channel; of a person it does not say whom.
    """

    id: UUID
    at: AwareDatetime
    action: Literal[
        "retry",
        "link",
        "unlink",
        "give_up",
        "replay",
        "discard",
        "adopt",
        "renew",
        "forget_thread",
        "forget_channel",
        "forget_user",
    ]
    actor: str
    reason: str
    session_id: UUID | None
    channel_id: str | None
    thread_ts: str | None
    dead_letter_id: UUID | None
    task_name: str | None
    acted_by: StoredActor = None
    jira_key: str | None = None
    via: str | None = None
    login: str | None = None
    """Of the database: the server's word, where ``actor`` is a claim. None in rows of before."""
    place: str | None = Field(None, exclude=True)
    """`at` as Postgres writes it, which has years that Python does not."""

    @property
    def by(self) -> str:
        """The actor as people read it: a claim is told from a person in Slack."""
        return str(self.acted_by) if self.acted_by else self.actor

    @property
    def cursor(self) -> str:
        """Whoever gives it back gets the page behind this one."""
        return f"{(self.place or self.at.isoformat()).replace(' ', 'T', 1)}_{self.id}"

    def summary(self) -> str:
        return f"{self.action} by {self.actor}"


class SessionActors(Dto):
    """The actors of a session's steps, and of its last draft; None where they are not known."""

    opened_by: StoredActor = None
    ready_by: StoredActor = None
    synced_by: StoredActor = None
    drafted_by: StoredActor = None

    def summary(self) -> str:
        return f"opened by {self.opened_by or 'a person not known'}"


class ConsoleStore:
    """Every method raises ``DatabaseUnavailable`` when Postgres is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def find(self, text: str) -> list[ThreadSession]:
        """Sessions by a ticket's key, a session's id, a channel and a timestamp, or a link to a message.

        Raises ``InvalidCommand`` for what is none of them.
        """
        text = text.strip()
        sessions = SessionStore(self._pool)
        if thread := thread_in(text):
            one = sessions.get_session_by_thread(*thread)
        elif _ID.fullmatch(text):
            one = sessions.get_session(text)
        elif _KEY.fullmatch(text):
            rows = self._rows(console_queries.FIND_BY_KEY, {"jira_key": text.upper(), "limit": _MOST_FOUND})
            return [ThreadSession.of_row(row) for row in rows]
        else:
            raise InvalidCommand(
                "that is no ticket's key, no session's id, no link to a Slack message, "
                "and no channel with a timestamp behind it"
            )
        return [one] if one else []

    def steps(self, session_id: UUID) -> tuple[datetime | None, datetime | None]:
        """When the session became ready, and when synced; None for a step that it has not taken."""
        rows = self._rows(console_queries.STEPS, {"session_id": session_id})
        return (rows[0]["ready_at"], rows[0]["synced_at"]) if rows else (None, None)

    def actors(self, session_id: UUID) -> SessionActors:
        """The actors of its steps."""
        rows = self._rows(console_queries.ACTORS, {"session_id": session_id})
        return SessionActors.of_row(rows[0] if rows else {})

    def decisions(self, limit: int, cursor: str | None = None) -> list[Decision]:
        """What people decided, newest first. Raises ``InvalidCommand`` for a cursor that is none of ours."""
        at, before = _parsed(cursor) if cursor else ("infinity", _AFTER_ALL_IDS)
        rows = self._rows(console_queries.LIST_DECISIONS, {"at": at, "id": before, "limit": limit})
        return [Decision.of_row(row) for row in rows]

    def steps_over_time(self, seconds: int, bucket: int) -> Series:
        """``opened``, ``ready`` and ``synced``: how many sessions, in stretches of ``bucket`` seconds."""
        return self._series(console_queries.COUNT_STEPS, seconds, bucket)

    def attempts_over_time(self, seconds: int, bucket: int) -> Series:
        """Tries of syncs by how they ended."""
        return self._series(console_queries.COUNT_ATTEMPTS, seconds, bucket)

    def waits_over_time(self, seconds: int, bucket: int) -> Series:
        """For each queue the longest that a message had waited, in seconds."""
        return self._series(console_queries.LONGEST_WAITS, seconds, bucket)

    def _series(self, sql: LiteralString, seconds: int, bucket: int) -> Series:
        params = {"seconds": seconds, "bucket": bucket, "queues": list(QUEUES)}
        found: dict[str, dict[datetime, float]] = {}
        for row in self._rows(sql, params):
            found.setdefault(row["what"], {})[row["at"]] = float(row["value"])
        return found

    def _rows(self, sql: LiteralString, params: Mapping[str, Any]) -> list[DictRow]:
        with translated(), self._pool.connection() as connection:
            return connection.execute(sql, params).fetchall()


def thread_in(text: str) -> tuple[str, str] | None:
    """The channel and the thread that a link to a message names, or that are written beside one another."""
    if link := _LINK.fullmatch(text.strip()):
        reply = _REPLY.search(link[4] or "")
        return link[1], reply[1] if reply else f"{link[2]}.{link[3]}"
    thread = _THREAD.fullmatch(text.strip())
    return (thread[1], thread[2]) if thread else None


def _parsed(cursor: str) -> tuple[str, UUID]:
    at, _, decision_id = cursor.partition("_")
    try:
        before = UUID(decision_id) if _MOMENT.fullmatch(at) else None
    except ValueError:
        before = None
    if before is None:
        raise InvalidCommand(f"{cursor[:60]!r} is not the cursor of a page")
    return at, before
