"""How a web process sends commands and gets typed results. Loads no database driver.

    client = SessionClient()
    handle = client.get_or_create("C0123", "1700000000.000100", "U0456")
    session = handle.get(timeout=2)      # a SessionResult, or one of threadsync.errors

``AsyncSessionClient`` has the same methods for asyncio: ``handle = await client.get_or_create(…)``,
``session = await handle.get(timeout=2)``. One client a process is enough; it is safe for threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast
from uuid import UUID, uuid4

from threadsync.actors import AnyActor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
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
from threadsync.errors import ResultTimeout
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.result_reading import typed
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.sync_commands import RetrySync
from threadsync.syncs import Draft, SyncState
from threadsync.types import Status

if TYPE_CHECKING:
    from threadsync.broker.sending import Broker
    from threadsync.liveness.state import Signs

R = TypeVar("R")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.004, 1.0


def _broker(*urls: str | None, apart: bool = False) -> Broker:
    """Load kombu and redis-py only now: to name a command or to catch an error needs neither."""
    from threadsync.broker.sending import Broker

    return Broker(*urls, apart=apart)


def _pauses() -> Iterator[float]:
    """Seconds between two looks for a result: it is known at most a quarter later than it could be.

    Most results are there within milliseconds. A thousand that are late must not keep the broker busy.
    """
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.25, _LONGEST_PAUSE)


class _Handle(Generic[R]):
    def __init__(self, broker: Broker, command: Command[R], task_id: str) -> None:
        self._broker = broker
        self.command = command
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.command.name} {self.task_id}>"

    def _look(self) -> tuple[bool, Any]:
        return self._broker.result_of(self.task_id)

    def _typed(self, value: Any) -> R:
        return typed(self.command.result, value, self.command.name)  # type: ignore[no-any-return]

    def _timed_out(self, timeout: float) -> ResultTimeout:
        return ResultTimeout(f"no result of {self.command.name} within {timeout:g} s (task {self.task_id})")


class Handle(_Handle[R]):
    """A command that was enqueued. ``task_id`` finds it in Flower and in the logs."""

    def get(self, timeout: float = 10) -> R:
        """The worker's answer, at most ``timeout`` seconds from now.

        Raises ``ResultTimeout``, or what the worker raised: ``InvalidCommand``, ``SessionNotFound``,
        ``JiraKeyConflict``, ``PoisonCommand``, ``CommandFailed``; ``UnreadableResult`` if there is something
        else in its place.
        """
        deadline = time.monotonic() + timeout
        for pause in _pauses():
            ready, value = self._look()
            if ready:
                return self._typed(value)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(pause, left))
        raise self._timed_out(timeout)


class AsyncHandle(_Handle[R]):
    """The same for asyncio."""

    async def get(self, timeout: float = 10) -> R:  # noqa: ASYNC109 - as Celery's results have it
        """The worker's answer, at most ``timeout`` seconds from now. Raises as ``Handle.get`` does."""
        deadline = time.monotonic() + timeout
        for pause in _pauses():
            ready, value = await asyncio.to_thread(self._look)
            if ready:
                return self._typed(value)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(min(pause, left))
        raise self._timed_out(timeout)


