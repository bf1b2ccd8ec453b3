"""The DTOs: what leaves the database layer, and what results are made of. No I/O, no driver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints

Status = Literal["collecting", "ready_to_sync", "synced"]
Outcome = Literal["created", "applied", "unchanged", "stale"]

SlackId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
"""An id that Slack gives, such as ``C0123ABCD``: 1 to 64 characters."""

SlackTs = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{1,16}\.[0-9]{1,9}$")]
"""Slack's timestamp of a message, such as ``1700000000.000100``. Text: as a float it names another thread."""

JiraKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}$")]
"""An issue key, such as ``PROJ-123``."""


class Dto(BaseModel, ABC):
    """What all of them have."""

    # A newer worker may add fields; an older reader must not fail on them. What people wrote is in no error.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @abstractmethod
    def summary(self) -> str:
        """One short line for people who watch: which one, and its state. Never what somebody wrote."""


class ThreadSession(Dto):
    """The session of one Slack thread. Unique on ``(channel_id, thread_ts)``; times are aware, in UTC."""

    id: UUID
    channel_id: SlackId
    thread_ts: SlackTs
    user_id: SlackId
    status: Status
    jira_key: JiraKey | None
    created_at: AwareDatetime
    updated_at: AwareDatetime

    def summary(self) -> str:
        state = f"{self.status} as {self.jira_key}" if self.jira_key else self.status
        return f"{self.channel_id} / {self.thread_ts} → {state}"


class SessionResult(ThreadSession):
    """A session as a command left it, and what the command did: ``created | applied | unchanged | stale``."""

    outcome: Outcome

    def summary(self) -> str:
        return f"{super().summary()}: {self.outcome}"


class SessionPage(Dto):
    """Sessions of a channel, newest first. ``next_cursor`` is None on the last page."""

    sessions: tuple[ThreadSession, ...]
    next_cursor: str | None

    def summary(self) -> str:
        return f"sessions: {len(self.sessions)}{', and more' if self.next_cursor else ''}"


class ChannelContext(Dto):
    """What is known about a channel. ``version`` counts the patches applied, from 1."""

    channel_id: SlackId
    context_data: dict[str, Any]
    version: int
    updated_at: AwareDatetime

    def summary(self) -> str:
        return f"{self.channel_id} → context version {self.version}"


class ContextResult(ChannelContext):
    """A channel's context as a patch left it, and what the patch did: ``created | applied | unchanged``."""

    outcome: Outcome

    def summary(self) -> str:
        return f"{super().summary()}: {self.outcome}"


class ChannelMove(Dto):
    """A channel that got another id: ``applied``, or ``unchanged`` when that was known.

    Its rows stand under ``home_id``, calls to Slack go to ``newest_id``; ``sessions`` is how many threads had
    a session under both ids and have one now.
    """

    channel_id: SlackId
    new_channel_id: SlackId
    home_id: SlackId
    newest_id: SlackId
    sessions: int
    outcome: Outcome

    def summary(self) -> str:
        return f"{self.channel_id} → {self.new_channel_id}: {self.outcome}"


DeadLetterState = Literal["dead", "retried", "discarded"]


class DeadLetter(Dto):
    """A message that will not be run again by itself, with all that is needed to run it by hand.

    ``arguments`` is the JSON text ``{"args": […], "kwargs": {…}}`` exactly as it came, or None when the
    message could not be read; then ``body`` has its bytes. ``state`` is ``dead``, ``retried`` or
    ``discarded``; ``actor`` and ``reason`` say who settled it and why.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    id: UUID
    task_id: str
    task_name: str
    queue: str
    arguments: str | None
    body: bytes | None
    error_type: str
    error: str
    attempts: int
    first_attempt_at: datetime | None
    died_at: AwareDatetime
    state: DeadLetterState
    settled_at: datetime | None
    actor: str | None
    reason: str | None

    def summary(self) -> str:
        return f"{self.task_name} {self.task_id}: {self.error_type}, {self.state}"
