"""The commands on sessions and channels. Each is one SQL statement; the table is in docs/use/commands.md."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

from pydantic import TypeAdapter

from threadsync.actors import Actor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Message, StatementCommand
from threadsync.errors import InvalidCommand
from threadsync.queues import SESSIONS_QUEUE, SYNCS_QUEUE
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft
from threadsync.types import AnyUuid, DraftedAt, JiraId, JiraKey, PageLimit, Reason, SlackId, SlackTs, Status
from worker.db.sessions import statements
from worker.db.sessions.statements import Statement

R = TypeVar("R")


class _AboutThread(StatementCommand[R], ABC):
    queue: ClassVar[str] = SESSIONS_QUEUE
    channel_id: SlackId
    thread_ts: SlackTs

    def summary(self) -> str:
        return f"{self.channel_id} / {self.thread_ts}"


class _AboutChannel(StatementCommand[R], ABC):
    queue: ClassVar[str] = SESSIONS_QUEUE
    channel_id: SlackId

    def summary(self) -> str:
        return self.channel_id


class GetOrCreate(_AboutThread[SessionResult]):
    """Open the thread's session; an existing one stays as it is."""

    name = "sessions.get_or_create"
    result = TypeAdapter(SessionResult)
    user_id: SlackId
    actor: Actor | None = None

    def statement(self) -> Statement[SessionResult]:
        return statements.get_or_create_session(self.channel_id, self.thread_ts, self.user_id, self.actor)


class UpdateStatus(_AboutThread[SessionResult]):
    """Move the session forward to ``collecting`` or ``ready_to_sync``."""

    name = "sessions.update_status"
    result = TypeAdapter(SessionResult)
    status: Status
    actor: Actor | None = None

    def summary(self) -> str:
        return f"{super().summary()} → {self.status}"

    def statement(self) -> Statement[SessionResult]:
        return statements.update_status(self.channel_id, self.thread_ts, self.status, self.actor)


class MarkSynced(_AboutThread[SessionResult]):
    """Write the ticket's key, once."""

    name = "sessions.mark_synced"
    result = TypeAdapter(SessionResult)
    jira_key: JiraKey
    actor: Actor | None = None

    def summary(self) -> str:
        return f"{super().summary()} → synced as {self.jira_key}"

    def statement(self) -> Statement[SessionResult]:
        return statements.mark_synced(self.channel_id, self.thread_ts, self.jira_key, self.actor)


class Link(_AboutThread[SessionResult]):
    """Give the session the ticket that a person names; carried out once a ``command_id``.

    Whether there is such a ticket was asked before: ``jira.link`` does, and sends this.
    """

    name = "sessions.link"
    result = TypeAdapter(SessionResult)
    jira_key: JiraKey
    actor: Actor
    command_id: AnyUuid
    reason: Reason | None = None
    jira_id: JiraId | None = None

    def summary(self) -> str:
        return f"{super().summary()} → linked to {self.jira_key}"

    def statement(self) -> Statement[SessionResult]:
        return statements.link(
            self.channel_id,
            self.thread_ts,
            self.jira_key,
            self.actor,
            self.command_id,
            self.reason,
            self.jira_id,
        )


class Unlink(_AboutThread[SessionResult]):
    """Take the ticket off the session, as a person says; carried out once a ``command_id``.

    A draft that is older than ``unlinked_at`` makes no other ticket; the moment in which it is carried out,
    if None.
    """

    name = "sessions.unlink"
    result = TypeAdapter(SessionResult)
    jira_key: JiraKey
    actor: Actor
    reason: Reason
    command_id: AnyUuid
    unlinked_at: DraftedAt | None = None

    def summary(self) -> str:
        return f"{super().summary()} → {self.jira_key} taken off"

    def statement(self) -> Statement[SessionResult]:
        return statements.unlink(
            self.channel_id,
            self.thread_ts,
            self.jira_key,
            self.actor,
            self.reason,
            self.command_id,
            self.unlinked_at,
        )


class RequestSync(_AboutThread[SessionResult]):
    """Ask for the session's ticket, and say what is to be in it. The latest ``drafted_at`` wins."""

    name = "sessions.request_sync"
    result = TypeAdapter(SessionResult)
    draft: Draft
    drafted_at: DraftedAt
    actor: Actor | None = None

    def summary(self) -> str:
        return f"{super().summary()} → a ticket"

    @classmethod
    def refuse_unknown(cls, names: Mapping[str, Any]) -> None:
        super().refuse_unknown(names)
        draft = names.get("draft")
        unknown = sorted(set(draft) - set(Draft.model_fields)) if isinstance(draft, Mapping) else []
        if unknown:
            known = ", ".join(Draft.model_fields)
            raise InvalidCommand(f"{cls.name}: no draft.{', draft.'.join(unknown)}; a draft has {known}")

    def statement(self) -> Statement[SessionResult]:
        return statements.request_sync(
            self.channel_id, self.thread_ts, self.draft, self.drafted_at, self.actor
        )

    @classmethod
    def message_after(cls, result: SessionResult) -> Message | None:
        # One that is lost is sent by the sweep.
        if result.outcome != "applied":
            return None
        return Message("syncs.sync", {"session_id": str(result.id)}, SYNCS_QUEUE)


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
    actor: Actor | None = None

    def statement(self) -> Statement[ContextResult]:
        return statements.merge_channel_context(self.channel_id, self.patch, self.command_id, self.actor)

    def arguments(self) -> dict[str, Any]:
        # A null in the patch removes a key; it must travel.
        return {**super().arguments(), "patch": self.patch}


class ChannelMoved(_AboutChannel[ChannelMove]):
    """A channel got another id: either one leads to the same sessions and the same context then."""

    name = "channels.moved"
    result = TypeAdapter(ChannelMove)
    new_channel_id: SlackId
    actor: Actor | None = None

    def summary(self) -> str:
        return f"{self.channel_id} → {self.new_channel_id}"

    def statement(self) -> Statement[ChannelMove]:
        return statements.channel_moved(self.channel_id, self.new_channel_id, self.actor)


COMMANDS: Final[tuple[type[StatementCommand[Any]], ...]] = (
    GetOrCreate,
    UpdateStatus,
    MarkSynced,
    RequestSync,
    Link,
    Unlink,
    GetSession,
    ListByChannel,
    GetContext,
    MergeContext,
    ChannelMoved,
)
