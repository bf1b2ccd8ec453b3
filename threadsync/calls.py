"""Build the command of each method of ``SessionClient`` and ``AsyncSessionClient``, in one place for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

from threadsync.actors import AnyActor
from threadsync.command import Command
from threadsync.commands import (
    ChannelMoved,
    GetContext,
    GetOrCreate,
    GetSession,
    Link,
    ListByChannel,
    MarkSynced,
    MergeContext,
    RequestSync,
    Unlink,
    UpdateStatus,
)
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.sync_commands import RetrySync
from threadsync.syncs import Draft
from threadsync.types import Status

L = TypeVar("L", Link, LinkLookup)


def get_or_create(channel_id: str, thread_ts: str, user_id: str, actor: AnyActor | None) -> GetOrCreate:
    return GetOrCreate(channel_id=channel_id, thread_ts=thread_ts, user_id=user_id, actor=actor)


def update_status(channel_id: str, thread_ts: str, status: Status, actor: AnyActor | None) -> UpdateStatus:
    return UpdateStatus(channel_id=channel_id, thread_ts=thread_ts, status=status, actor=actor)


def mark_synced(channel_id: str, thread_ts: str, jira_key: str, actor: AnyActor | None) -> MarkSynced:
    return MarkSynced(channel_id=channel_id, thread_ts=thread_ts, jira_key=jira_key, actor=actor)


def request_sync(
    channel_id: str,
    thread_ts: str,
    draft: Draft | Mapping[str, Any],
    drafted_at: str,
    actor: AnyActor | None,
) -> RequestSync:
    arguments: dict[str, Any] = {
        "channel_id": channel_id,
        "thread_ts": thread_ts,
        "draft": draft,
        "drafted_at": drafted_at,
        "actor": actor,
    }
    RequestSync.refuse_unknown(arguments)
    return RequestSync(**arguments)


def linking(
    kind: type[L],
    channel_id: str,
    thread_ts: str,
    jira_key: str,
    actor: AnyActor,
    command_id: UUID | str | None,
) -> L:
    return kind(
        channel_id=channel_id,
        thread_ts=thread_ts,
        jira_key=jira_key,
        actor=actor,
        command_id=command_id or uuid4(),
    )


def linked(asked: Command[LinkAnswer]) -> tuple[Link, str]:
    """Return the ``sessions.link`` that follows a ``jira.link``, and its task's id."""
    lookup = cast(LinkLookup, asked)
    return lookup.link(lookup.jira_key, None), lookup.link_task_id


def unlink(
    channel_id: str,
    thread_ts: str,
    jira_key: str,
    actor: AnyActor,
    reason: str,
    command_id: UUID | str | None,
) -> Unlink:
    return Unlink(
        channel_id=channel_id,
        thread_ts=thread_ts,
        jira_key=jira_key,
        actor=actor,
        reason=reason,
        command_id=command_id or uuid4(),
    )


def retry_sync(session_id: UUID | str, actor: AnyActor | str, reason: str) -> RetrySync:
    return RetrySync(session_id=session_id, actor=actor, reason=reason)


def get(channel_id: str, thread_ts: str) -> GetSession:
    return GetSession(channel_id=channel_id, thread_ts=thread_ts)


def list_by_channel(channel_id: str, status: Status | None, limit: int, cursor: str | None) -> ListByChannel:
    return ListByChannel(channel_id=channel_id, status=status, limit=limit, cursor=cursor)


def get_context(channel_id: str) -> GetContext:
    return GetContext(channel_id=channel_id)


def merge_context(
    channel_id: str,
    patch: Mapping[str, Any],
    command_id: UUID | str | None,
    actor: AnyActor | None,
) -> MergeContext:
    return MergeContext(
        channel_id=channel_id, patch=dict(patch), command_id=command_id or uuid4(), actor=actor
    )


def channel_moved(channel_id: str, new_channel_id: str, actor: AnyActor | None) -> ChannelMoved:
    return ChannelMoved(channel_id=channel_id, new_channel_id=new_channel_id, actor=actor)
