"""Send commands from a web process and get typed results. Loads no database driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from threadsync import calls
from threadsync.actors import AnyActor
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Command, R
from threadsync.commands import Link
from threadsync.handles import Handle
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.syncs import Draft, SyncState
from threadsync.types import Status

if TYPE_CHECKING:
    from threadsync.liveness.state import Heartbeats
    from threadsync.sending import Broker


class SessionClient:
    """Enqueue commands; each method returns once the broker has the message. Safe for threads.

    All raise ``InvalidCommand`` before anything is sent, and ``EnqueueFailed`` within a second when the
    broker does not answer: the command may be sent again, it is idempotent.

    Args:
        broker_url: ``CELERY_BROKER_URL`` or ``REDIS_URL`` of the environment if None.
        result_backend: ``CELERY_RESULT_BACKEND``, else the broker, if None.
    """

    def __init__(self, broker_url: str | None = None, result_backend: str | None = None) -> None:
        self._broker = broker_of(broker_url, result_backend)

    def enqueue(self, command: Command[R], *, task_id: str | None = None) -> Handle[R]:
        """Send any command. A ``task_id`` of your own, such as Slack's event id, makes it easy to find."""
        return Handle(self._broker, command, self._broker.send(command, task_id))

    def send_many(self, commands: Sequence[Command[R]]) -> list[Handle[R]]:
        """Send many commands, in order; return their handles in that order. Far faster than one by one.

        On Valkey and Redis they go 64 in a write; a second without the broker's reply ends the call, however
        long the whole takes. Raises ``EnqueueFailed``, whose ``confirmed`` says how many of them, from the
        first on, the broker has surely; of the others it may have some. All may be sent again.
        """
        task_ids = self._broker.send_many(commands)
        return [Handle(self._broker, *sent) for sent in zip(commands, task_ids, strict=True)]

    def get_or_create(
        self, channel_id: str, thread_ts: str, user_id: str, *, actor: AnyActor | None = None
    ) -> Handle[SessionResult]:
        """Open the thread's session: ``created``, or ``unchanged`` when it was there."""
        return self.enqueue(calls.get_or_create(channel_id, thread_ts, user_id, actor))

    def update_status(
        self, channel_id: str, thread_ts: str, status: Status, *, actor: AnyActor | None = None
    ) -> Handle[SessionResult]:
        """Move the session forward: ``applied | unchanged | stale``."""
        return self.enqueue(calls.update_status(channel_id, thread_ts, status, actor))

    def mark_synced(
        self, channel_id: str, thread_ts: str, jira_key: str, *, actor: AnyActor | None = None
    ) -> Handle[SessionResult]:
        """Write the ticket's key, once: ``applied | unchanged``."""
        return self.enqueue(calls.mark_synced(channel_id, thread_ts, jira_key, actor))

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
        return self.enqueue(calls.request_sync(channel_id, thread_ts, draft, drafted_at, actor))

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
        return self.enqueue(calls.linking(Link, channel_id, thread_ts, jira_key, actor, command_id))

    def jira_link(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        command_id: UUID | str | None = None,
    ) -> Handle[LinkAnswer]:
        """Give the session a ticket if Jira knows it. The session follows: ``linked``."""
        return self.enqueue(calls.linking(LinkLookup, channel_id, thread_ts, jira_key, actor, command_id))

    def linked(self, asked: Handle[LinkAnswer]) -> Handle[SessionResult]:
        """Return the handle of the ``sessions.link`` that a ``jira.link`` sends if Jira has the ticket."""
        return Handle(self._broker, *calls.linked(asked.command))

    def unlink(
        self,
        channel_id: str,
        thread_ts: str,
        jira_key: str,
        actor: AnyActor,
        reason: str,
        command_id: UUID | str | None = None,
    ) -> Handle[SessionResult]:
        """Unlink the ticket from the session: ``applied``, or ``stale`` when it has another one, or none."""
        return self.enqueue(calls.unlink(channel_id, thread_ts, jira_key, actor, reason, command_id))

    def retry_sync(self, session_id: UUID | str, actor: AnyActor | str, reason: str) -> Handle[SyncState]:
        """Try the session's sync again now; actor and reason are recorded."""
        return self.enqueue(calls.retry_sync(session_id, actor, reason))

    def get(self, channel_id: str, thread_ts: str) -> Handle[ThreadSession | None]:
        """Read the thread's session, or None."""
        return self.enqueue(calls.get(channel_id, thread_ts))

    def list_by_channel(
        self, channel_id: str, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> Handle[SessionPage]:
        """Read a page of 1 to 200 sessions, newest first."""
        return self.enqueue(calls.list_by_channel(channel_id, status, limit, cursor))

    def get_context(self, channel_id: str) -> Handle[ChannelContext | None]:
        """Read the channel's context, or None."""
        return self.enqueue(calls.get_context(channel_id))

    def merge_context(
        self,
        channel_id: str,
        patch: Mapping[str, Any],
        command_id: UUID | str | None = None,
        *,
        actor: AnyActor | None = None,
    ) -> Handle[ContextResult]:
        """Apply an RFC 7396 merge patch. Give the ``command_id`` again when you send it again."""
        return self.enqueue(calls.merge_context(channel_id, patch, command_id, actor))

    def channel_moved(
        self, channel_id: str, new_channel_id: str, *, actor: AnyActor | None = None
    ) -> Handle[ChannelMove]:
        """Record that a channel got another id: ``applied | unchanged``."""
        return self.enqueue(calls.channel_moved(channel_id, new_channel_id, actor))

    def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        self._broker.ping()

    def heartbeats(self) -> Heartbeats | None:
        """Return what ``threadsync.liveness.verdicts`` judges workers by. Raises ``EnqueueFailed``."""
        from threadsync.liveness.heartbeats import look

        return self._broker.ask(look)

    def close(self) -> None:
        """Release the connections. A client that is used again opens new ones."""
        self._broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def broker_of(*urls: str | None, apart: bool = False) -> Broker:
    """Load redis-py only now: to name a command or to catch an error does not need it."""
    from threadsync.sending import Broker

    return Broker(*urls, apart=apart)
