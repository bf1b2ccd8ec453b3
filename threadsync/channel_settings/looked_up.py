"""Read the results of lookups as the projects and types that Jira has. None: Jira gave no answer."""

from __future__ import annotations

from collections.abc import Sequence

from threadsync.channel_settings.directory import IssueType, Project
from threadsync.forms import IssueTypeList, ProjectList


def projects_in(found: ProjectList | None, query: str) -> Sequence[Project] | None:
    """Return the projects of a lookup for ``query``.

    None also where Jira has more than were listed, and none of these has the query for its key.
    """
    if found is None or found.outcome != "known":
        return None
    listed = [Project(each.id, each.label.removesuffix(f" ({each.id})")) for each in found.projects]
    is_listed = not query or query in {each.key for each in listed}
    return None if found.more and not is_listed else listed


def issue_types_in(found: IssueTypeList | None) -> Sequence[IssueType] | None:
    """Return the types of a lookup; none for a project that is not there."""
    if found is None or found.outcome not in ("known", "no_such_project"):
        return None
    return [IssueType(each.id, each.label) for each in found.issue_types]
