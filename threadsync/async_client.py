"""``SessionClient`` for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from threadsync import calls
from threadsync.actors import AnyActor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.client import broker_of
from threadsync.command import Command, R
from threadsync.commands import Link
from threadsync.handles import AsyncHandle
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft, SyncState
from threadsync.types import Status

if TYPE_CHECKING:
    from threadsync.liveness.state import Heartbeats


class AsyncSessionClient:
    """``SessionClient`` for asyncio: the same methods, to be awaited; the loop is never blocked.

    Args:
        apart: True for questions that must not delay the commands of the process's other clients.
    """

    def __init__(
        self, broker_url: str | None = None, result_backend: str | None = None, *, apart: bool = False
    ) -> None:
        self._broker = broker_of(broker_url, result_backend, apart=apart)

    async def enqueue(self, command: Command[R], *, task_id: str | None = None) -> AsyncHandle[R]:
        """Send any command. A ``task_id`` of your own, such as Slack's event id, makes it easy to find."""
        return AsyncHandle(self._broker, command, await self._broker.send_async(command, task_id))

    async def send_many(self, commands: Sequence[Command[R]]) -> list[AsyncHandle[R]]:
        """Send many commands, in order; return their handles in that order. Far faster than one by one.

        On Valkey and Redis they go 64 in a write; a second without the broker's reply ends the call, however
        long the whole takes. Raises ``EnqueueFailed``, whose ``confirmed`` says how many of them, from the
        first on, the broker has surely; of the others it may have some. All may be sent again.
        """
        task_ids = await self._broker.send_many_async(commands)
        return [AsyncHandle(self._broker, *sent) for sent in zip(commands, task_ids, strict=True)]

    async def get_or_create(
        self, channel_id: str, thread_ts: str, user_id: str, *, actor: AnyActor | None = None
    ) -> AsyncHandle[SessionResult]:
        """Open the thread's session: ``created``, or ``unchanged`` when it was there."""
        return await self.enqueue(calls.get_or_create(channel_id, thread_ts, user_id, actor))

    async def update_status(
        self, channel_id: str, thread_ts: str, status: Status, *, actor: AnyActor | None = None
    ) -> AsyncHandle[SessionResult]:
        """Move the session forward: ``applied | unchanged | stale``."""
        return await self.enqueue(calls.update_status(channel_id, thread_ts, status, actor))

    async def mark_synced(
        self, channel_id: str, thread_ts: str, jira_key: str, *, actor: AnyActor | None = None
    ) -> AsyncHandle[SessionResult]:
        """Write the ticket's key, once: ``applied | unchanged``."""
        return await self.enqueue(calls.mark_synced(channel_id, thread_ts, jira_key, actor))

    async def request_sync(
        self,
        channel_id: str,
        thread_ts: str,
        draft: Draft | Mapping[str, Any],
        drafted_at: str,
        *,
        actor: AnyActor | None = None,
    ) -> AsyncHandle[SessionResult]:
        """Ask for the ticket: ``applied | unchanged | stale``. The latest ``drafted_at`` wins."""
        return await self.enqueue(calls.request_sync(channel_id, thread_ts, draft, drafted_at, actor))

    async def link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str | None = None,
    ) -> AsyncHandle[SessionResult]:
        """Give the session a ticket that surely exists: ``applied | unchanged``. See ``jira_link``.

        Give the ``command_id`` again when you send it again.
        """
        return await self.enqueue(calls.linking(Link, channel_id, thread_ts, jira_key, actor, command_id))

    async def jira_link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str | None = None,
    ) -> AsyncHandle[LinkAnswer]:
        """Give the session a ticket if Jira knows it. The session follows: ``linked``."""
        return await self.enqueue(
            calls.linking(LinkLookup, channel_id, thread_ts, jira_key, actor, command_id)
        )

    def linked(self, asked: AsyncHandle[LinkAnswer]) -> AsyncHandle[SessionResult]:
        """Return the handle of the ``sessions.link`` that a ``jira.link`` sends if Jira has the ticket."""
        return AsyncHandle(self._broker, *calls.linked(asked.command))

    async def unlink(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        reason: str,
        command_id: UUID | str | None = None,
    ) -> AsyncHandle[SessionResult]:
        """Unlink the ticket from the session: ``applied``, or ``stale`` when it has another one, or none."""
        return await self.enqueue(calls.unlink(channel_id, thread_ts, jira_key, actor, reason, command_id))

    async def retry_sync(
        self, session_id: UUID | str, actor: AnyActor | str, reason: str
    ) -> AsyncHandle[SyncState]:
        """Try the session's sync again now; actor and reason are recorded."""
        return await self.enqueue(calls.retry_sync(session_id, actor, reason))

    async def get(self, channel_id: str, thread_ts: str) -> AsyncHandle[ThreadSession | None]:
        """Read the thread's session, or None."""
        return await self.enqueue(calls.get(channel_id, thread_ts))

    async def list_by_channel(
        self, channel_id: str, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> AsyncHandle[SessionPage]:
        """Read a page of 1 to 200 sessions, newest first."""
        return await self.enqueue(calls.list_by_channel(channel_id, status, limit, cursor))

    async def get_context(self, channel_id: str) -> AsyncHandle[ChannelContext | None]:
        """Read the channel's context, or None."""
        return await self.enqueue(calls.get_context(channel_id))

    async def merge_context(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        command_id: UUID | str | None = None,
        *,
        actor: AnyActor | None = None,
    ) -> AsyncHandle[ContextResult]:
        """Apply an RFC 7396 merge patch. Give the ``command_id`` again when you send it again."""
        return await self.enqueue(calls.merge_context(channel_id, patch, command_id, actor))

    async def channel_moved(
        self, channel_id: str, new_channel_id: str, *, actor: AnyActor | None = None
    ) -> AsyncHandle[ChannelMove]:
        """Record that a channel got another id: ``applied | unchanged``."""
        return await self.enqueue(calls.channel_moved(channel_id, new_channel_id, actor))

    async def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        await self._broker.ping_async()

    async def heartbeats(self) -> Heartbeats | None:
        """Return what ``threadsync.liveness.verdicts`` judges workers by. Raises ``EnqueueFailed``."""
        from threadsync.liveness.heartbeats import look

        return await self._broker.ask_async(look)

    async def tell_socket(self, name: str, silence: float | None) -> None:
        """Write Socket Mode's heartbeat: the seconds since Slack's last message; None removes it.

        Raises ``EnqueueFailed``.
        """
        from threadsync.liveness.heartbeats import tell_socket

        await self._broker.ask_async(lambda channel: tell_socket(channel, name, silence))

    async def close(self) -> None:
        """Release the connections. A client that is used again opens new ones."""
        self._broker.close_in_loop()
        await asyncio.to_thread(self._broker.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
