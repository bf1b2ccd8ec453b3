"""The commands: what a web process may ask of the worker. Each is data with a name, and one SQL statement.

A command that exists is valid: the constructor checks it, in the web process before it is sent and in the
worker before it is run, with the same rules. No I/O and no database driver here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from worker.db import statements
from worker.db.models import (
    ChannelContext,
    ContextResult,
    JiraKey,
    SessionPage,
    SessionResult,
    SlackId,
    SlackTs,
    Status,
    ThreadSession,
)
from worker.db.statements import AnyUuid, PageLimit, Statement, describe
from worker.errors import InvalidCommand

R = TypeVar("R")
SESSIONS_QUEUE: Final = "sessions"


class Command(BaseModel, ABC, Generic[R]):
    """What to do, with its arguments. ``name`` is the Celery task's name; ``R`` is what the worker answers.

    Raises ``InvalidCommand`` that names every fault, also when it is built.
    """

    # Fields that a newer producer added are ignored, so that web and worker may be upgraded in any order.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: ClassVar[str]
    queue: ClassVar[str] = SESSIONS_QUEUE
    result: ClassVar[TypeAdapter[Any]]

    def __init__(self, **arguments: Any) -> None:
        try:
            super().__init__(**arguments)
        except ValidationError as exc:
            raise InvalidCommand(f"{self.name}: {describe(exc)}") from exc

    def model_post_init(self, context: Any, /) -> None:
        # Rules that no field can state (a patch's depth, say) are the statement's own.
        self.statement()

    @classmethod
    def from_message(cls, args: Any, kwargs: Any) -> Self:
        """The command that a message carries; its arguments may be anything. Raises ``InvalidCommand``."""
        if args:
            raise InvalidCommand(f"{cls.name}: arguments have names; send them as keyword arguments")
        if not isinstance(kwargs, Mapping):
            raise InvalidCommand(f"{cls.name}: keyword arguments must be a JSON object")
        return cls(**{name: value for name, value in kwargs.items() if name in cls.model_fields})

    @classmethod
    def refuse_unknown(cls, names: Mapping[str, Any]) -> None:
        """For the sending side, where a name that the command does not have is a slip of the pen."""
        unknown = sorted(set(names) - set(cls.model_fields))
        if unknown:
            known = ", ".join(cls.model_fields)
            raise InvalidCommand(f"{cls.name}: no argument {', '.join(unknown)}; it takes {known}")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the message, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @abstractmethod
    def summary(self) -> str:
        """One short line for people who watch: which thread, and what for. Never what somebody wrote."""

    @abstractmethod
    def statement(self) -> Statement[R]:
        """The one SQL statement that carries the command out."""


class _AboutThread(Command[R], ABC):
    channel_id: SlackId
    thread_ts: SlackTs

    def summary(self) -> str:
        return f"{self.channel_id} / {self.thread_ts}"


class _AboutChannel(Command[R], ABC):
    channel_id: SlackId

    def summary(self) -> str:
        return self.channel_id


class GetOrCreate(_AboutThread[SessionResult]):
    """Open the thread's session; an existing one stays as it is."""

    name = "sessions.get_or_create"
    result = TypeAdapter(SessionResult)
    user_id: SlackId

    def statement(self) -> Statement[SessionResult]:
        return statements.get_or_create_session(self.channel_id, self.thread_ts, self.user_id)


class UpdateStatus(_AboutThread[SessionResult]):
    """Move the session forward to ``collecting`` or ``ready_to_sync``."""

    name = "sessions.update_status"
    result = TypeAdapter(SessionResult)
    status: Status

    def summary(self) -> str:
        return f"{super().summary()} → {self.status}"

    def statement(self) -> Statement[SessionResult]:
        return statements.update_status(self.channel_id, self.thread_ts, self.status)


class MarkSynced(_AboutThread[SessionResult]):
    """Write the ticket's key, once."""

    name = "sessions.mark_synced"
    result = TypeAdapter(SessionResult)
    jira_key: JiraKey

    def summary(self) -> str:
        return f"{super().summary()} → synced as {self.jira_key}"

    def statement(self) -> Statement[SessionResult]:
        return statements.mark_synced(self.channel_id, self.thread_ts, self.jira_key)


class GetSession(_AboutThread[ThreadSession | None]):
    """The thread's session, or None."""

    name = "sessions.get"
    result = TypeAdapter(ThreadSession | None)

    def statement(self) -> Statement[ThreadSession | None]:
        return statements.get_session_by_thread(self.channel_id, self.thread_ts)


class ListByChannel(_AboutChannel[SessionPage]):
    """A page of the channel's sessions, newest first."""

    name = "sessions.list_by_channel"
    result = TypeAdapter(SessionPage)
    status: Status | None = None
    limit: PageLimit = 50
    cursor: str | None = None

    def statement(self) -> Statement[SessionPage]:
        return statements.list_sessions_by_channel(self.channel_id, self.status, self.limit, self.cursor)


class GetContext(_AboutChannel[ChannelContext | None]):
    """The channel's context, or None."""

    name = "channels.get_context"
    result = TypeAdapter(ChannelContext | None)

    def statement(self) -> Statement[ChannelContext | None]:
        return statements.get_channel_context(self.channel_id)


class MergeContext(_AboutChannel[ContextResult]):
    """Apply an RFC 7396 merge patch to the channel's context; the same ``command_id`` twice applies once."""

    name = "channels.merge_context"
    result = TypeAdapter(ContextResult)
    patch: dict[str, Any]
    command_id: AnyUuid

    def statement(self) -> Statement[ContextResult]:
        return statements.merge_channel_context(self.channel_id, self.patch, self.command_id)

    def arguments(self) -> dict[str, Any]:
        # A null in the patch removes a key; it must travel.
        return {"channel_id": self.channel_id, "patch": self.patch, "command_id": str(self.command_id)}


COMMANDS: Final[tuple[type[Command[Any]], ...]] = (
    GetOrCreate,
    UpdateStatus,
    MarkSynced,
    GetSession,
    ListByChannel,
    GetContext,
    MergeContext,
)
