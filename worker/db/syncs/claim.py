"""Claim of a sync, and the values written under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict

from threadsync.actors import AnyActor, StoredActor
from threadsync.channel_settings.values import ChannelSettings, read_member
from threadsync.marker import marker_of
from threadsync.syncs import (
    Draft,
    MadeWith,
    Origin,
    Step,
    SyncState,
    SyncStatus,
    readable,
    readable_made_with,
)
from threadsync.types import JiraKey, SlackId, SlackTs
from worker.db.syncs.progress import FRESH, Progress


class Sender(BaseModel):
    """The account that sent a create, as `worker.jira.login` names it, and whether it named a reporter.

    ``account`` is None for creates of a release that did not record it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    account: str | None = None
    has_reporter: bool = False


def _readable_settings(member: Any) -> ChannelSettings:
    return member if isinstance(member, ChannelSettings) else read_member(member).settings


class Claim(BaseModel):
    """A sync that this process has for the moment: all that a step needs to know of it.

    Writes say its ``fence``; ``now`` is the database's clock. ``deadline``, ``baseline`` and
    ``doubtful_project`` are about a create whose end is not known: its deadline, and where to look for its
    ticket; ``doubtful_senders`` are who sent such creates. ``reason`` is that of the step before.
    ``drafted_by`` is who asked; ``was_reporter_refused``: Jira refused to have that person as the reporter.
    ``newest_channel_id`` is the channel's id in Slack by now, where that is another one.
    ``session_key`` is the ticket that the session has. ``draft`` is None if it cannot be read.
    ``is_unlinked``: the session's ticket was unlinked since the draft was written. ``unlinked_keys`` and
    ``unlinked_ids`` are of all such tickets; ``unlinked_without_id`` are keys of those whose id is not known.
    ``channel_settings`` are those of the channel now; ``made_with`` is of the last create.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    session_id: UUID
    channel_id: SlackId
    thread_ts: SlackTs
    newest_channel_id: SlackId | None = None
    session_key: JiraKey | None
    fence: int
    now: AwareDatetime
    state: SyncStatus
    reason: str | None = None
    site: str
    marker: str
    draft: Annotated[Draft | None, BeforeValidator(readable)]
    channel_settings: Annotated[ChannelSettings, BeforeValidator(_readable_settings)]
    made_with: Annotated[MadeWith | None, BeforeValidator(readable_made_with)] = None
    unfinished_claims: int
    progress: Progress
    jira_key: JiraKey | None
    origin: Origin | None
    done_at: AwareDatetime | None
    linked_back_at: AwareDatetime | None
    audited_at: AwareDatetime | None
    deadline: AwareDatetime | None
    baseline: int | None
    doubtful_project: str | None
    doubtful_senders: tuple[Sender, ...] = ()
    drafted_by: StoredActor = None
    was_reporter_refused: bool = False
    is_unlinked: bool
    unlinked_keys: tuple[str, ...]
    unlinked_ids: tuple[str, ...]
    unlinked_without_id: tuple[str, ...]
    duplicates: tuple[str, ...]
    updated_before: AwareDatetime

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of the statement. Raises ``ValidationError``."""
        marker = row["marker"] or marker_of(row["site"], row["channel_id"], row["thread_ts"])
        return cls.model_validate({**row, "progress": row, "marker": marker})

    def changed(self, state: SyncState) -> bool:
        """Return True if the sync shows something else than before the claim."""
        return (state.updated_at, state.duplicates) != (self.updated_before, self.duplicates)


@dataclass(frozen=True, slots=True)
class Begun:
    """A create that is committed to: send this draft, and end attempt ``number``."""

    draft: Draft
    number: int
    drafted_by: AnyActor | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """End of a step, and the state after it.

    Args:
        number: of the create that ended; None notes a new attempt, of ``step``.
        outcome: None notes no attempt.
        doubt_ends_as: what the creates in doubt turned out to be.
    """

    state: SyncStatus
    step: Step
    outcome: str | None
    delay: float | None = None
    reason: str | None = None
    detail: str | None = None
    parked: bool = False
    progress: Progress = FRESH
    jira_id: str | None = None
    jira_key: str | None = None
    origin: Origin | None = None
    number: int | None = None
    started_at: datetime | None = None
    http_status: int | None = None
    trace_id: str | None = None
    doubt_ends_as: str | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the ending as parameters of a statement."""
        return {**asdict(self), **asdict(self.progress), "delay": self.delay or 0.0}
