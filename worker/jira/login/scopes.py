"""Scopes that a scoped token or an OAuth client needs. Pure.

Atlassian has classic scopes, such as ``read:jira-work``, and granular ones, such as ``read:issue:jira``. A
token server names what it granted; an API token names nothing, and a refused request says that it lacks one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NEEDED: Final[Mapping[str, str]] = {
    "read:jira-work": "search and read tickets, projects and create screens",
    "write:jira-work": "create tickets; link, comment and attach",
    "read:jira-user": "who we are, and who is to be assigned",
}
"""Classic scopes, and what is asked with each."""

_GRANULAR: Final[Mapping[str, tuple[str, ...]]] = {
    "read:jira-work": ("read:issue:", "read:jql:"),
    "write:jira-work": ("write:issue:",),
    "read:jira-user": ("read:user:",),
}
"""Beginnings of the granular scopes that are the least in place of each."""


def missing_scopes(granted: frozenset[str]) -> tuple[str, ...]:
    """Return the needed scopes for which neither they nor granular ones are among ``granted``."""
    return tuple(scope for scope in NEEDED if scope not in granted and not _has_granular(scope, granted))


def _has_granular(scope: str, granted: frozenset[str]) -> bool:
    return all(any(name.startswith(beginning) for name in granted) for beginning in _GRANULAR[scope])
