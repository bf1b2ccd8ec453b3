"""Lists of sessions, syncs and dead letters for operators: what changed last comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, LiteralString, TypeVar

from threadsync.dead_letters import DeadLetter, DeadLetterState
from threadsync.sessions import ThreadSession
from threadsync.syncs import SyncState, SyncStatus
from threadsync.types import Status
from worker.db.overview import changed_sql as sql
from worker.db.paging import Place
from worker.db.store import Store

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Changed(Generic[R]):
    """A page of rows. ``following`` is the cursor of the next one; None on the last page."""

    rows: list[R]
    following: str | None


class ChangedStore(Store):
    """Pages of ``limit`` rows, last changed first. All raise ``InvalidCommand`` for a foreign cursor.

    A row that changes between two pages moves to the front; the others stay in their order.
    """

    def sessions(
        self, channel_id: str | None, status: Status | None, limit: int, cursor: str | None = None
    ) -> Changed[ThreadSession]:
        """Return sessions of all channels or one, of all statuses or one."""
        match channel_id, status:
            case None, None:
                statement: LiteralString = sql.SESSIONS
            case None, _:
                statement = sql.SESSIONS_BY_STATUS
            case _, None:
                statement = sql.SESSIONS_BY_CHANNEL
            case _:
                statement = sql.SESSIONS_BY_CHANNEL_AND_STATUS
        params = {"channel_id": channel_id, "status": status}
        return self._changed(statement, params, ThreadSession.of_row, "id", limit, cursor)

    def syncs(self, state: SyncStatus, limit: int, cursor: str | None = None) -> Changed[SyncState]:
        """Return syncs in one state."""
        return self._changed(
            sql.SYNCS_BY_STATE, {"state": state}, SyncState.of_row, "session_id", limit, cursor
        )

    def dead_letters(
        self, state: DeadLetterState, limit: int, cursor: str | None = None
    ) -> Changed[DeadLetter]:
        """Return dead letters in one state: open ones by the moment of death, others by that of settling."""
        return self._changed(
            sql.DEAD_LETTERS_BY_STATE, {"state": state}, DeadLetter.of_row, "id", limit, cursor
        )

    def _changed(
        self,
        statement: LiteralString,
        params: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], R],
        key: str,
        limit: int,
        cursor: str | None,
    ) -> Changed[R]:
        place = Place.of(cursor)
        # A row more than the page tells whether there is a next one.
        rows = self._rows(statement, {**params, "at": place.at, "id": place.id, "limit": limit + 1})
        last = rows[limit - 1] if len(rows) > limit else None
        following = str(Place(last["place"], last[key])) if last else None
        return Changed(list(map(read, rows[:limit])), following)
