"""Tickets, remote links, comments and attachments as the sandbox Jira keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """A comment; ``body`` is ADF (version 3) or text (version 2), ``author`` the id of an account."""

    id: int
    body: Any
    properties: Mapping[str, Any] = field(default_factory=dict)
    author: str | None = None
    created: float = 0.0


@dataclass(frozen=True)
class Upload:
    """A file of a multipart request."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Attachment:
    """A file of a ticket. Two of them may have the same name, as in Jira."""

    id: int
    filename: str
    content: bytes
    content_type: str
    author: str | None
    created: float


@dataclass(frozen=True)
class Draft:
    """A ticket before it is made.

    Args:
        description: ADF (version 3), text (version 2) or None.
        reporter: id of an account; ``creator`` is that of the login.
        level: id of the level of issue security; None for none.
        fields: the other fields by id, as `sandbox.jira.field_values` reads them.
    """

    project: str
    issue_type: str
    summary: str
    description: Any = None
    labels: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    reporter: str | None = None
    creator: str | None = None
    level: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Issue:
    """A ticket that exists, with the members of its draft. ``created`` is in seconds on the site's clock."""

    id: str
    project: str
    number: int
    issue_type: str
    summary: str
    description: Any
    labels: tuple[str, ...]
    properties: Mapping[str, Any]
    created: float
    reporter: str | None = None
    creator: str | None = None
    level: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    remote_links: tuple[RemoteLink, ...] = ()
    comments: tuple[Comment, ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @classmethod
    def made_of(cls, draft: Draft, issue_id: str, number: int, created: float) -> Issue:
        """Make the ticket of a draft."""
        given = {item.name: getattr(draft, item.name) for item in dataclasses.fields(draft)}
        return cls(id=issue_id, number=number, created=created, **given)

    @property
    def key(self) -> str:
        """The ticket's key, such as PROJ-12; a move changes it."""
        return f"{self.project}-{self.number}"

    def carries(self, marker: str) -> bool:
        """Return True if a label or the entity property has the marker."""
        value = self.properties.get(MARKER_PROPERTY)
        return marker in self.labels or (isinstance(value, dict) and value.get("marker") == marker)
