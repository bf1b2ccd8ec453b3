"""Tickets, remote links and comments as the sandbox Jira keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

MARKER_PROPERTY: Final = "threadsync"


@dataclass(frozen=True)
class RemoteLink:
    """A link from a ticket to a page elsewhere. ``global_id`` is None if it was made without one."""

    id: int
    global_id: str | None
    url: str
    title: str


@dataclass(frozen=True)
class Comment:
    """A comment of a ticket; ``body`` is ADF (version 3) or text (version 2)."""

    id: int
    body: Any
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A ticket before it is made. ``description`` is ADF (version 3), text (version 2) or None."""

    project: str
    issue_type: str
    summary: str
    description: Any = None
    labels: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Issue:
    """A ticket that exists. ``created`` is in seconds on the site's clock."""

    id: str
    project: str
    number: int
    issue_type: str
    summary: str
    description: Any
    labels: tuple[str, ...]
    properties: Mapping[str, Any]
    created: float
    remote_links: tuple[RemoteLink, ...] = ()
    comments: tuple[Comment, ...] = ()

    @classmethod
    def made_of(cls, draft: Draft, issue_id: str, number: int, created: float) -> Issue:
        """Make the ticket of a draft."""
        given = {field.name: getattr(draft, field.name) for field in fields(draft)}
        return cls(id=issue_id, number=number, created=created, **given)

    @property
    def key(self) -> str:
        """The ticket's key, such as PROJ-12; a move changes it."""
        return f"{self.project}-{self.number}"

    def carries(self, marker: str) -> bool:
        """Return True if a label or the entity property has the marker."""
        value = self.properties.get(MARKER_PROPERTY)
        return marker in self.labels or (isinstance(value, dict) and value.get("marker") == marker)
