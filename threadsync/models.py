"""The DTOs: what leaves the database layer, and what results are made of. No I/O, no driver."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, Literal, Self, cast
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    PrivateAttr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

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

    _unreadable: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a stored row, also one that another release or a person wrote: nothing beside it is lost.

        A value that is none of ours stays as its text, or is None, and `unreadable` names it. So a reader
        that tells values apart must have a branch for those that it does not know.
        """
        try:
            return cls.model_validate(row)
        except ValidationError as exc:
            return cls._without(row, {str(error["loc"][0]) for error in exc.errors(include_input=False)})

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The members whose stored value is none that this release knows."""
        return self._unreadable

    def as_json(self) -> dict[str, Any]:
        """Its JSON values; with `unreadable` among them if there is any."""
        values = self.model_dump(mode="json", warnings=False)
        return {**values, "unreadable": list(self._unreadable)} if self._unreadable else values

    @abstractmethod
    def summary(self) -> str:
        """One short line for people who watch: which one, and its state. Never what somebody wrote."""

    @classmethod
    def _without(cls, row: Mapping[str, Any], bad: set[str]) -> Self:
        members = _members(cls)
        read: dict[str, Any] = {
            name: _stand_in(row.get(name)) if name in bad else member.validate_python(row[name])
            for name, member in members.items()
            if name in bad or name in row
        }
        made = cast("Self", cls.model_construct(**read))
        made._unreadable = tuple(name for name in members if name in bad)
        return made


@cache
def _members(model: type[Dto]) -> dict[str, TypeAdapter[Any]]:
    """A validator for each member alone."""
    return {name: TypeAdapter(field.rebuild_annotation()) for name, field in model.model_fields.items()}


_LONGEST_STAND_IN: Final = 255


def _stand_in(value: Any) -> str | None:
    """The text of a value that is none of ours, as far as it is worth showing."""
    return value[:_LONGEST_STAND_IN] if isinstance(value, str) else None


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


_A_STATUS: Final = re.compile(r"[a-z][a-z_]{0,49}", re.ASCII)


def _of_another_release(value: Any, read: ValidatorFunctionWrapHandler) -> ThreadSession:
    """Let a session pass whose status alone is not known here: a newer worker may have more of them."""
    try:
        session: ThreadSession = read(value)
    except ValidationError as exc:
        bad = {error["loc"] for error in exc.errors(include_input=False)}
        if bad != {("status",)} or not _A_STATUS.fullmatch(str(value["status"])):
            raise
        return ThreadSession.of_row(value)
    return session


StoredSession = Annotated[ThreadSession, WrapValidator(_of_another_release)]
"""A session as a result has it; its status may be one of a newer release."""


class SessionResult(ThreadSession):
    """A session as a command left it, and what the command did: ``created | applied | unchanged | stale``."""

    outcome: Outcome

    def summary(self) -> str:
        return f"{super().summary()}: {self.outcome}"


class SessionPage(Dto):
    """Sessions of a channel, newest first. ``next_cursor`` is None on the last page."""

    sessions: tuple[StoredSession, ...]
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
