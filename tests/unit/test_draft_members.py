"""A draft's priority, assignee and further fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from threadsync.commands import RequestSync
from threadsync.draft_fields import RESERVED
from threadsync.errors import InvalidCommand
from threadsync.syncs import Draft, readable

THREAD = {"channel_id": "C0123", "thread_ts": "1700000000.000100", "drafted_at": "1700000000.000200"}


def request(**members: Any) -> RequestSync:
    return RequestSync.from_message((), {**THREAD, "draft": {"summary": "x", **members}})


def test_a_draft_without_them_is_as_before() -> None:
    """A draft without the new members is stored and sent as one of 0.1.0 is, so that the two are equal."""
    draft = Draft(summary="x", labels=("a",))
    assert json.loads(draft.model_dump_json(exclude_none=True)) == {
        "summary": "x",
        "description": "",
        "labels": ["a"],
    }


def test_they_travel_and_are_read_again() -> None:
    """Priority, assignee and fields come through a message and a row as they were given, nulls inside too."""
    fields = {
        "customfield_10010": {"value": "a", "child": None},
        "components": [{"id": "1"}, None],
        "duedate": "x",
    }
    sent = request(priority="High", assignee="5b10a", fields=fields)
    again = RequestSync.from_message((), json.loads(json.dumps(sent.arguments())))
    assert again == sent
    assert again.draft.fields == fields
    assert readable(json.loads(sent.draft.model_dump_json(exclude_none=True))) == sent.draft


@pytest.mark.parametrize("name", [*sorted(RESERVED), "Summary", "ISSUETYPE"])
def test_reserved_ids_are_refused(name: str) -> None:
    """A field that has a member of its own, or that a draft may not set, is refused by its name."""
    with pytest.raises(InvalidCommand, match=f"may not have {name}"):
        request(fields={name: "x", "customfield_1": "y"})


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"fields": {"customfield_1": "x" * 65_536}}, "the limit is 65536"),
        ({"fields": {"a b": 1}}, "not the ID of a field"),
        ({"fields": {"": 1}}, "not the ID of a field"),
        ({"fields": {"customfield_1": "\x00"}}, "NUL"),
        ({"fields": {"customfield_1": float("nan")}}, "not a JSON object"),
        ({"fields": ["x"]}, "fields"),
        ({"priority": " "}, "is blank"),
        ({"priority": "x" * 256}, "255"),
        ({"assignee": ""}, "is blank"),
    ],
)
def test_limits(members: dict[str, Any], why: str) -> None:
    """What passes a limit, or cannot be stored, is refused without being quoted."""
    with pytest.raises(InvalidCommand, match=why):
        request(**members)


def test_a_stored_draft_with_reserved_fields_cannot_be_read() -> None:
    """A row that another program wrote with a reserved field is unreadable, and never sent."""
    assert readable({"summary": "x", "fields": {"project": {"key": "X"}}}) is None
