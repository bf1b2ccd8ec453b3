"""Ask by lookups which projects and issue types Jira has: this process has no login to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from threadsync.channel_settings.answers import (
    IssueTypesAnswer,
    ProjectsAnswer,
    issue_types_in,
    projects_in,
)
from threadsync.channel_settings.directory import IssueType, Project


class LookedUp:
    """A ``JiraDirectory`` of lookups.

    Args:
        projects: asks for the projects with a text in key or name, all of them for None.
        issue_types: asks for the issue types of a project's key. Both return None without an answer in time.
    """

    def __init__(
        self,
        projects: Callable[[str | None], Awaitable[ProjectsAnswer | None]],
        issue_types: Callable[[str], Awaitable[IssueTypesAnswer | None]],
    ) -> None:
        self._projects = projects
        self._issue_types = issue_types

    async def projects(self, query: str) -> tuple[Project, ...] | None:
        """List the projects whose key or name has the query in it; all of them for an empty one."""
        return projects_in(await self._projects(query or None), query)

    async def issue_types(self, project_key: str) -> tuple[IssueType, ...] | None:
        """List the types of a project's issues."""
        return issue_types_in(await self._issue_types(project_key))
