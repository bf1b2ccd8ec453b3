"""Syncs: drafts, states, attempts, decisions and claims."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from threadsync.actors import StoredActor
from threadsync.draft_fields import DraftFields
from threadsync.dto import Dto
from threadsync.ticket_steps import TicketStep
from threadsync.types import JiraKey, SlackId, SlackTs

SyncStatus = Literal["pending", "inflight", "retry_wait", "unknown", "blocked", "failed", "review", "done"]
Step = Literal["search", "create", "look", "link_back", "audit"]
Origin = Literal["created", "found", "named"]
Source = Literal["draft", "channel", "settings"]
"""Where a value of a ticket comes from."""

LONGEST_DRAFT_SUMMARY: Final = 10_000
LONGEST_DRAFT_DESCRIPTION: Final = 200_000


def _storable(text: str) -> str:
    """Refuse text that Postgres cannot keep as JSON."""
    if "\x00" in text:
        raise ValueError("contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


Text = Annotated[str, AfterValidator(_storable)]
ShortName = Annotated[Text, AfterValidator(_not_blank), Field(max_length=255)]
"""The name of something in Jira: a type, a priority, a label."""

ProjectKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z][A-Z0-9_]{0,49}$")]
"""A Jira project's key, such as ``PROJ``."""


class Draft(BaseModel):
    """The text of a ticket, in Slack's mrkdwn; what Jira has no room for is cut when it is sent.

    ``project_key``, ``issue_type`` and ``priority`` are those of the channel where they are None, else of the
    worker's settings. ``assignee`` is Jira's account id, or the user's name on Data Center. ``fields`` has
    values by the id of their field, as Jira takes them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    summary: Annotated[Text, AfterValidator(_not_blank), Field(max_length=LONGEST_DRAFT_SUMMARY)]
    description: Annotated[Text, Field(max_length=LONGEST_DRAFT_DESCRIPTION)] = ""
    project_key: ProjectKey | None = None
    issue_type: ShortName | None = None
    labels: tuple[ShortName, ...] = Field((), max_length=50)
    # None, and not empty: a draft without them is stored and compared as those of 0.1.0 are.
    priority: ShortName | None = None
    assignee: ShortName | None = None
    fields: DraftFields | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _as_json_has_it(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


def readable(draft: Any) -> Draft | None:
    """Return the draft of a row; None if it is invalid: another release or a person may have written it."""
    try:
        return Draft.model_validate(draft)
    except ValidationError:
        return None


UNREADABLE: Final = Draft(summary="(the stored draft cannot be read)")
"""Shown in place of an unreadable draft."""


class MadeWith(BaseModel):
    """What a ticket was made with, and where that comes from: ``draft | channel | settings``.

    ``issue_type`` is None where the draft named it: it is a word of a person's then.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    project_key: ProjectKey
    project_from: Source
    issue_type: ShortName | None = None
    issue_type_from: Source


def readable_made_with(stored: Any) -> MadeWith | None:
    """Return what a row says; None if that is nothing, or invalid."""
    try:
        return MadeWith.model_validate(stored)
    except ValidationError:
        return None


class SyncState(Dto):
    """The state of a session's sync. It holds nothing that a person wrote, so it may be shown anywhere.

    ``reason`` is a code: ``threadsync.reasons`` has words for it. ``next_attempt_at`` is None when nothing
    happens by itself. ``origin`` is where the session has its ticket from: ``created | found | named``.
    ``site`` is its Jira, as ``threadsync.marker.site_of`` spells it; None before the first attempt.
    ``made_with`` is of the last create; None before the first one, and of one from before 0.2.
    ``is_refused``: of ``syncs.retry``, that this person may not act in the channel, and nothing was done.
    """

    session_id: UUID
    channel_id: SlackId
    thread_ts: SlackTs
    state: SyncStatus
    reason: str | None
    parked: bool
    site: str | None = None
    attempts: int
    next_attempt_at: AwareDatetime | None
    jira_key: JiraKey | None
    origin: Origin | None
    duplicates: tuple[str, ...]
    requested_at: AwareDatetime
    updated_at: AwareDatetime
    made_with: Annotated[MadeWith | None, BeforeValidator(readable_made_with)] = None
    is_refused: bool = False

    def summary(self) -> str:
        state = f"{self.state} as {self.jira_key}" if self.jira_key else self.state
        return f"{self.channel_id} / {self.thread_ts} → {state}{f' ({self.reason})' if self.reason else ''}"


class Attempt(Dto):
    """One attempt of a sync. ``detail`` is Jira's own words and may quote the draft.

    ``outcome`` is None while it is in progress, or when its process died.
    """

    number: int
    step: Step
    started_at: AwareDatetime
    deadline: AwareDatetime | None
    finished_at: AwareDatetime | None
    outcome: str | None
    http_status: int | None
    trace_id: str | None
    reason: str | None
    detail: str | None

    def summary(self) -> str:
        return f"{self.number}. {self.step}: {self.outcome or 'in progress'}"


class SyncAction(Dto):
    """A decision of a person about a session's ticket: ``retry | link | unlink | give_up``.

    ``actor`` is a bare name or Slack id; ``acted_by`` has its source, and is None before 0.2.
    ``jira_key`` is the ticket of a ``link`` or ``unlink``.
    """

    at: AwareDatetime
    action: Literal["retry", "link", "unlink", "give_up"]
    actor: str
    reason: str
    acted_by: StoredActor = None
    jira_key: str | None = None

    @property
    def by(self) -> str:
        """The actor for people, who can tell a claim from a person in Slack."""
        return str(self.acted_by) if self.acted_by else self.actor

    def summary(self) -> str:
        return f"{self.action} by {self.actor}"


class UnlinkedTicket(Dto):
    """A ticket that was unlinked from the session, and how far that is in Jira.

    ``given_up`` is a code for why it did not get its comment; ``detail`` may be Jira's own words.
    """

    jira_key: str
    left_at: AwareDatetime
    linked_again_at: AwareDatetime | None
    link_removed_at: AwareDatetime | None
    commented_at: AwareDatetime | None
    given_up: str | None
    detail: str | None
    next_attempt_at: AwareDatetime | None

    @property
    def state(self) -> str:
        """The state in words."""
        if self.linked_again_at:
            return "was linked again"
        if self.given_up:
            return f"got no comment in Jira: {self.given_up.replace('_', ' ')}"
        return "got its comment in Jira" if self.commented_at else "waits for its comment in Jira"

    def summary(self) -> str:
        return f"{self.jira_key}: {self.state}"


class SyncDetail(Dto):
    """All that is known of a sync, for people who may read the thread: the draft is in it.

    ``slack_trouble`` is Slack's error for which the message in the thread is not up to date.
    """

    sync: SyncState
    draft: Draft
    drafted_at: str
    detail: str | None
    marker: str | None
    slack_trouble: str | None = None
    attempts: tuple[Attempt, ...]
    actions: tuple[SyncAction, ...]
    unlinked: tuple[UnlinkedTicket, ...] = ()
    steps: tuple[TicketStep, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            **super().as_json(),
            "sync": self.sync.as_json(),
            "attempts": [attempt.as_json() for attempt in self.attempts],
            "actions": [action.as_json() for action in self.actions],
            "unlinked": [ticket.as_json() for ticket in self.unlinked],
            "steps": [step.as_json() for step in self.steps],
        }

    def summary(self) -> str:
        return self.sync.summary()
