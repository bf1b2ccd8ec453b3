"""The sandbox Jira's tickets as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.jira.issues import Issue

_LINES: Final = frozenset({"paragraph", "heading", "codeBlock", "rule"})


def tickets_json(issues: Sequence[Issue]) -> list[dict[str, Any]]:
    """Show the tickets, the newest first."""
    return [_ticket(issue) for issue in sorted(issues, key=lambda issue: int(issue.id), reverse=True)]


def _ticket(issue: Issue) -> dict[str, Any]:
    return {
        "key": issue.key,
        "type": issue.issue_type,
        "summary": issue.summary,
        "description": text_of(issue.description),
        "labels": list(issue.labels),
        "created": datetime.fromtimestamp(issue.created, UTC).isoformat(timespec="seconds"),
        "links": [{"url": link.url, "title": link.title} for link in issue.remote_links],
        "comments": [text_of(comment.body) for comment in issue.comments],
    }


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
