"""Claim of an unlinked ticket."""

from __future__ import annotations

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from threadsync.types import SlackId, SlackTs


class UnlinkedClaim(BaseModel):
    """An unlinked ticket that this process has for the moment. Writes say its ``fence``.

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
    comment_deadline: AwareDatetime | None
    detail: str | None
