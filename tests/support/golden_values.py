"""Jira's side of a golden create screen: the values that it takes, and what it says of the others.

Written from the documents of createmeta alone, a second time: nothing here is imported from the form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import urlsplit

Entry = Mapping[str, Any]

SET_BY_JIRA: Final = frozenset({"project", "issuetype", "reporter"})
REFUSED: Final = "REFUSED"
"""A summary with this word is one that Jira does not take, as a validator of its administrators would."""

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")


@dataclass(frozen=True)
class People:
    """The accounts (ids on Cloud, names on a Data Center) and groups that Jira has."""

    accounts: Collection[str]
    groups: Collection[str]
    is_cloud: bool


Check = Callable[[Entry, Any, People], str | None]


def faults(screen: Mapping[str, Entry], fields: Mapping[str, Any], people: People) -> dict[str, str]:
    """Return what Jira says of a new ticket's fields, by field; empty if it takes them."""
    return dict(_faults(screen, fields, people))


def _faults(
    screen: Mapping[str, Entry], fields: Mapping[str, Any], people: People
) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if name not in screen:
            yield name, f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        elif name not in SET_BY_JIRA and (fault := _fault(name, screen[name], value, people)):
            yield name, fault
    for name, entry in screen.items():
        is_needed = entry["required"] and not entry.get("hasDefaultValue") and name not in SET_BY_JIRA
        if is_needed and fields.get(name) in (None, "", [], {}):
            yield name, f"{entry['name']} is required."


def _fault(name: str, entry: Entry, value: Any, people: People) -> str | None:
    schema = entry["schema"]
    custom = str(schema.get("custom") or "").rpartition(":")[2]
    if name == "summary" and REFUSED in str(value):
        return "We do not take such a summary here."
    if schema["type"] == "array":
        if not isinstance(value, list):
            return "data was not an array"
        check = _CHECKS.get("label" if schema["items"] == "string" else schema["items"], _anything)
        return next((fault for item in value if (fault := check(entry, item, people))), None)
    is_area = custom == "textarea" or name in ("description", "environment")
    kind = "area" if is_area else "url" if custom == "url" else schema["type"]
    return _CHECKS.get(kind, _anything)(entry, value, people)


def _area(entry: Entry, value: Any, people: People) -> str | None:
    if not people.is_cloud:
        return None if isinstance(value, str) else "Operation value must be a string"
    is_document = isinstance(value, dict) and value.get("type") == "doc" and value.get("content")
    return None if is_document else "Operation value must be an Atlassian Document"


def _line(entry: Entry, value: Any, people: People) -> str | None:
    if not isinstance(value, str):
        return "Operation value must be a string"
    if "\n" in value:
        return f"{entry['name']} contains newline characters."
    return f"{entry['name']} must be less than 255 characters." if len(value) > 255 else None


def _url(entry: Entry, value: Any, people: People) -> str | None:
    try:
        parts = urlsplit(value)
    except (ValueError, AttributeError):
        parts = urlsplit("")
    return None if parts.scheme and parts.netloc and " " not in value else f"The URL {value} is not valid."


def _label(entry: Entry, value: Any, people: People) -> str | None:
    if not isinstance(value, str) or not value or value.split() != [value]:
        return f"The label '{value}' contains spaces which is invalid."
    return None


def _number(entry: Entry, value: Any, people: People) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number else "Operation value must be a number"


def _parsed(pattern: re.Pattern[str], parse: Callable[[str], object]) -> Check:
    def check(entry: Entry, value: Any, people: People) -> str | None:
        try:
            if isinstance(value, str) and pattern.fullmatch(value) and parse(value):
                return None
        except ValueError:
            pass
        return f"Error parsing date string: {value}"

    return check


def _chosen(entry: Entry, value: Any, people: People) -> str | None:
    allowed = [item for item in entry["allowedValues"] if not (item.get("disabled") or item.get("archived"))]
    given = value if isinstance(value, dict) else {}
    found = [
        item
        for item in allowed
        if ("id" in given and item["id"] == given["id"])
        or ("id" not in given and "name" in given and item.get("name") == given["name"])
    ]
    if not found:
        return f"Option '{value}' is not valid"
    if "child" not in given:
        return None
    children = [child["id"] for child in found[0].get("children", ())]
    return None if given["child"]["id"] in children else f"Option '{value}' is not valid"


def _user(entry: Entry, value: Any, people: People) -> str | None:
    name = value.get("accountId" if people.is_cloud else "name") if isinstance(value, dict) else None
    return None if name in people.accounts else f"User '{name}' does not exist."


def _group(entry: Entry, value: Any, people: People) -> str | None:
    name = value.get("name") if isinstance(value, dict) else None
    return None if name in people.groups else f"Group name '{name}' is not a valid group."


def _anything(entry: Entry, value: Any, people: People) -> str | None:
    return None


_CHECKS: Final[Mapping[str, Check]] = {
    "area": _area,
    "string": _line,
    "url": _url,
    "label": _label,
    "number": _number,
    "date": _parsed(_DAY, date.fromisoformat),
    "datetime": _parsed(_MOMENT, datetime.fromisoformat),
    "option": _chosen,
    "option-with-child": _chosen,
    "version": _chosen,
    "component": _chosen,
    "priority": _chosen,
    "user": _user,
    "group": _group,
    "securitylevel": _chosen,
}
