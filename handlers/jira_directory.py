"""The projects and types that Jira has, asked of workers by lookups: a Slack process has no login to Jira."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from handlers.form.lookups import Lookups
from threadsync.channel_settings.directory import IssueType, Project
from threadsync.channel_settings.looked_up import issue_types_in, projects_in

_ANSWER_SECONDS: Final = 5.0


class LookedUp:
    """``JiraDirectory`` over lookups, whose answers are kept for ten minutes."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def projects(self, query: str) -> Sequence[Project] | None:
        return projects_in(await self._lookups.projects(_ANSWER_SECONDS, query or None), query)

    async def issue_types(self, project_key: str) -> Sequence[IssueType] | None:
        return issue_types_in(await self._lookups.issue_types(_ANSWER_SECONDS, project_key))
