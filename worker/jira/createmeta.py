"""Read Jira's create screens, ``createmeta``, as the fields of a form. Pure.

Both dialects have the same fields: Cloud names its pages ``fields`` and ``issueTypes``, a Data Center
``values``. https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from threadsync.forms import BETWEEN, Choice, FieldKind, FormField, Shape
from worker.jira.answers import Deployment
from worker.text.slack_text import cleaned

_SET_BY_US: Final = frozenset({"project", "issuetype", "reporter"})
"""Project and type are asked for apart; Jira sets the reporter, though some screens call it required."""

_OFFERED: Final = ("summary", "description", "assignee", "priority", "labels")
"""Fields that the form has whenever the screen has them, in their order."""

_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)
"""Ids of fields that a draft takes."""

_LONGEST_LABEL: Final = 255
_TEXT_AREAS: Final = frozenset({"description", "environment"})
_NOT_SETTABLE: Final = frozenset({"readonlyfield"})
_CUSTOM: Final = "com.atlassian.jira.plugin.system.customfieldtypes:"
_BY_TYPE: Final[Mapping[str, FieldKind]] = {
    "number": "number",
    "date": "date",
    "datetime": "date_time",
    "option": "option",
    "option-with-child": "cascading",
    "user": "user",
    "group": "group",
    "version": "version",
    "component": "component",
    "priority": "priority",
}
_LISTED: Final = frozenset({"option", "user", "group", "version", "component"})
_OF_DRAFT: Final[Mapping[str, Shape]] = {"summary": "bare", "description": "bare", "assignee": "bare"}


def form_fields(
    entries: Iterable[Mapping[str, Any]], deployment: Deployment
) -> tuple[tuple[FormField, ...], tuple[str, ...]]:
    """Return the fields to ask for, and the names of required ones that cannot be asked for."""
    fields: dict[str, FormField] = {}
    unaskable: list[str] = []
    for entry in entries:
        field_id = str(entry.get("fieldId") or entry.get("key") or "")
        is_needed = entry.get("required") is True and entry.get("hasDefaultValue") is not True
        if not field_id or field_id in _SET_BY_US or not (is_needed or field_id in _OFFERED):
            continue
        field = _field(field_id, entry, deployment, required=is_needed)
        if field:
            fields.setdefault(field_id, field)
        elif is_needed:
            unaskable.append(_label(entry.get("name")) or field_id)
    place = {name: number for number, name in enumerate(_OFFERED)}
    ordered = sorted(fields.values(), key=lambda field: place.get(field.id, len(place)))
    return tuple(ordered), tuple(dict.fromkeys(unaskable))


def issue_types(entries: Iterable[Mapping[str, Any]]) -> tuple[Choice, ...]:
    """Return the issue types of a project, without those of sub-tasks."""
    tickets = (entry for entry in entries if entry.get("subtask") is not True and not _is_below(entry))
    return tuple(_distinct(tickets, "id", "name"))


def projects(entries: Iterable[Mapping[str, Any]]) -> tuple[Choice, ...]:
    """Return projects by key, with their names."""
    found = _distinct((entry for entry in entries if entry.get("archived") is not True), "key", "name")
    named = (
        Choice(id=item.id, label=item.id if item.label == item.id else f"{item.label} ({item.id})")
        for item in found
    )
    return tuple(sorted(named, key=lambda item: item.id))


def _is_below(entry: Mapping[str, Any]) -> bool:
    level = entry.get("hierarchyLevel")
    return isinstance(level, int) and level < 0


def _field(
    field_id: str, entry: Mapping[str, Any], deployment: Deployment, *, required: bool
) -> FormField | None:
    found = _kind(field_id, entry)
    if found is None or not _ID.fullmatch(field_id):
        return None
    kind, multiple = found
    shape = _shape(field_id, kind, deployment)
    choices = _choices(kind, shape, entry.get("allowedValues"))
    if choices == ():
        return None
    return FormField(
        id=field_id,
        label=_label(entry.get("name")) or field_id,
        kind=kind,
        shape=shape,
        required=required or field_id == "summary",
        multiple=multiple,
        choices=choices or (),
    )


def _kind(field_id: str, entry: Mapping[str, Any]) -> tuple[FieldKind, bool] | None:
    """Return the kind of a field, and whether it takes several values; None for one that is not asked for."""
    schema = entry.get("schema")
    if not isinstance(schema, Mapping) or not _is_settable(entry, schema):
        return None
    custom = str(schema.get("custom") or "").removeprefix(_CUSTOM)
    kind, items = str(schema.get("type")), str(schema.get("items"))
    if kind == "array":
        if items in _LISTED:
            return _BY_TYPE[items], True
        is_labels = field_id == "labels" or custom == "labels"
        return ("labels", True) if items == "string" and is_labels else None
    if kind == "string":
        if custom in ("textarea", "url"):
            return ("text_area" if custom == "textarea" else "url"), False
        return ("text_area" if field_id in _TEXT_AREAS else "string"), False
    return (_BY_TYPE[kind], False) if kind in _BY_TYPE else None


def _is_settable(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    operations = entry.get("operations")
    custom = str(schema.get("custom") or "").removeprefix(_CUSTOM)
    return custom not in _NOT_SETTABLE and not (
        isinstance(operations, list) and operations and "set" not in operations
    )


def _shape(field_id: str, kind: FieldKind, deployment: Deployment) -> Shape:
    """Return how a draft holds the field's value."""
    if field_id in _OF_DRAFT:
        return _OF_DRAFT[field_id]
    match kind:
        case "user":
            return "accountId" if deployment == "cloud" else "name"
        case "group":
            return "name"
        case "option" | "cascading" | "version" | "component":
            return "id"
        case "priority":
            return "bare" if field_id == "priority" else "name"
        case "text_area":
            return "adf" if deployment == "cloud" else "bare"
        case _:
            return "bare"


