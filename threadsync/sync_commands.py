"""The commands on syncs, on which the worker talks to Jira."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from threadsync.actors import Actor, AnyActor, named_actor
from threadsync.command import Command, R
from threadsync.queues import SYNCS_QUEUE
from threadsync.syncs import SyncState
from threadsync.ticket_steps import TicketStepKind
from threadsync.types import AnyUuid, JiraKey

ShortText = Annotated[str, Field(min_length=1, max_length=500)]


class _AboutSync(Command[R], ABC):
    queue: ClassVar[str] = SYNCS_QUEUE
    session_id: AnyUuid

    def summary(self) -> str:
        return str(self.session_id)


class Sync(_AboutSync[SyncState]):
    """Advance the session's sync as far as possible now. May be sent at any time, any number of times."""

    name = "syncs.sync"


class Leave(_AboutSync[None]):
    """Comment on a ticket that was unlinked. May be sent at any time, any number of times."""

    name = "syncs.leave"
    jira_key: JiraKey

    def summary(self) -> str:
        return f"{super().summary()} {self.jira_key}"


class Follow(_AboutSync[None]):
    """Do one step of what follows a ticket. May be sent at any time, any number of times.

    ``jira_id`` is the ticket's id in Jira, or its key; ``file_id`` is Slack's, for a file alone.
    """

    name = "syncs.follow"
    jira_id: Annotated[
        str, StringConstraints(pattern=r"^([0-9]{1,30}|[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12})$")
    ]
    step: TicketStepKind
    file_id: Annotated[str, StringConstraints(pattern=r"^(F[A-Z0-9]{1,63})?$")] = ""

    def summary(self) -> str:
        return f"{super().summary()} {self.jira_id} {self.step}"


class RetrySync(_AboutSync[SyncState]):
    """Try a sync again that waits, is blocked or failed. ``actor`` and ``reason`` are recorded.

    An actor may be a bare name, as in 0.1.0's messages: a claim like any other. The same ``command_id`` twice
    counts once.
    """

    name = "syncs.retry"
    actor: Actor | ShortText
    reason: ShortText
    command_id: AnyUuid | None = None

    @property
    def acted_by(self) -> AnyActor | None:
        """The actor; None for a name that is invalid as one."""
        return named_actor(self.actor, "api") if isinstance(self.actor, str) else self.actor
