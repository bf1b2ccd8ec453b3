"""The commands on syncs, on which the worker talks to Jira."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, TypeAdapter

from threadsync.actors import Actor, AnyActor, named_actor
from threadsync.command import Command
from threadsync.queues import SYNCS_QUEUE
from threadsync.syncs import SyncState
from threadsync.types import AnyUuid, JiraKey

ShortText = Annotated[str, Field(min_length=1, max_length=500)]


class Sync(Command[SyncState]):
    """Advance the session's sync as far as possible now. May be sent at any time, any number of times."""

    name = "syncs.sync"
    queue: ClassVar[str] = SYNCS_QUEUE
    result = TypeAdapter(SyncState)
    session_id: AnyUuid

    def summary(self) -> str:
        return str(self.session_id)


class Leave(Command[None]):
    """Comment on a ticket that was unlinked. May be sent at any time, any number of times."""

    name = "syncs.leave"
    queue: ClassVar[str] = SYNCS_QUEUE
    result: ClassVar[TypeAdapter[None]] = TypeAdapter(None)
    session_id: AnyUuid
    jira_key: JiraKey

    def summary(self) -> str:
        return f"{self.session_id} {self.jira_key}"


class RetrySync(Command[SyncState]):
    """Try a sync again that waits, is blocked or failed. ``actor`` and ``reason`` are recorded.

    An actor may be a bare name, as in 0.1.0's messages: a claim like any other. The same ``command_id`` twice
    counts once.
    """

    name = "syncs.retry"
    queue: ClassVar[str] = SYNCS_QUEUE
    result = TypeAdapter(SyncState)
    session_id: AnyUuid
    actor: Actor | ShortText
    reason: ShortText
    command_id: AnyUuid | None = None

    def summary(self) -> str:
        return str(self.session_id)

    @property
    def acted_by(self) -> AnyActor | None:
        """The actor; None for a name that is invalid as one."""
        return named_actor(self.actor, "api") if isinstance(self.actor, str) else self.actor
