"""The commands on sessions and channels: docs/use/commands.md. Their SQL is in ``worker/db/sessions``."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ValidationInfo, field_validator

from threadsync.actors import Actor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Command, R
from threadsync.errors import InvalidCommand
from threadsync.patch import Patch
from threadsync.queues import SESSIONS_QUEUE
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft
from threadsync.types import (
    AnyUuid,
    Cursor,
    DraftedAt,
    JiraId,
    JiraKey,
    PageLimit,
    Reason,
    SlackId,
    SlackTs,
    Status,
    StatusToSet,
)


class _AboutThread(Command[R], ABC):
    queue: ClassVar[str] = SESSIONS_QUEUE
    channel_id: SlackId
    thread_ts: SlackTs

    def summary(self) -> str:
        return f"{self.channel_id} / {self.thread_ts}"


class _AboutChannel(Command[R], ABC):
    queue: ClassVar[str] = SESSIONS_QUEUE
    channel_id: SlackId

    def summary(self) -> str:
        return self.channel_id


class GetOrCreate(_AboutThread[SessionResult]):
    """Open the thread's session; an existing one stays as it is, ``user_id`` included."""

    name = "sessions.get_or_create"
    user_id: SlackId
    actor: Actor | None = None


class UpdateStatus(_AboutThread[SessionResult]):
    """Move the session forward to ``collecting`` or ``ready_to_sync``."""

    name = "sessions.update_status"
    status: StatusToSet
    actor: Actor | None = None

    def summary(self) -> str:
        return f"{super().summary()} → {self.status}"


class MarkSynced(_AboutThread[SessionResult]):
    """Write the ticket's key, once."""

    name = "sessions.mark_synced"
    jira_key: JiraKey
    actor: Actor | None = None

    def summary(self) -> str:
        return f"{super().summary()} → synced as {self.jira_key}"


class Link(_AboutThread[SessionResult]):
    """Give the session the ticket that a person names, once for each ``command_id``.

    It does not ask Jira whether the ticket exists: ``jira.link`` does, and sends this.
    """

    name = "sessions.link"
    jira_key: JiraKey
    actor: Actor
    command_id: AnyUuid
    reason: Reason | None = None
    jira_id: JiraId | None = None

    def summary(self) -> str:
        return f"{super().summary()} → linked to {self.jira_key}"


class Unlink(_AboutThread[SessionResult]):
    """Unlink the session's ticket for a person, once for each ``command_id``.

    A draft that is older than ``unlinked_at`` makes no other ticket; None means Postgres' time.
    """

    name = "sessions.unlink"
    jira_key: JiraKey
    actor: Actor
    reason: Reason
    command_id: AnyUuid
    unlinked_at: DraftedAt | None = None

    def summary(self) -> str:
        return f"{super().summary()} → {self.jira_key} unlinked"


class RequestSync(_AboutThread[SessionResult]):
    """Ask for the session's ticket, and say what is to be in it. The latest ``drafted_at`` wins."""

    name = "sessions.request_sync"
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


class GetSession(_AboutThread[ThreadSession | None]):
    """Return the thread's session, or None."""

    name = "sessions.get"


class ListByChannel(_AboutChannel[SessionPage]):
    """Return a page of the channel's sessions, newest first."""

    name = "sessions.list_by_channel"
    status: Status | None = None
    limit: PageLimit = 50
    cursor: Cursor | None = None


class GetContext(_AboutChannel[ChannelContext | None]):
    """Return the channel's context, or None."""

    name = "channels.get_context"


class MergeContext(_AboutChannel[ContextResult]):
    """Apply an RFC 7396 merge patch to the channel's context, once for each ``command_id``.

    A patch of the member ``threadsync`` is an act on the channel's settings, recorded with its ``reason``.
    """

    name = "channels.merge_context"
    patch: Patch
    command_id: AnyUuid
    actor: Actor | None = None
    reason: Reason | None = None

    def arguments(self) -> dict[str, Any]:
        # A null in the patch removes a key; it must travel.
        return {**super().arguments(), "patch": self.patch}


class ChannelMoved(_AboutChannel[ChannelMove]):
    """Note that a channel got another id; either id leads to the same sessions and context then."""

    name = "channels.moved"
    new_channel_id: SlackId
    actor: Actor | None = None

    @field_validator("new_channel_id")
    @classmethod
    def _is_another(cls, new_channel_id: str, others: ValidationInfo) -> str:
        if new_channel_id == others.data.get("channel_id"):
            raise ValueError("is the same as channel_id")
        return new_channel_id

    def summary(self) -> str:
        return f"{self.channel_id} → {self.new_channel_id}"
