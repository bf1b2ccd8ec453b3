"""Tickets that were taken off their sessions, in Postgres: claim one, write how its steps end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import structlog
from psycopg.rows import DictRow
from pydantic import ValidationError

from threadsync.syncs import LeftClaim, LeftTicket
from threadsync.types import describe
from worker.db.driver_errors import translated
from worker.db.forgetting.jira_words import kept
from worker.db.pool import Pool, init_db
from worker.db.unlinked import sql as queries

log = structlog.get_logger("threadsync.worker")


class LeftStore:
    """Each method is one statement. All raise ``DatabaseUnavailable`` when Postgres is away.

    Args:
        pool, clock: as ``SyncStore`` has them, whose ``left`` makes one.
    """

    def __init__(self, pool: Pool | None = None, clock: Callable[[], datetime] | None = None) -> None:
        self._pool = pool
        self._clock = clock

    def of(self, session_id: UUID) -> tuple[LeftTicket, ...]:
        """Return the tickets that were taken off a session, oldest first."""
        rows = self._rows(queries.LIST_LEFT, {"session_id": session_id})
        return tuple(map(LeftTicket.of_row, rows))

    def claim(self, session_id: UUID, jira_key: str, *, lease: float) -> LeftClaim | None:
        """Take one that is due for ``lease`` seconds; None if it is not due, or another process has it.

        None also for one that cannot be read, as another release may have written it.
        """
        params = {"session_id": session_id, "jira_key": jira_key, "lease": lease}
        rows = self._rows(queries.CLAIM_LEFT, params)
        try:
            return LeftClaim.model_validate(rows[0]) if rows else None
        except ValidationError as exc:
            log.warning("left ticket cannot be read", session_id=str(session_id), faults=describe(exc))
            return None

    def note_id(self, session_id: UUID, jira_key: str, jira_id: str) -> None:
        """Keep Jira's id of it, which stays when the ticket is moved."""
        params = {"session_id": session_id, "jira_key": jira_key, "jira_id": jira_id}
        self._rows(queries.NOTE_LEFT_ID, params)

    def note_link_removed(self, claim: LeftClaim) -> bool:
        """Note that its link to the thread is gone; False when the claim is lost."""
        return bool(self._rows(queries.NOTE_LINK_REMOVED, _of(claim)))

    def begin_comment(self, claim: LeftClaim, deadline: float) -> bool:
        """Commit to a comment before it is sent; False when the claim is lost."""
        return bool(self._rows(queries.BEGIN_COMMENT, {**_of(claim), "deadline": deadline}))

    def release(
        self,
        claim: LeftClaim,
        delay: float,
        *,
        failures: int = 0,
        detail: str | None = None,
        is_in_doubt: bool = False,
    ) -> None:
        """Let go of it for ``delay`` seconds. ``is_in_doubt``: a comment may have been made."""
        params = {
            "delay": delay,
            "failures": failures,
            "detail": kept(detail, self._pool),
            "is_in_doubt": is_in_doubt,
        }
        self._rows(queries.RELEASE_LEFT, {**_of(claim), **params})

    def end(self, claim: LeftClaim, given_up: str | None = None, detail: str | None = None) -> None:
        """End its steps: with its comment there, or ``given_up`` for a reason."""
        self._rows(queries.END_LEFT, {**_of(claim), "given_up": given_up, "detail": kept(detail, self._pool)})

    def take_due(self, *, most: int, for_seconds: float) -> list[tuple[UUID, str]]:
        """Due ones to send a message for; no other caller gets them for ``for_seconds``."""
        rows = self._rows(queries.TAKE_DUE_LEFT, {"most": most, "for_seconds": for_seconds})
        return [(row["session_id"], row["jira_key"]) for row in rows]

    def _rows(self, sql: LiteralString, params: Mapping[str, Any]) -> list[DictRow]:
        now = self._clock() if self._clock else None
        with translated(), (self._pool or init_db()).connection() as connection:
            return connection.execute(sql, {"now": now, **params}).fetchall()


def _of(claim: LeftClaim) -> dict[str, Any]:
    return {"session_id": claim.session_id, "jira_key": claim.jira_key, "fence": claim.fence}
