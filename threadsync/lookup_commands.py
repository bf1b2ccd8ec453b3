"""Lookups, questions to Jira for which a user waits: a class here, a task in ``tasks.lookups``."""

from __future__ import annotations

from typing import ClassVar, Literal

from threadsync.actors import Actor
from threadsync.command import Command
from threadsync.commands import Link
from threadsync.dto import Dto
from threadsync.queues import LOOKUPS_QUEUE
from threadsync.types import AnyUuid, JiraKey, Reason, SlackId, SlackTs

LinkOutcome = Literal["sent", "no_such_ticket", "no_answer", "refused", "not_configured"]


class LinkAnswer(Dto):
    """The result of looking up a ticket in Jira.

    ``sent``: it exists, and ``sessions.link`` is on its way as task ``task_id``, with the key as Jira has it.
    Else nothing is linked: ``no_such_ticket``, or none that our account may see; ``no_answer`` of Jira;
    ``refused``: our account may not look; ``not_configured``: the worker has no Jira.
    """

    outcome: LinkOutcome
    jira_key: JiraKey
    task_id: str | None = None

    def summary(self) -> str:
        return f"{self.jira_key}: {self.outcome}"


class LinkLookup(Command[LinkAnswer]):
    """Link the session to a ticket if Jira has it: ask, and send ``sessions.link``. Else link nothing."""

    name = "jira.link"
    queue: ClassVar[str] = LOOKUPS_QUEUE
    channel_id: SlackId
    thread_ts: SlackTs
    jira_key: JiraKey
    actor: Actor
    command_id: AnyUuid
    reason: Reason | None = None

    def summary(self) -> str:
        return f"{self.channel_id} / {self.thread_ts} → {self.jira_key}?"

    def link(self, jira_key: str, jira_id: str | None) -> Link:
        """Return the command to send when the ticket exists."""
        return Link(**{**dict(self), "jira_key": jira_key, "jira_id": jira_id})

    @property
    def link_task_id(self) -> str:
        """The id of the task that the lookup sends: one act is one task, however often it is sent."""
        return str(self.command_id)
