"""The sandbox Jira's tickets as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.jira.issues import Issue
from sandbox.jira.site import JiraSite

_LINES: Final = frozenset({"paragraph", "heading", "codeBlock", "rule"})
_NAMES: Final = ("displayName", "name", "value", "id")
"""Members of a JSON value that name it, the best first."""


def tickets_json(
    issues: Sequence[Issue], names_of: Callable[[Issue], Mapping[str, str]] = lambda issue: {}
) -> list[dict[str, Any]]:
    """Show the tickets, the newest first. ``names_of`` returns the names of a ticket's fields by id."""
    newest_first = sorted(issues, key=lambda issue: int(issue.id), reverse=True)
    return [_ticket(issue, names_of(issue)) for issue in newest_first]


def _ticket(issue: Issue, names: Mapping[str, str]) -> dict[str, Any]:
    fields: Mapping[str, Any] = getattr(issue, "fields", {})
    return {
        "key": issue.key,
        "type": issue.issue_type,
        "summary": issue.summary,
        "description": text_of(issue.description),
        "labels": list(issue.labels),
        "fields": [
            {"name": names.get(field, field), "value": shown}
            for field, value in fields.items()
            if (shown := value_of(value))
        ],
        "created": datetime.fromtimestamp(issue.created, UTC).isoformat(timespec="seconds"),
        "links": [{"url": link.url, "title": link.title} for link in issue.remote_links],
        "files": [
            {"name": file.filename, "size": len(file.content)} for file in getattr(issue, "attachments", ())
        ],
        "comments": [text_of(comment.body) for comment in issue.comments],
    }


def names_on(site: JiraSite, issue: Issue) -> dict[str, str]:
    """Return the names of the fields on the screen that a ticket was made with, by id."""
    types = getattr(site, "types_of", lambda key: ())(issue.project)
    screen = next((kind.screen for kind in types if kind.name == issue.issue_type), site.screen)
    return {field_id: field.name for field_id, field in screen.items()}


def value_of(value: Any) -> str:
    """Return a field's value as a text: an option's name, a person's, a list by comma; "" for none."""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(value_of, value)))
    if isinstance(value, Mapping):
        if value.get("type") == "doc":
            return text_of(value)
        return next((str(value[name]) for name in _NAMES if value.get(name)), "")
    if hasattr(value, "parent"):
        return " / ".join(filter(None, (value_of(value.parent), value_of(value.child))))
    named = next((getattr(value, name) for name in ("text", "display_name") if hasattr(value, name)), value)
    return "" if named is None else str(named)


def text_of(document: Any) -> str:
    """Return the text of a description or comment, in Atlassian's document format or plain."""
    if not isinstance(document, Mapping):
        return str(document or "")
    return "".join(_text(document)).strip("\n")


def _text(node: Mapping[str, Any]) -> Iterator[str]:
    kind = node.get("type")
    if kind == "text":
        yield str(node.get("text", ""))
        yield from _address(node)
    elif kind == "hardBreak":
        yield "\n"
    elif kind == "listItem":
        yield "• "
    for child in node.get("content", ()):
        yield from _text(child)
    if kind in _LINES:
        yield "\n"


def _address(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield a link's address, unless it is the text itself."""
    for mark in node.get("marks", ()):
        href = mark.get("attrs", {}).get("href")
        if mark.get("type") == "link" and href and href != node.get("text"):
            yield f" ({href})"
