"""Read the answers of lookups as what the check of a change needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from threadsync.channel_settings.directory import IssueType, Project


class Choice(Protocol):
    """A project or an issue type: its key or ID, and the text that people see."""

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...


class ProjectsAnswer(Protocol):
    """The result of ``jira.projects``. ``more``: Jira has more than these."""

    @property
    def outcome(self) -> str: ...
    @property
    def projects(self) -> Sequence[Choice]: ...
    @property
    def more(self) -> bool: ...


class IssueTypesAnswer(Protocol):
    """The result of ``jira.issue_types``, without types of sub-tasks."""

    @property
    def outcome(self) -> str: ...
    @property
    def issue_types(self) -> Sequence[Choice]: ...


def projects_in(answer: ProjectsAnswer | None, query: str) -> tuple[Project, ...] | None:
    """Return the projects; None where Jira has not said whether it has the one that is asked for."""
    if answer is None or answer.outcome != "known":
        return None
    found = tuple(Project(item.id, item.label.removesuffix(f" ({item.id})")) for item in answer.projects)
    is_open = answer.more and query and query not in {each.key for each in found}
    return None if is_open else found


def issue_types_in(answer: IssueTypesAnswer | None) -> tuple[IssueType, ...] | None:
    """Return the types, none of a project that Jira does not have; None where Jira has not said."""
    if answer is None or answer.outcome not in ("known", "no_such_project"):
        return None
    return tuple(IssueType(item.id, item.label) for item in answer.issue_types)