def _choices(kind: FieldKind, shape: Shape, allowed: object) -> tuple[Choice, ...] | None:
    """Return the choices; None for a kind that has none."""
    if kind not in ("option", "cascading", "version", "component", "priority"):
        return None
    values = [value for value in allowed if isinstance(value, Mapping)] if isinstance(allowed, list) else []
    offered = [
        value for value in values if not any(value.get(mark) is True for mark in ("disabled", "archived"))
    ]
    if kind == "cascading":
        return tuple({item.id: item for item in _pairs(offered)}.values())
    if kind == "priority":
        offered = [{**value, "id": _priority_id(value, shape)} for value in offered]
    return tuple(_distinct(offered, "id", "value", "name"))


def _priority_id(value: Mapping[str, Any], shape: Shape) -> Any:
    """Return a priority's name, as channels have it; its id where a draft takes the name for an id."""
    name = value.get("name")
    is_like_an_id = isinstance(name, str) and name.isascii() and name.isdigit()
    return value.get("id") if shape == "bare" and is_like_an_id else name


def _pairs(values: Iterable[Mapping[str, Any]]) -> Iterator[Choice]:
    for value in values:
        for parent in _distinct([value], "id", "value", "name"):
            if BETWEEN in parent.id:
                continue
            yield parent
            children = value.get("children")
            inner = (
                [item for item in children if isinstance(item, Mapping)] if isinstance(children, list) else []
            )
            offered = [item for item in inner if item.get("disabled") is not True]
            for child in _distinct(offered, "id", "value", "name"):
                yield Choice(id=f"{parent.id}{BETWEEN}{child.id}", label=f"{parent.label} > {child.label}")


def _distinct(values: Iterable[Mapping[str, Any]], by: str, *named: str) -> Iterator[Choice]:
    seen = set()
    for value in values:
        choice_id = value.get(by)
        if isinstance(choice_id, int) and not isinstance(choice_id, bool):
            choice_id = str(choice_id)
        if not isinstance(choice_id, str) or not choice_id or choice_id in seen:
            continue
        seen.add(choice_id)
        label = next((text for name in named if (text := _label(value.get(name)))), None)
        yield Choice(id=choice_id, label=label or _label(choice_id) or choice_id)


def _label(text: object) -> str:
    return " ".join(cleaned(text).split())[:_LONGEST_LABEL] if isinstance(text, str) else ""