class SessionClient:
    """Enqueues commands; each method returns once the broker has the message.

    All raise ``InvalidCommand`` before anything is sent, and ``EnqueueFailed`` within a second when the
    broker does not answer: the command may be sent again, it is idempotent.

    Args:
        broker_url: ``CELERY_BROKER_URL`` or ``REDIS_URL`` of the environment if None.
        result_backend: ``CELERY_RESULT_BACKEND``, else the broker, if None.
    """

    def __init__(self, broker_url: str | None = None, result_backend: str | None = None) -> None:
        self._broker = _broker(broker_url, result_backend)

    def enqueue(self, command: Command[R], *, task_id: str | None = None) -> Handle[R]:
        """Send any command. A ``task_id`` of your own, such as Slack's event id, makes it easy to find."""
        return Handle(self._broker, command, self._broker.send(command, task_id))

    def get_or_create(
        self, channel_id: str, thread_ts: str, user_id: str, *, actor: AnyActor | None = None
    ) -> Handle[SessionResult]:
        """Open the thread's session: ``created``, or ``unchanged`` when it was there."""
        return self.enqueue(
            GetOrCreate(channel_id=channel_id, thread_ts=thread_ts, user_id=user_id, actor=actor)
        )

    def update_status(
        self, channel_id: str, thread_ts: str, status: Status, *, actor: AnyActor | None = None
    ) -> Handle[SessionResult]:
        """Move the session forward: ``applied | unchanged | stale``."""
        return self.enqueue(
            UpdateStatus(channel_id=channel_id, thread_ts=thread_ts, status=status, actor=actor)
        )

    def mark_synced(
        self, channel_id: str, thread_ts: str, jira_key: str, *, actor: AnyActor | None = None
    ) -> Handle[SessionResult]:
        """Write the ticket's key, once: ``applied | unchanged``."""
        return self.enqueue(
            MarkSynced(channel_id=channel_id, thread_ts=thread_ts, jira_key=jira_key, actor=actor)
        )

    def request_sync(
        self,
        channel_id: str,
        thread_ts: str,
        draft: Draft | Mapping[str, Any],
        drafted_at: str,
        *,
        actor: AnyActor | None = None,
    ) -> Handle[SessionResult]:
        """Ask for the ticket: ``applied | unchanged | stale``. The latest ``drafted_at`` wins."""
        return self.enqueue(_sync_request(channel_id, thread_ts, draft, drafted_at, actor))

    def link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str | None = None,
    ) -> Handle[SessionResult]:
        """Give the session a ticket that surely exists: ``applied | unchanged``. See ``jira_link``.

        Give the ``command_id`` again when you send it again.
        """
        return self.enqueue(
            Link(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                command_id=command_id or uuid4(),
            )
        )

    def jira_link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str | None = None,
    ) -> Handle[LinkAnswer]:
        """Give the session a ticket if Jira knows it. The session follows: ``linked``."""
        return self.enqueue(
            LinkLookup(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                command_id=command_id or uuid4(),
            )
        )

    def linked(self, asked: Handle[LinkAnswer]) -> Handle[SessionResult]:
        """The handle of the ``sessions.link`` that a ``jira.link`` sends once Jira knows the ticket."""
        question = cast(LinkLookup, asked.command)
        return Handle(self._broker, question.link(question.jira_key, None), question.link_task_id)

    def unlink(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        reason: str,
        command_id: UUID | str | None = None,
    ) -> Handle[SessionResult]:
        """Take the ticket off the session: ``applied``, or ``stale`` when it has another one, or none."""
        return self.enqueue(
            Unlink(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                reason=reason,
                command_id=command_id or uuid4(),
            )
        )

    def retry_sync(self, session_id: UUID | str, actor: AnyActor | str, reason: str) -> Handle[SyncState]:
        """Try the session's sync again now; who wants it, and why, is recorded."""
        return self.enqueue(RetrySync(session_id=session_id, actor=actor, reason=reason))

    def get(self, channel_id: str, thread_ts: str) -> Handle[ThreadSession | None]:
        """The thread's session, or None."""
        return self.enqueue(GetSession(channel_id=channel_id, thread_ts=thread_ts))

    def list_by_channel(
        self, channel_id: str, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> Handle[SessionPage]:
        """A page of 1 to 200 sessions, newest first."""
        return self.enqueue(ListByChannel(channel_id=channel_id, status=status, limit=limit, cursor=cursor))

    def get_context(self, channel_id: str) -> Handle[ChannelContext | None]:
        """The channel's context, or None."""
        return self.enqueue(GetContext(channel_id=channel_id))

    def merge_context(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        command_id: UUID | str | None = None,
        *,
        actor: AnyActor | None = None,
    ) -> Handle[ContextResult]:
        """Apply an RFC 7396 merge patch. Give the ``command_id`` again when you send it again."""
        return self.enqueue(
            MergeContext(
                channel_id=channel_id, patch=dict(patch), command_id=command_id or uuid4(), actor=actor
            )
        )

    def channel_moved(
        self, channel_id: str, new_channel_id: str, *, actor: AnyActor | None = None
    ) -> Handle[ChannelMove]:
        """Say that a channel got another id: ``applied | unchanged``."""
        return self.enqueue(ChannelMoved(channel_id=channel_id, new_channel_id=new_channel_id, actor=actor))

    def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        self._broker.ping()

    def signs(self) -> Signs | None:
        """Return what ``threadsync.liveness.verdicts`` judges workers by. Raises ``EnqueueFailed``."""
        return self._broker.signs()

    def close(self) -> None:
        """Let go of the connections. A client that is used again opens new ones."""
        self._broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncSessionClient:
    """``SessionClient`` for asyncio: the same methods, to be awaited; the loop is never blocked.

    Args:
        apart: for questions that must not delay the commands of the process' other clients.
    """

    def __init__(
        self, broker_url: str | None = None, result_backend: str | None = None, *, apart: bool = False
    ) -> None:
        self._broker = _broker(broker_url, result_backend, apart=apart)

    async def enqueue(self, command: Command[R], *, task_id: str | None = None) -> AsyncHandle[R]:
        """Send any command. A ``task_id`` of your own, such as Slack's event id, makes it easy to find."""
        return AsyncHandle(self._broker, command, await self._broker.send_async(command, task_id))

    async def get_or_create(
        self, channel_id: str, thread_ts: str, user_id: str, *, actor: AnyActor | None = None
    ) -> AsyncHandle[SessionResult]:
        """Open the thread's session: ``created``, or ``unchanged`` when it was there."""
        return await self.enqueue(
            GetOrCreate(channel_id=channel_id, thread_ts=thread_ts, user_id=user_id, actor=actor)
        )

    async def update_status(
        self, channel_id: str, thread_ts: str, status: Status, *, actor: AnyActor | None = None
    ) -> AsyncHandle[SessionResult]:
        """Move the session forward: ``applied | unchanged | stale``."""
        return await self.enqueue(
            UpdateStatus(channel_id=channel_id, thread_ts=thread_ts, status=status, actor=actor)
        )

    async def mark_synced(
        self, channel_id: str, thread_ts: str, jira_key: str, *, actor: AnyActor | None = None
    ) -> AsyncHandle[SessionResult]:
        """Write the ticket's key, once: ``applied | unchanged``."""
        return await self.enqueue(
            MarkSynced(channel_id=channel_id, thread_ts=thread_ts, jira_key=jira_key, actor=actor)
        )

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
        return await self.enqueue(_sync_request(channel_id, thread_ts, draft, drafted_at, actor))

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
        return await self.enqueue(
            Link(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                command_id=command_id or uuid4(),
            )
        )

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
            LinkLookup(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                command_id=command_id or uuid4(),
            )
        )

    def linked(self, asked: AsyncHandle[LinkAnswer]) -> AsyncHandle[SessionResult]:
        """The handle of the ``sessions.link`` that a ``jira.link`` sends once Jira knows the ticket."""
        question = cast(LinkLookup, asked.command)
        return AsyncHandle(self._broker, question.link(question.jira_key, None), question.link_task_id)

    async def unlink(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        reason: str,
        command_id: UUID | str | None = None,
    ) -> AsyncHandle[SessionResult]:
        """Take the ticket off the session: ``applied``, or ``stale`` when it has another one, or none."""
        return await self.enqueue(
            Unlink(
                channel_id=channel_id,
                thread_ts=thread_ts,
                jira_key=jira_key,
                actor=actor,
                reason=reason,
                command_id=command_id or uuid4(),
            )
        )

    async def retry_sync(
        self, session_id: UUID | str, actor: AnyActor | str, reason: str
    ) -> AsyncHandle[SyncState]:
        """Try the session's sync again now; who wants it, and why, is recorded."""
        return await self.enqueue(RetrySync(session_id=session_id, actor=actor, reason=reason))

    async def get(self, channel_id: str, thread_ts: str) -> AsyncHandle[ThreadSession | None]:
        """The thread's session, or None."""
        return await self.enqueue(GetSession(channel_id=channel_id, thread_ts=thread_ts))

    async def list_by_channel(
        self, channel_id: str, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> AsyncHandle[SessionPage]:
        """A page of 1 to 200 sessions, newest first."""
        return await self.enqueue(
            ListByChannel(channel_id=channel_id, status=status, limit=limit, cursor=cursor)
        )

    async def get_context(self, channel_id: str) -> AsyncHandle[ChannelContext | None]:
        """The channel's context, or None."""
        return await self.enqueue(GetContext(channel_id=channel_id))

    async def merge_context(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        command_id: UUID | str | None = None,
        *,
        actor: AnyActor | None = None,
    ) -> AsyncHandle[ContextResult]:
        """Apply an RFC 7396 merge patch. Give the ``command_id`` again when you send it again."""
        return await self.enqueue(
            MergeContext(
                channel_id=channel_id, patch=dict(patch), command_id=command_id or uuid4(), actor=actor
            )
        )

    async def channel_moved(
        self, channel_id: str, new_channel_id: str, *, actor: AnyActor | None = None
    ) -> AsyncHandle[ChannelMove]:
        """Say that a channel got another id: ``applied | unchanged``."""
        return await self.enqueue(
            ChannelMoved(channel_id=channel_id, new_channel_id=new_channel_id, actor=actor)
        )

    async def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        await self._broker.ping_async()

    async def signs(self) -> Signs | None:
        """Return what ``threadsync.liveness.verdicts`` judges workers by. Raises ``EnqueueFailed``."""
        return await self._broker.signs_async()

    async def tell_socket(self, name: str, silence: float | None) -> None:
        """Leave a sign in the broker for how many seconds Slack has been silent, None at the end.

        Raises ``EnqueueFailed``.
        """
        await self._broker.tell_socket_async(name, silence)

    async def close(self) -> None:
        """Let go of the connections. A client that is used again opens new ones."""
        await asyncio.to_thread(self._broker.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _sync_request(
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
