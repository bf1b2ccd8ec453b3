"""Fields of create screens, and values that drafts may hold of them, for property tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from handlers.form.view import BARE_FIELDS, Screen
from threadsync.forms import Choice, FieldKind, FormField, Shape
from worker.text.slack_text import cleaned


def choices(count: int, text: str = "Choice") -> tuple[Choice, ...]:
    """Return so many choices."""
    return tuple(Choice(id=str(10_000 + number), label=f"{text} {number}") for number in range(count))


def pairs(count: int) -> tuple[Choice, ...]:
    """Return options, each alone and with two children."""
    return tuple(
        choice
        for number in range(count)
        for choice in (
            Choice(id=f"{number}", label=f"Region {number}"),
            Choice(id=f"{number}/1", label=f"Region {number} > North"),
            Choice(id=f"{number}/2", label=f"Region {number} > South"),
        )
    )


_WRITTEN: Final[tuple[FieldKind, ...]] = ("string", "text_area", "number", "date", "date_time", "url")
_CHOSEN: Final[tuple[FieldKind, ...]] = ("option", "version", "component")


def _each() -> tuple[FormField, ...]:
    made: list[FormField] = []

    def add(kind: FieldKind, shape: Shape = "bare", multiple: bool = False, offered: Any = ()) -> None:
        number = len(made)
        made.append(
            FormField(
                id=f"customfield_{10_000 + number}",
                label=f"{kind} {number}",
                kind=kind,
                shape=shape,
                required=bool(number % 2),
                multiple=multiple,
                choices=offered,
            )
        )

    for kind in _WRITTEN:
        add(kind)
    add("text_area", "adf")
    add("labels", multiple=True)
    for multiple in (False, True):
        add("user", "accountId", multiple)
        add("user", "name", multiple)
        add("group", "name", multiple)
        for kind in _CHOSEN:
            for count in (1, 100, 101):
                add(kind, "id", multiple, choices(count))
    add("priority", "name", offered=choices(5, "Prio"))
    add("cascading", "id", offered=pairs(4))
    add("cascading", "id", offered=pairs(60))
    return tuple(made)


FIELDS: Final = _each()
"""A field of each kind, shape and number of values, with few and with many choices."""

_LARGE_KINDS: Final[tuple[FieldKind, ...]] = ("string", "option", "text_area")
_OF_DRAFT: Final = (
    *BARE_FIELDS,
    FormField(id="assignee", label="Assignee", kind="user"),
    FormField(
        id="priority",
        label="Priority",
        kind="priority",
        choices=tuple(Choice(id=name, label=name) for name in ("High", "Low")),
    ),
    FormField(id="labels", label="Labels", kind="labels", multiple=True),
)

_TEXT: Final = st.text(min_size=1, max_size=40).map(cleaned).filter(lambda text: bool(text.strip()))
_LONG: Final = st.builds(lambda text, times: text * times, _TEXT, st.sampled_from([1, 1, 1, 300, 4_000]))
_LABEL: Final = st.text(alphabet="abcdeé-_,", min_size=1, max_size=10)
_MOMENT: Final = st.integers(1_000_000_000, 9_999_999_999).map(
    lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.000+0000"
)
_PLACE: Final = st.sampled_from(["2026-11-30T04:55:00.123+1100", "2300-01-01T00:00:00.000+0000", "soon"])


def values_of(field: FormField) -> st.SearchStrategy[Any]:
    """Draw what a draft may hold of a field; also what no form would write."""
    if field.multiple:
        return st.lists(_one(field), min_size=1, max_size=4, unique_by=str)
    return _one(field)


def _one(field: FormField) -> st.SearchStrategy[Any]:
    match field.kind:
        case "number":
            return st.integers() | st.floats(allow_nan=False, allow_infinity=False)
        case "date":
            return st.dates().map(str)
        case "date_time":
            return _MOMENT | _PLACE
        case "labels":
            return _LABEL | _TEXT
        case "url":
            return st.just("https://jira.example/a?b=c&d=é") | _LONG
        case "cascading":
            ids = st.sampled_from([item.id for item in field.choices] + ["999"])
            return ids.map(_pair)
        case "option" | "version" | "component" | "priority":
            known = st.sampled_from([item.id for item in field.choices] + ["gone"])
            return known.map(lambda choice: _shaped(field, choice))
        case "text_area" if field.shape == "adf":
            return _LONG.map(_document) | st.just({"type": "doc", "version": 1, "content": []})
    # A draft's assignee has at most 255 characters.
    return (_TEXT if field.id == "assignee" else _LONG).map(lambda text: _shaped(field, text))


def _shaped(field: FormField, inner: str) -> Any:
    return inner if field.shape == "bare" else {field.shape: inner}


def _pair(text: str) -> Mapping[str, Any]:
    parent, _, child = text.partition("/")
    return {"id": parent, "child": {"id": child}} if child else {"id": parent}


def _document(text: str) -> dict[str, Any]:
    words = {"type": "paragraph", "content": [{"type": "text", "text": " ".join(text.split())}]}
    return {"type": "doc", "version": 1, "content": [words]}


@st.composite
def fields_with_values(draw: st.DrawFn) -> tuple[tuple[FormField, ...], dict[str, Any]]:
    """Draw a screen, and a value for some of its fields. It has a summary."""
    drawn = draw(st.lists(st.sampled_from(FIELDS), unique_by=lambda item: item.id, max_size=6))
    fields = (*_OF_DRAFT, *drawn)
    filled = draw(st.lists(st.sampled_from(fields), unique_by=lambda item: item.id))
    values = {item.id: draw(values_of(item)) for item in filled}
    values["summary"] = draw(_TEXT)
    values = {name: value for name, value in values.items() if len(json.dumps(value)) < 9_000}
    return fields, values


@st.composite
def screens(draw: st.DrawFn) -> tuple[Screen, dict[str, Any], dict[str, str]]:
    """Draw large screens with long names, values and refusals."""
    count = draw(st.sampled_from([0, 1, 5, 40, 97, 98, 130]))
    text = draw(st.sampled_from(["Team", "é" * 250, "😀" * 120, "&" * 255]))
    offered = choices(draw(st.sampled_from([1, 60, 100, 101, 400])), text)
    fields = [
        FormField(
            id=f"customfield_{number}",
            label=f"{text} {number}",
            kind=draw(st.sampled_from(_LARGE_KINDS)),
            shape="bare",
            required=True,
            multiple=False,
            choices=offered,
        )
        for number in range(count)
    ]
    long = draw(st.sampled_from(["x", "y" * 4_000, "😀" * 3_000]))
    values = {item.id: offered[0].id if item.kind == "option" else long for item in fields}
    said = {item.id: "No: " + text * 10 for item in fields}
    places = tuple(choices(draw(st.sampled_from([0, 3, 100, 101])), text))
    unaskable: tuple[str, ...] = (text,) * draw(st.sampled_from([0, 300]))
    screen = Screen((*BARE_FIELDS, *fields), places, places, unaskable)
    return (
        screen,
        {"summary": "s", **values},
        said if draw(st.booleans()) else {"": text * 100, "parent": "no"},
    )
