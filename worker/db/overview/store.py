"""Searches, decisions, counts and charts for operators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString, get_args
from uuid import UUID

from pydantic import AwareDatetime, Field

from threadsync.actors import StoredActor
from threadsync.dead_letters import DeadLetterState
from threadsync.dto import Dto
from threadsync.errors import InvalidCommand
from threadsync.queues import QUEUES
from threadsync.sessions import ThreadSession
from threadsync.syncs import SyncStatus
from threadsync.types import Status
from worker.db.overview import sql as queries
from worker.db.paging import Place
from worker.db.sessions.store import SessionStore
from worker.db.store import Store

Series = Mapping[str, Mapping[datetime, float]]
"""Values by name, then by the beginning of a stretch of time."""

_ID: Final = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}-[1-9][0-9]{0,12}")
_THREAD: Final = re.compile(r"([A-Za-z0-9]{1,64})[\s/]+([0-9]{1,16}\.[0-9]{1,9})")
# https://docs.slack.dev/reference/methods/chat.getPermalink: p, then the timestamp without its point.
_LINK: Final = re.compile(r"https?://\S*/archives/([A-Za-z0-9]{1,64})/p([0-9]{7,16})([0-9]{6})(\?\S*)?")
_REPLY: Final = re.compile(r"[?&]thread_ts=([0-9]{1,16}\.[0-9]{1,9})")
_MOST_FOUND: Final = 50
OTHER: Final = "other"
KEPT_DAYS: Final = 8
"""Number of days for which samples are kept."""


Action = (
    Literal["retry", "link", "unlink", "give_up", "replay", "discard"]
    | Literal["adopt", "renew", "forget_thread", "forget_channel", "forget_user"]
    | Literal["set_channel", "reset_channel", "patch_channel", "move_channel"]
)


class Decision(Dto):
    """A decision about a sync (``session_id``), a dead letter (``dead_letter_id``) or the installation.

    ``task_name`` of an act of forgetting is the thread or the channel; a person is not named. Of an act on a
    channel it is the channel, and the names of its settings or the new id.
    """

    id: UUID
    at: AwareDatetime
    action: Action
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
    """Login of the database, which the server vouches for; ``actor`` is a claim. None in old rows."""
    place: str | None = Field(None, exclude=True)
    """`at` as Postgres writes it, which has years that Python has not."""

    @property
    def by(self) -> str:
        """Return the actor in words that tell a claim from a person in Slack."""
        return str(self.acted_by) if self.acted_by else self.actor

    @property
    def cursor(self) -> str:
        """Return the place where the next page begins."""
        return str(Place(self.place or self.at.isoformat(), self.id))

    def summary(self) -> str:
        return f"{self.action} by {self.actor}"


class SessionActors(Dto):
    """Actors of a session's steps, and of its last draft; None where not known."""

    opened_by: StoredActor = None
    ready_by: StoredActor = None
    synced_by: StoredActor = None
    drafted_by: StoredActor = None

    def summary(self) -> str:
        return f"opened by {self.opened_by or 'a person not known'}"


@dataclass(frozen=True)
class Counts:
    """Counts by status or state, zeros included; ``other`` counts those that only another release knows.

    Attributes:
        sites_in_trouble: Jira sites that refuse us, so that their syncs are parked.
        slack_in_trouble: 1 while Slack refuses our token, so that status messages are parked.
        unsaid: status messages that are out of date.
        refused: status messages that Slack refuses for a reason of their own, such as an archived channel.
        oldest_due_seconds: time for which the most overdue sync has been due; 0 when none is.
    """

    sessions: Mapping[str, int]
    syncs: Mapping[str, int]
    dead_letters: Mapping[str, int]
    sites_in_trouble: int
    slack_in_trouble: int
    unsaid: int
    refused: int
    oldest_due_seconds: float


