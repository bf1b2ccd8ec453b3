"""Fields of Jira's create screen as data: what a form asks for, and the results of lookups about it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from threadsync.dto import Dto
from threadsync.syncs import Draft

FieldKind = Literal[
    "string",
    "text_area",
    "number",
    "date",
    "date_time",
    "option",
    "cascading",
    "user",
    "group",
    "version",
    "component",
    "priority",
    "labels",
    "url",
]
"""Kinds of fields that a form can ask for. ``multiple`` of a field tells option from options."""

Shape = Literal["bare", "id", "name", "accountId", "adf"]
"""How a draft holds a value: as it is, as ``{"id": …}`` and the like, or as an Atlassian document."""

CHOSEN: Final = frozenset({"option", "cascading", "version", "component", "priority"})
"""Kinds whose values are among the field's choices."""

OF_DRAFT: Final = frozenset({"summary", "description", "priority", "assignee", "labels"})
"""Fields that are members of a draft; the values of all others are in its ``fields``."""

BETWEEN: Final = "/"
"""Stands between the ids of both options of a cascading choice."""

LookupOutcome = Literal["known", "no_such_project", "no_answer", "refused", "not_configured"]
"""``known``, or why not: ``no_answer`` of Jira; ``refused``: our account may not look; ``not_configured``:
the worker has no Jira."""

_Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Choice(_Part):
    """A value that may be chosen: the id in a draft, and the text that people see, one line."""

    id: _Text
    label: _Text


class FormField(_Part):
    """A field to ask for.

    Args:
        required: Jira takes no ticket without it, and has no default.
        multiple: the value is a list.
        choices: the values that it may have, for the kinds in ``CHOSEN``. A cascading field has each option
            without its children, and each pair: their ids are joined by ``BETWEEN``.
        hint: a sentence for the person, or empty.
    """

    id: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^#\s]+$")]
    label: _Text
    kind: FieldKind
    shape: Shape = "bare"
    required: bool = False
    multiple: bool = False
    choices: tuple[Choice, ...] = ()
    hint: str = ""


class ProjectList(Dto):
    """The projects in which our account may create tickets: keys and names, by key.

    ``more``: Jira has more than these.
    """

    outcome: LookupOutcome
    projects: tuple[Choice, ...] = ()
    more: bool = False

    def summary(self) -> str:
        return f"{self.outcome}: {len(self.projects)} projects"


class IssueTypeList(Dto):
    """The issue types that tickets of a project may have, by id, without those of sub-tasks."""

    outcome: LookupOutcome
    project_key: str | None = None
    issue_types: tuple[Choice, ...] = ()

    def summary(self) -> str:
        return f"{self.outcome}: {len(self.issue_types)} issue types"


class FormFields(Dto):
    """The fields of the create screen of a project and an issue type.

    ``project_key`` and ``issue_type`` (its id) are those whose fields these are: where none was asked for, or
    one that the project does not have, they are the worker's settings, else the project's first type.
    ``issue_types`` are all that the project has. ``unaskable`` are names of fields that Jira requires, and
    that no form can ask for.
    """

    outcome: LookupOutcome
    project_key: str | None = None
    issue_type: str | None = None
    issue_types: tuple[Choice, ...] = ()
    fields: tuple[FormField, ...] = ()
    unaskable: tuple[str, ...] = ()

    def summary(self) -> str:
        return f"{self.outcome}: {len(self.fields)} fields"


class JiraPerson(Dto):
    """Jira's account of a Slack user: its id, or its name on a Data Center; never an e-mail address.

    ``unknown``: Slack tells no address, or Jira has not exactly one account with it.
    """

    outcome: Literal["known", "unknown", "no_answer", "not_configured"]
    account: str | None = None

    def summary(self) -> str:
        return self.outcome


class DraftFound(Dto):
    """A session's draft for its requester; ``none`` for others, and where there is none.

    ``refused`` has Jira's words by the field's id; those about no field are under an empty id.
    """

    outcome: Literal["found", "none"]
    draft: Draft | None = None
    drafted_at: str | None = None
    channel_id: str | None = None
    thread_ts: str | None = None
    refused: dict[str, str] = Field(default_factory=dict)

    def summary(self) -> str:
        return self.outcome

    def values(self) -> dict[str, Any]:
        """Return the members of the draft as JSON, those that a newer worker added included."""
        return self.draft.model_dump(mode="json", exclude_none=True) if self.draft else {}
