"""The projects and types that Jira has, asked of workers by lookups: operators need no login to Jira."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import structlog

from threadsync.channel_settings.directory import IssueType, Project
from threadsync.channel_settings.looked_up import issue_types_in, projects_in
from threadsync.client import SessionClient
from threadsync.command import Command
from threadsync.errors import ThreadsyncError
from threadsync.lookup_commands import IssueTypesLookup, ProjectsLookup

log = structlog.get_logger("threadsync.operate")

R = TypeVar("R")

_ANSWER_SECONDS: Final = 5.0


class LookedUp:
    """``worker.operate.channel_settings.Directory`` over lookups; each waits for at most five seconds."""

    def projects(self, query: str) -> Sequence[Project] | None:
        return projects_in(_answer_to(ProjectsLookup(query=query or None)), query)

    def issue_types(self, project_key: str) -> Sequence[IssueType] | None:
        return issue_types_in(_answer_to(IssueTypesLookup(project_key=project_key)))


def _answer_to(command: Command[R]) -> R | None:
    try:
        with SessionClient() as client:
            return client.enqueue(command).get(timeout=_ANSWER_SECONDS)
    except ThreadsyncError as exc:
        log.warning("no answer to a lookup", command=command.name, error_type=type(exc).__name__)
        return None
