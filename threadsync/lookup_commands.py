"""Lookups, questions for which a user waits: a class here, a task in ``tasks.lookups``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from threadsync.actors import Actor
from threadsync.command import Command
from threadsync.commands import Link
from threadsync.dto import Dto
from threadsync.forms import DraftFound, FormFields, IssueTypeList, JiraPerson, ProjectList
from threadsync.queues import LOOKUPS_QUEUE
from threadsync.syncs import ProjectKey
from threadsync.types import AnyUuid, JiraKey, Reason, SlackId, SlackTs

Query = Annotated[str, Field(min_length=1, max_length=255)]

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


class ProjectsLookup(Command[ProjectList]):
    """Look up the projects in which our account may create tickets; ``query`` is part of a key or name."""

    name = "jira.projects"
    queue: ClassVar[str] = LOOKUPS_QUEUE
    query: Query | None = None

    def summary(self) -> str:
        return "projects"


class IssueTypesLookup(Command[IssueTypeList]):
    """Look up the issue types that tickets of a project may have, without those of sub-tasks."""

    name = "jira.issue_types"
    queue: ClassVar[str] = LOOKUPS_QUEUE
    project_key: ProjectKey

    def summary(self) -> str:
        return self.project_key


class FormFieldsLookup(Command[FormFields]):
    """Look up what a form must ask for. ``issue_type`` is an id or a name."""

    name = "jira.form_fields"
    queue: ClassVar[str] = LOOKUPS_QUEUE
    project_key: ProjectKey | None = None
    issue_type: Query | None = None

    def summary(self) -> str:
        return self.project_key or "the worker's project"


class AccountLookup(Command[JiraPerson]):
    """Look up Jira's account of a Slack user, by the e-mail address that Slack tells the worker."""

    name = "jira.account_of"
    queue: ClassVar[str] = LOOKUPS_QUEUE
    user_id: SlackId

    def summary(self) -> str:
        return "an account"


class DraftLookup(Command[DraftFound]):
    """Read a session's draft for the person who wrote it. Delete the result once it is read."""

    name = "syncs.draft"
    queue: ClassVar[str] = LOOKUPS_QUEUE
    session_id: AnyUuid
    actor: Actor

    def summary(self) -> str:
        return str(self.session_id)
