"""Read the values of a new ticket's fields, and refuse those that Jira refuses, in its words. No I/O.

A value is stored as a `Choice`, a `Chosen`, an `Account`, a text, a number or a list of these; a group is
stored as its name. Values of kinds that the sandbox does not know are stored as they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from sandbox.jira.accounts import Account, AccountBook
from sandbox.jira.fields import Choice, Chosen, ScreenField
from sandbox.jira.texts import document_fault, labels_fault, text_fault

LONGEST_LINE: Final = 255
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:?\d\d)")
_MOMENT_OF_A_DATA_CENTER: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")
_TEXT_AREAS: Final = ("description", "environment")


class BadValue(ValueError):
    """A value that Jira refuses; the message is what it says of the field."""


@dataclass(frozen=True)
class Place:
    """What values are compared with: accounts and groups, and the dialect of the API."""

    accounts: AccountBook
    is_cloud: bool


def read_value(field_id: str, field: ScreenField, value: Any, place: Place) -> Any:
    """Return the value as it is stored. Raises ``BadValue``."""
    if field.type != "array":
        return _read(field_id, field, value, place)
    if not isinstance(value, list):
        raise BadValue("data was not an array")
    if field.values_are == "string":
        if fault := labels_fault(value):
            raise BadValue(fault)
        return list(dict.fromkeys(value))
    return [_read(field_id, field, item, place) for item in value]


def _read(field_id: str, field: ScreenField, value: Any, place: Place) -> Any:
    reader = _READERS.get(field.values_are)
    return reader(field_id, field, value, place) if reader else value


def _text(field_id: str, field: ScreenField, value: Any, place: Place) -> Any:
    if field_id in _TEXT_AREAS or field.custom == "textarea":
        fault = document_fault(value) if place.is_cloud else text_fault(value)
    else:
        fault = text_fault(value, LONGEST_LINE)
    if fault is None and field.custom == "url" and not _is_url(value):
        fault = f"The URL '{value}' is not valid."
    if fault:
        raise BadValue(fault)
    return value


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", value)


def _number(field_id: str, field: ScreenField, value: Any, place: Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue("Operation value must be a number")
    return value


def _date(field_id: str, field: ScreenField, value: Any, place: Place) -> Any:
    if not _parses(date.fromisoformat, _DAY, value):
        raise BadValue(f"Error parsing date string: {value}")
    return value


def _date_time(field_id: str, field: ScreenField, value: Any, place: Place) -> Any:
    pattern = _MOMENT if place.is_cloud else _MOMENT_OF_A_DATA_CENTER
    if not _parses(datetime.fromisoformat, pattern, value):
        raise BadValue(f"Error parsing time: {value}")
    return value


def _parses(parse: Callable[[str], object], pattern: re.Pattern[str], value: Any) -> bool:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        return False
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _option(field_id: str, field: ScreenField, value: Any, place: Place) -> Choice:
    if not isinstance(value, dict) or not {"id", "value"} & value.keys():
        raise BadValue("Could not find valid 'id' or 'value' in the Parent Option object.")
    return _choice(field.choices or (), value, "value", "Option")


def _cascading(field_id: str, field: ScreenField, value: Any, place: Place) -> Chosen:
    parent = _option(field_id, field, value, place)
    child = value.get("child")
    if child is None:
        return Chosen(parent)
    if not isinstance(child, dict) or not {"id", "value"} & child.keys():
        raise BadValue("Could not find valid 'id' or 'value' in the Child Option object.")
    return Chosen(parent, _choice(parent.children, child, "value", "Option"))


def _named(label: str) -> Reader:
    def read(field_id: str, field: ScreenField, value: Any, place: Place) -> Choice:
        if not isinstance(value, dict) or not {"id", "name"} & value.keys():
            raise BadValue(f"Could not find valid 'id' or 'name' in the {label} object.")
        return _choice(field.choices or (), value, "name", label)

    return read


def _choice(allowed: tuple[Choice, ...], value: Mapping[str, Any], named_by: str, label: str) -> Choice:
    """Return the choice that is named by id, or else by text, and not disabled. Raises ``BadValue``."""
    possible = [choice for choice in allowed if not choice.disabled]
    if "id" in value:
        found = [choice for choice in possible if choice.id == str(value["id"])]
        named = f"{label} id '{value['id']}' is not valid"
    else:
        found = [choice for choice in possible if choice.text == value[named_by]]
        named = f"{label} {named_by} '{value[named_by]}' is not valid"
    if not found:
        raise BadValue(named)
    return found[0]


def _account(field_id: str, field: ScreenField, value: Any, place: Place) -> Account:
    """Read an account: ``accountId`` or ``id`` on Cloud, ``name`` on a Data Center."""
    given = value if isinstance(value, dict) else {}
    if place.is_cloud:
        name = given.get("accountId", given.get("id"))
        found = place.accounts.find(str(name))
    else:
        name = given.get("name")
        found = place.accounts.named(str(name))
    if found is None or not found.active:
        if field_id == "reporter":
            raise BadValue("The reporter specified is not a user.")
        raise BadValue(f"User '{name}' does not exist.")
    if field_id == "assignee" and found.kind != "atlassian":
        raise BadValue(f"User '{name}' cannot be assigned issues.")
    return found


def _group(field_id: str, field: ScreenField, value: Any, place: Place) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in place.accounts.groups:
        raise BadValue(f"Group name '{name}' is not a valid group.")
    return name


Reader = Callable[[str, ScreenField, Any, Place], Any]

_READERS: Final[Mapping[str, Reader]] = {
    "string": _text,
    "number": _number,
    "date": _date,
    "datetime": _date_time,
    "option": _option,
    "option-with-child": _cascading,
    "user": _account,
    "group": _group,
    "version": _named("Version"),
    "component": _named("Component"),
    "priority": _named("Priority"),
    "securitylevel": _named("Security level"),
}
