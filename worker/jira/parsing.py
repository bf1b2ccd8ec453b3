"""Read Jira's JSON. Raises `Unreadable` where a needed part is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from worker.jira.answers import CreateField, JiraIssue

_ID: Final = re.compile(r"[0-9]{1,30}")
_KEY: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}")
"""Pattern of a key in the tables."""

_LONGEST_NAME: Final = 255

PROPERTY = "threadsync"
"""Name of the entity property with the marker. It needs no screen, and shows on none."""


class Unreadable(ValueError):
    """A response unlike Jira's documentation; the message quotes nothing of it."""


def identity(content: Mapping[str, Any]) -> tuple[str, str]:
    """Read a ticket's id and key, in a form that the tables keep."""
    issue_id, key = content.get("id"), content.get("key")
    if not isinstance(issue_id, str) or not isinstance(key, str):
        raise Unreadable("a ticket without an id and a key")
    if not _ID.fullmatch(issue_id) or not _KEY.fullmatch(key):
        raise Unreadable("a ticket with an id or a key that is none")
    return issue_id, key


def issue(content: object) -> JiraIssue:
    """Read a ticket that was fetched with the field ``labels`` and our property."""
    found = _mapping(content, "a ticket")
    issue_id, key = identity(found)
    labels = _under(found, "fields").get("labels")
    marker = _under(_under(found, "properties"), PROPERTY).get("marker")
    return JiraIssue(
        issue_id,
        key,
        tuple(label for label in labels if isinstance(label, str)) if isinstance(labels, list) else (),
        marker if isinstance(marker, str) else None,
    )


def issues(content: Mapping[str, Any]) -> tuple[JiraIssue, ...]:
    """Read the issues in the response of a search or bulk fetch."""
    found = content.get("issues")
    if not isinstance(found, list):
        raise Unreadable("no list of tickets")
    return tuple(issue(item) for item in found)


def comment_properties(content: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Read the entity properties of each comment of a page."""
    found = content.get("comments")
    if not isinstance(found, list):
        raise Unreadable("no list of comments")
    return tuple(_properties_of(item) for item in found)


def _properties_of(comment: object) -> Mapping[str, Any]:
    listed = comment.get("properties") if isinstance(comment, dict) else None
    pairs = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return {str(item.get("key")): item.get("value") for item in pairs}


def number(key: str) -> int:
    """Return a key's number: 7 for ``PROJ-7``."""
    if not _KEY.fullmatch(key):
        raise Unreadable("a key without a number")
    return int(key.rpartition("-")[2])


def create_field(content: Mapping[str, Any]) -> CreateField:
    """Read a field of a create screen."""
    field_id = content.get("fieldId") or content.get("key")
    return CreateField(
        id=str(field_id)[:_LONGEST_NAME],
        name=str(content.get("name") or field_id)[:_LONGEST_NAME],
        required=content.get("required") is True,
        has_default=content.get("hasDefaultValue") is True,
    )


def page(content: Mapping[str, Any], *names: str) -> tuple[Mapping[str, Any], ...]:
    """Read the entries of a page; Cloud and Data Center have different names for them."""
    found = next((content[name] for name in names if isinstance(content.get(name), list)), None)
    if found is None:
        raise Unreadable("a page without entries")
    return tuple(_mapping(item, "an entry") for item in found)


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} that is no object")
    return value


def _under(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}
