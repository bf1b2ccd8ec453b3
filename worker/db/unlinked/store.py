"""Unlinked tickets in Postgres: claim one, write how its steps end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from threadsync.syncs import UnlinkedTicket
from threadsync.types import SlackId, SlackTs, describe
from worker.db.forgetting.arrivals import kept
from worker.db.store import Store
from worker.db.unlinked import sql as queries

log = structlog.get_logger("threadsync.worker")


class UnlinkedClaim(BaseModel):
    """Claim of an unlinked ticket; each write under it names its ``fence``.

    ``comment_deadline`` is that of a comment of which it is not known whether it was made.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    session_id: UUID
    channel_id: SlackId
    thread_ts: SlackTs
    newest_channel_id: SlackId | None
    jira_key: str
    jira_id: str | None
    site: str | None
    marker: str | None
    act_id: UUID
    left_at: AwareDatetime
    fence: int
    now: AwareDatetime
    failures: int
    link_removed_at: AwareDatetime | None
    commented_at: AwareDatetime | None
    comment_deadline: AwareDatetime | None
    detail: str | None


class UnlinkedStore(Store):
    """Store of unlinked tickets; each method is one statement."""

    def of(self, session_id: UUID) -> tuple[UnlinkedTicket, ...]:
        """Return the unlinked tickets of a session, oldest first."""
        rows = self._rows(queries.LIST_UNLINKED, {"session_id": session_id})
        return tuple(map(UnlinkedTicket.of_row, rows))

    def claim(self, session_id: UUID, jira_key: str, *, lease: float) -> UnlinkedClaim | None:
        """Claim an unlinked ticket for ``lease`` seconds; None if it is not due, or another process has it.

        None also for one that cannot be read, as another release may have written it.
        """
        params = {"session_id": session_id, "jira_key": jira_key, "lease": lease}
        rows = self._rows(queries.CLAIM, params)
        try:
            return UnlinkedClaim.model_validate(rows[0]) if rows else None
        except ValidationError as exc:
            log.warning("unlinked ticket cannot be read", session_id=str(session_id), faults=describe(exc))
            return None

    def note_id(self, session_id: UUID, jira_key: str, jira_id: str) -> None:
        """Keep the ticket's id in Jira, which stays when the ticket is moved."""
        params = {"session_id": session_id, "jira_key": jira_key, "jira_id": jira_id}
        self._rows(queries.NOTE_ID, params)

    def note_link_removed(self, claim: UnlinkedClaim) -> bool:
        """Note that the ticket's link to the thread is gone; False when the claim is lost."""
        return bool(self._rows(queries.NOTE_LINK_REMOVED, _of(claim)))

    def begin_comment(self, claim: UnlinkedClaim, deadline: float) -> bool:
        """Commit to a comment before it is sent; False when the claim is lost."""
        return bool(self._rows(queries.BEGIN_COMMENT, {**_of(claim), "deadline": deadline}))

    def release(
        self,
        claim: UnlinkedClaim,
        delay: float,
        *,
        failures: int = 0,
        detail: str | None = None,
        is_in_doubt: bool = False,
        is_commented: bool = False,
    ) -> None:
        """Release the claim for ``delay`` seconds.

        ``is_in_doubt``: a comment may have been made; ``is_commented``: it was made.
        """
        params = {
            "delay": delay,
            "failures": failures,
            "detail": kept(detail, self._pool),
            "is_in_doubt": is_in_doubt,
            "is_commented": is_commented,
        }
        self._rows(queries.RELEASE, {**_of(claim), **params})

    def end(self, claim: UnlinkedClaim, given_up: str | None = None, detail: str | None = None) -> bool:
        """End the ticket's steps: with its comment there, or ``given_up``; False when the claim is lost."""
        params = {**_of(claim), "given_up": given_up, "detail": kept(detail, self._pool)}
        return bool(self._rows(queries.END, params))

    def take_due(self, *, most: int, for_seconds: float) -> list[tuple[UUID, str]]:
        """Take due unlinked tickets, to send messages; no other caller gets them for ``for_seconds``."""
        rows = self._rows(queries.TAKE_DUE, {"most": most, "for_seconds": for_seconds})
        return [(row["session_id"], row["jira_key"]) for row in rows]


def _of(claim: UnlinkedClaim) -> dict[str, Any]:
    return {"session_id": claim.session_id, "jira_key": claim.jira_key, "fence": claim.fence}
