"""Parser of the three searches that the sandbox Jira understands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sandbox.jira.issues import Issue

_VALUE: Final = r'"([^"\\]+)"'
_LABEL: Final = re.compile(rf"labels = {_VALUE}", re.IGNORECASE)
_PROJECT_AND_LABEL: Final = re.compile(rf"project = {_VALUE} AND labels = {_VALUE}", re.IGNORECASE)
_NEWEST_OF_PROJECT: Final = re.compile(rf"project = {_VALUE} ORDER BY created DESC", re.IGNORECASE)


class JqlError(ValueError):
    """A search that the sandbox does not know; the message goes into the response."""


@dataclass(frozen=True)
class Query:
    """A search's conditions; None matches everything."""

    project: str | None = None
    label: str | None = None

    def matches(self, issue: Issue) -> bool:
        """Return True if this version of a ticket meets the conditions."""
        return self.project in (None, issue.project) and (self.label is None or self.label in issue.labels)


def parse(jql: str) -> Query:
    """Parse a search. Raises ``JqlError`` for anything but

    labels = "x"
    project = "P" AND labels = "x"
    project = "P" ORDER BY created DESC
    """
    if match := _LABEL.fullmatch(jql):
        return Query(label=match[1])
    if match := _PROJECT_AND_LABEL.fullmatch(jql):
        return Query(project=match[1], label=match[2])
    if match := _NEWEST_OF_PROJECT.fullmatch(jql):
        return Query(project=match[1])
    raise JqlError(f"Error in the JQL Query: the sandbox does not know the search '{jql}'.")