class OverviewStore(Store):
    """Store of operators' searches, decisions, counts and charts; it writes samples of the queues alone."""

    def find(self, text: str) -> list[ThreadSession]:
        """Find sessions by a ticket's key, a session's id, a channel and a timestamp, or a Slack link.

        Raises ``InvalidCommand`` for any other text.
        """
        text = text.strip()
        sessions = SessionStore(self._pool)
        if thread := thread_in(text):
            one = sessions.get_session_by_thread(*thread)
        elif _ID.fullmatch(text):
            one = sessions.get_session(text)
        elif _KEY.fullmatch(text):
            rows = self._rows(queries.FIND_BY_KEY, {"jira_key": text.upper(), "limit": _MOST_FOUND})
            return [ThreadSession.of_row(row) for row in rows]
        else:
            raise InvalidCommand(
                "that is no ticket's key, no session's id, no link to a Slack message, "
                "and no channel with a timestamp behind it"
            )
        return [one] if one else []

    def steps(self, session_id: UUID) -> tuple[datetime | None, datetime | None]:
        """Return the moments at which the session became ready and synced; None if it has not."""
        rows = self._rows(queries.STEPS, {"session_id": session_id})
        return (rows[0]["ready_at"], rows[0]["synced_at"]) if rows else (None, None)

    def actors(self, session_id: UUID) -> SessionActors:
        rows = self._rows(queries.ACTORS, {"session_id": session_id})
        return SessionActors.of_row(rows[0] if rows else {})

    def decisions(self, limit: int, cursor: str | None = None) -> list[Decision]:
        """Return a page of decisions, newest first. Raises ``InvalidCommand`` for a foreign cursor."""
        place = Place.of(cursor)
        rows = self._rows(queries.LIST_DECISIONS, {"at": place.at, "id": place.id, "limit": limit})
        return [Decision.of_row(row) for row in rows]

    def counts(self) -> Counts:
        """Count sessions, syncs and dead letters in one statement: 0.1 s for a million sessions."""
        found: dict[str, dict[str, float]] = {}
        for row in self._rows(queries.COUNTS, {}):
            found.setdefault(row["what"], {})[row["name"]] = row["value"]

        def counted(what: str, names: tuple[str, ...]) -> dict[str, int]:
            of_what = found.get(what, {})
            known = {name: int(of_what.get(name, 0)) for name in names}
            other = int(sum(of_what.values())) - sum(known.values())
            return {**known, OTHER: other} if other else known

        return Counts(
            sessions=counted("session", get_args(Status)),
            syncs=counted("sync", get_args(SyncStatus)),
            dead_letters=counted("dead_letter", get_args(DeadLetterState)),
            sites_in_trouble=int(found["site_in_trouble"][""]),
            slack_in_trouble=int(found["slack_in_trouble"][""]),
            unsaid=int(found["unsaid"][""]),
            refused=int(found["refused"][""]),
            oldest_due_seconds=found["oldest_due"][""],
        )

    def steps_over_time(self, seconds: int, bucket: int) -> Series:
        """Count sessions ``opened``, ``ready`` and ``synced``, in stretches of ``bucket`` seconds."""
        return self._series(queries.COUNT_STEPS, seconds, bucket)

    def attempts_over_time(self, seconds: int, bucket: int) -> Series:
        """Count ticket attempts by outcome."""
        return self._series(queries.COUNT_ATTEMPTS, seconds, bucket)

    def waits_over_time(self, seconds: int, bucket: int) -> Series:
        """Return the longest wait of a message in each queue, in seconds."""
        return self._series(queries.LONGEST_WAITS, seconds, bucket, queues=list(QUEUES))

    def keep_samples(self, waiting: Mapping[str, tuple[int, float | None]]) -> None:
        """Keep a sample of each queue for ``KEPT_DAYS``: its messages, and the age of the oldest."""
        params = {
            "queues": list(waiting),
            "waiting": [messages for messages, _ in waiting.values()],
            "oldest_seconds": [seconds for _, seconds in waiting.values()],
            "kept_days": KEPT_DAYS,
        }
        self._rows(queries.KEEP_SAMPLES, params)

    def _series(self, sql: LiteralString, seconds: int, bucket: int, **params: Any) -> Series:
        found: dict[str, dict[datetime, float]] = {}
        for row in self._rows(sql, {"seconds": seconds, "bucket": bucket, **params}):
            found.setdefault(row["what"], {})[row["at"]] = float(row["value"])
        return found


def thread_in(text: str) -> tuple[str, str] | None:
    """Return the channel and the thread in a Slack link, or in a channel id with a timestamp behind it."""
    if link := _LINK.fullmatch(text.strip()):
        reply = _REPLY.search(link[4] or "")
        return link[1], reply[1] if reply else f"{link[2]}.{link[3]}"
    thread = _THREAD.fullmatch(text.strip())
    return (thread[1], thread[2]) if thread else None
