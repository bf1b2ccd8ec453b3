"""Forgetting in Postgres: acts, their steps, and retention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

from psycopg import errors
from psycopg.rows import DictRow
from psycopg.sql import SQL

from threadsync.actors import AnyActor, as_json
from worker.db.connection import ANSWER_MARGIN_SECONDS, answering_within
from worker.db.driver_errors import translated
from worker.db.forgetting import sql as queries
from worker.db.forgetting.functions import NAMED_IN
from worker.db.forgetting.words import as_compared
from worker.db.store import Store

What = Literal["thread", "channel", "user"]

AT_ONCE: Final = 100
"""Number of sessions in one transaction: their rows are locked until it ends."""

_STATEMENT_SECONDS: Final = 300
_LIMIT: Final = SQL("SET LOCAL statement_timeout = {}").format(_STATEMENT_SECONDS * 1000)
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Thread:
    """A session, and its thread under one id of its channel."""

    id: UUID
    channel_id: str
    thread_ts: str


@dataclass(frozen=True, slots=True)
class TooOld:
    """Numbers of rows that one batch of retention erased."""

    drafts: int
    letters: int
    sessions: int

    @property
    def most(self) -> int:
        return max(self.drafts, self.letters, self.sessions)


@dataclass(frozen=True, slots=True)
class ForgottenPerson:
    """The hash of an id or a name whose messages may be on their way, its key, and its number of letters."""

    key: bytes
    hash: bytes
    letters: int


class ForgetStore(Store):
    """Acts of forgetting and retention. Every method may be repeated."""

    def begin(
        self, what: What, subject: str | None, *, actor: str, reason: str, acted_by: AnyActor | None = None
    ) -> UUID:
        """Record an act; ``subject`` is a thread or a channel, and None of a person."""
        params = {"what": what, "subject": subject, "actor": actor, "reason": reason}
        params["acted_by"] = as_json(acted_by)
        act: UUID = self._rows(queries.BEGIN, params)[0]["id"]
        return act

    def threads_of(self, session_id: UUID) -> list[Thread]:
        """Return the session, and others that stand for the same thread."""
        found = self._rows(queries.SESSIONS_OF_THREAD, {"session_id": session_id})
        return [Thread(**row) for row in found]

    def opened_by(self, person: str) -> list[Thread]:
        """Return the threads that the person opened."""
        return [Thread(**row) for row in self._rows(queries.OPENED_BY, {"person": person})]

    def forget_sessions(self, act: UUID, sessions: Sequence[UUID]) -> int:
        """Make tombstones of these sessions; return how many wait for a sync in doubt."""
        return int(
            self._rows(queries.FORGET_SESSIONS, {"act": act, "sessions": list(sessions)})[0]["waiting"]
        )

    def forget_channel(self, act: UUID, channel_id: str) -> list[str]:
        """Empty the channel's context, and have old threads opened as tombstones; return all its ids."""
        [row] = self._rows(queries.FORGET_CHANNEL, {"act": act, "channel_id": channel_id})
        return list(row["channel_ids"])

    def knows_channel(self, channel_id: str) -> bool:
        """Return True if the channel has or had a thread, under this id or another one."""
        return bool(self._rows(queries.KNOWS_CHANNEL, {"channel_id": channel_id})[0]["is_known"])

    def sessions_of(self, channel_ids: Sequence[str]) -> Iterator[list[UUID]]:
        """Yield pages of the channels' sessions; each must be forgotten before the next one."""
        params = {"channel_ids": list(channel_ids), "most": AT_ONCE}
        while page := self._rows(queries.SESSIONS_OF_CHANNELS, params):
            yield [row["id"] for row in page]

    def expect_person(self, act: UUID, person: str) -> None:
        """Have workers redact messages that name the person, by id or by name, at their next look."""
        self._rows(queries.FORGET_PERSON, {"act": act, "person": as_compared(person)})

    def forget_opened_by(self, act: UUID, person: str) -> tuple[int, int]:
        """Erase the person and the words in all sessions that the person opened.

        Return how many there are, and how many wait for a sync in doubt.
        """
        count = waiting = 0
        params = {"act": act, "person": person, "most": AT_ONCE}
        while (batch := self._rows(queries.FORGET_OPENED_BY, params)[0])["sessions"]:
            count += batch["sessions"]
            waiting += batch["waiting"]
        return count, waiting

    def forget_named(self, act: UUID, person: str, names: Sequence[str]) -> int:
        """Erase id and names in all other rows; return how many had them."""
        params = {"act": act, "person": person, "names": list(names)}
        places = (self._rows(queries.FORGET_NAMED, {**params, "place": place}) for place in NAMED_IN)
        return sum(rows[0]["changed"] for rows in places)

    def letters(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield pages of all dead letters, whole."""
        after = UUID(int=0)
        while page := self._rows(queries.LETTERS, {"after": after, "most": AT_ONCE}):
            yield page
            after = page[-1]["id"]

    def openings(self) -> list[tuple[str, str]]:
        """Return the ids and tasks of messages that were opened alone."""
        return [(row["task_id"], row["task_name"]) for row in self._rows(queries.OPENINGS, {})]

    def delete(self, act: UUID, letters: Sequence[UUID], openings: Sequence[str]) -> int:
        """Delete these dead letters and records; return the number of dead letters."""
        params = {"act": act, "letters": list(letters), "openings": list(openings)}
        return int(self._rows(queries.FORGET_LETTERS, params)[0]["deleted"])

    def forget_settled(self) -> int:
        """Forget sessions whose syncs are no longer in doubt; return how many."""
        return int(self._rows(queries.FORGET_SETTLED, {})[0]["settled"])

    def retain(
        self, *, drafts_days: int | None, letters_days: int | None, sessions_days: int | None, most: int
    ) -> TooOld:
        """Erase a batch of rows older than so many days; None keeps them."""
        params = {
            "drafts_days": drafts_days,
            "letters_days": letters_days,
            "sessions_days": sessions_days,
            "most": most,
        }
        return TooOld(**self._rows(queries.RETAIN, params)[0])

    def people(self) -> list[ForgottenPerson]:
        """Return the people forgotten within the last day. Each process asks, so the usual limits hold."""
        rows = super()._rows(queries.PEOPLE, {})
        return [ForgottenPerson(row["key"], row["hash"], row["letters"]) for row in rows]

    def is_tombstone(self, session_id: UUID, channel_id: str, thread_ts: str) -> bool:
        """Return True if the session, or the thread's, was forgotten. The usual time limits hold."""
        params = {"session_id": session_id, "channel_id": channel_id, "thread_ts": thread_ts}
        return bool(super()._rows(queries.IS_TOMBSTONE, params)[0]["is_tombstone"])

    def _rows(self, sql: LiteralString, params: Mapping[str, Any]) -> list[DictRow]:
        """Run a statement that may take ``_STATEMENT_SECONDS``; repeat it after a lost race for a lock."""
        with translated():
            for _ in range(_TRIES - 1):
                # Session commands lock rows in an order of their own.
                with suppress(errors.DeadlockDetected, errors.LockNotAvailable):
                    return self._rows_once(sql, params)
            return self._rows_once(sql, params)

    def _rows_once(self, sql: LiteralString, params: Mapping[str, Any]) -> list[DictRow]:
        with (
            self._opened.connection() as connection,
            answering_within(connection, _STATEMENT_SECONDS + ANSWER_MARGIN_SECONDS),
            connection.transaction(),
        ):
            connection.execute(_LIMIT)
            return connection.execute(sql, params).fetchall()
