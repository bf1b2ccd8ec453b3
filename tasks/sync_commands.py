"""The commands on syncs, for the worker that talks to Jira."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, TypeAdapter

from tasks.command import Command
from tasks.commands import SYNCS_QUEUE
from worker.db.statements import AnyUuid
from worker.db.sync_models import SyncState

ShortText = Annotated[str, Field(min_length=1, max_length=500)]


class Sync(Command[SyncState]):
    """Take the session's sync as far as it can be taken now. May be sent at any time, any number of times."""

    name = "syncs.sync"
    queue: ClassVar[str] = SYNCS_QUEUE
    result = TypeAdapter(SyncState)
    session_id: AnyUuid

    def summary(self) -> str:
        return str(self.session_id)


class RetrySync(Command[SyncState]):
    """Try a sync again that waits, is blocked or failed. ``actor`` and ``reason`` are recorded."""

    name = "syncs.retry"
    queue: ClassVar[str] = SYNCS_QUEUE
    result = TypeAdapter(SyncState)
    session_id: AnyUuid
    actor: ShortText
    reason: ShortText

    def summary(self) -> str:
        return f"{self.session_id} by {self.actor}"
