"""Whatever a payload of the form holds, it is read: as nothing, as a fault, or as a command that is valid."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.form.draft import Known
from handlers.form.submission import change_in, submission_in
from handlers.form.view import BARE_FIELDS, Screen, form_view
from handlers.ticket_form import about_click, about_fix, response_url_of
from tests.support.form_fields import FIELDS
from tests.support.scale import bounded
from threadsync.errors import InvalidCommand
from threadsync.forms import Choice

NAMES: Final = st.sampled_from(
    [
        *("id", "hash", "view", "blocks", "state", "values", "element", "block_id", "action_id", "type"),
        *(
            "private_metadata",
            "value",
            "selected_option",
            "selected_users",
            "actions",
            "container",
            "message",
        ),
        *("channel_id", "thread_ts", "project", "issuetype", "summary", "option:id:one", "number:bare:one"),
        *("kept", "session_id", "drafted_at", "channel", "user"),
    ]
)
TEXTS: Final = NAMES | st.text(max_size=8) | st.sampled_from(["9" * 5_000, "\ud800", "\x00", "C0123", "1.1"])
JUNK: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=4),
    max_leaves=12,
)
METADATA: Final = JUNK.map(json.dumps) | TEXTS
TYPES: Final = (Choice(id="1", label="Task"), Choice(id="2", label="Bug"))
KNOWN: Final = Known(choices={item.id: item.choices for item in FIELDS}, accounts={"U1": "acc"}, kept={})


@st.composite
def payloads(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a payload: one of a form of ours in which some parts were replaced by junk, or junk alone."""
    click = {"actions": [{"value": "1700000000.000100"}], "container": {"channel_id": "C0123"}}
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique_by=lambda item: item.id))
    view = form_view(Screen((*BARE_FIELDS, *fields), TYPES, TYPES), about_click(click), {"summary": "s"})
    view["private_metadata"] = draw(st.just(view["private_metadata"]) | METADATA)
    state: dict[str, Any] = {}
    for block in view["blocks"]:
        held = draw(st.dictionaries(NAMES, JUNK, max_size=3) | JUNK)
        state[block["block_id"]] = {block["element"]["action_id"]: held}
        part = draw(st.sampled_from(["", "", "", *block, *block["element"]]))
        if part:
            (block if part in block else block["element"])[part] = draw(JUNK)
    view["state"] = draw(st.just({"values": state}) | JUNK)
    name = draw(st.sampled_from(["project", "issuetype"]))
    actions = [{"action_id": name, "selected_option": draw(JUNK), "value": draw(JUNK)}]
    return {"view": draw(st.just(view) | JUNK), "actions": draw(st.just(actions) | JUNK), **draw(OTHERS)}


OTHERS: Final = st.fixed_dictionaries({}, optional={"message": JUNK, "container": JUNK, "channel": JUNK})


@pytest.mark.bounded
@given(payloads())
@settings(max_examples=bounded(200, 40), deadline=None)
def test_a_submission_becomes_a_command_or_sentences(payload: dict[str, Any]) -> None:
    """A submission is a valid command, or refused by a sentence or by ``InvalidCommand``; nothing else."""
    submission = submission_in(payload)
    assert isinstance(submission.needs_draft, bool)
    assert all(isinstance(user, str) for user in submission.people)
    found = submission.written(KNOWN)
    assert all(isinstance(text, str) and text for text in found.faults.values())
    assert isinstance(response_url_of(payload), str)
    if found.faults:
        return
    try:
        command = submission.command(found.values, "1700000002.000000")
    except InvalidCommand:
        return
    json.dumps(command.arguments(), allow_nan=False)


@pytest.mark.bounded
@given(payloads())
@settings(max_examples=bounded(200, 40), deadline=None)
def test_clicks_and_changes_are_read_or_refused(payload: dict[str, Any]) -> None:
    """A change is read or ignored; a click is read, or refused by ``InvalidCommand``."""
    change = change_in(payload)
    assert change is None or change.chosen.strip()
    for about_of_click in (about_click, about_fix):
        try:
            about = about_of_click(payload)
        except InvalidCommand:
            continue
        assert about.channel_id
        assert about.thread_ts
