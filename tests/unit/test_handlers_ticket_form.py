"""The form that asks for a ticket, and the command made from it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.ticket_form import (
    DESCRIPTION,
    SUMMARY,
    command_for_submission,
    faults_in,
    response_url_of,
    summary_in,
    ticket_form,
)
from sandbox.slack.requests import button_click, view_submission
from tests.support.slack_app import CHANNEL, THREAD, USER
from threadsync.errors import InvalidCommand

URL = "https://hooks.slack.example/1"
CLICK = button_click(
    "threadsync_create", THREAD, CHANNEL, USER, message_ts="1700000001.000100", response_url=URL
)
NOW = "1700000002.000000"


def submission(summary: str | None, description: str | None = None) -> dict[str, Any]:
    return view_submission(ticket_form(CLICK), {SUMMARY: summary, DESCRIPTION: description}, USER)


@pytest.mark.parametrize(
    ("summary", "description", "inputs", "words"),
    [
        ("x", None, [], ""),
        ("x" * 10_000, "y" * 200_000, [], ""),
        (" ", "y", [SUMMARY], "in a few words"),
        (None, None, [SUMMARY], "in a few words"),
        ("x" * 45_000, "y", [SUMMARY], "35,000 characters too long"),
        ("x", "y" * 200_001, [DESCRIPTION], "1 characters too long"),
        ("x", "&" * 45_000, [DESCRIPTION], "too long"),
        ("a\x00b", "y", [SUMMARY], "1 invalid characters"),
        ("x", "a\x00\ud800b", [DESCRIPTION], "2 invalid characters"),
        ("x" * 45_000, "\x00", [SUMMARY, DESCRIPTION], ""),
    ],
)
def test_a_fault_is_named_at_its_input(
    summary: str | None, description: str | None, inputs: list[str], words: str
) -> None:
    """A fault is named at its input, in words that say what to do; a form without faults is a command."""
    form = submission(summary, description)
    faults = faults_in(form)
    assert list(faults) == inputs
    assert words in "".join(faults.values())
    if not inputs:
        command_for_submission(form, NOW)


def test_the_form_carries_its_thread() -> None:
    """The form carries its thread and the place of the reply, within Slack's limits."""
    form = ticket_form(CLICK)
    about = {"channel_id": CHANNEL, "thread_ts": THREAD, "response_url": URL}
    assert json.loads(form["private_metadata"]) == about
    assert len(form["private_metadata"]) <= 3000
    assert all(len(form[name]["text"]) <= 24 for name in ("title", "submit", "close"))
    assert [block["block_id"] for block in form["blocks"]] == [SUMMARY, DESCRIPTION]
    assert [block.get("optional", False) for block in form["blocks"]] == [False, True]


def test_a_long_response_url_is_left_out() -> None:
    """A response URL that is too long is left out, so that the form still opens."""
    form = ticket_form({**CLICK, "response_url": "https://x/" + "x" * 3000})
    assert len(form["private_metadata"]) < 3000
    assert response_url_of(view_submission(form, {SUMMARY: "x"}, USER)) == ""


@pytest.mark.parametrize(
    ("message", "initial"),
    [
        (
            {"text": "\n  The export &amp; the import stop  \nsince noon", "user": USER},
            "The export & the import stop",
        ),
        ({"text": "see <https://x.example/a|the log> <@U1|ada>", "user": USER}, "see the log @ada"),
        ({"text": "x" * 300, "user": USER}, "x" * 255),
        ({"text": "I am keeping track", "bot_id": "B0"}, None),
        ({"text": "\n \n"}, None),
        ({"text": None}, None),
        (None, None),
    ],
)
def test_the_summary_begins_as_the_first_line_of_the_message(message: Any, initial: str | None) -> None:
    """The summary begins as the first line of the user's message, and empty where the message is ours."""
    (field, _) = [block["element"] for block in ticket_form({**CLICK, "message": message})["blocks"]]
    assert field.get("initial_value") == initial


def test_what_was_written_becomes_the_command() -> None:
    """Plain text becomes a command in Slack's notation, in which nothing is a link or a mention."""
    command = command_for_submission(submission("  a < b & c ", "first\nsecond <!channel>"), NOW)
    assert (command.channel_id, command.thread_ts, command.drafted_at) == (CHANNEL, THREAD, NOW)
    assert command.draft.summary == "a &lt; b &amp; c"
    assert command.draft.description == "first\nsecond &lt;!channel&gt;"
    assert response_url_of(submission("x")) == URL


@pytest.mark.parametrize("summary", [None, "", " \n\t "])
def test_a_blank_summary_is_none(summary: str | None) -> None:
    """A blank summary counts as none, although Slack's own check lets it pass."""
    assert summary_in(submission(summary)) == ""


def test_a_description_may_be_left_out() -> None:
    """A description that is left out becomes an empty text."""
    assert command_for_submission(submission("x"), NOW).draft.description == ""


@pytest.mark.parametrize("metadata", ["", "{", "[]", "null", '{"channel_id": 7}', "[" * 100_000, None, 7])
def test_a_form_that_names_no_thread_is_refused(metadata: Any) -> None:
    """A form that names no thread is refused, and the error does not quote the user's text."""
    broken = submission("secret words")
    broken["view"]["private_metadata"] = metadata
    with pytest.raises(InvalidCommand) as caught:
        command_for_submission(broken, NOW)
    assert "secret words" not in str(caught.value)
    assert response_url_of(broken) == ""


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["view", "state", "values", SUMMARY, "value"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JUNK)
def test_junk_is_a_command_or_refused(junk: Any) -> None:
    """Any junk becomes a command or is refused; no other error is raised."""
    for payload in ({"view": junk}, {"view": {"state": {"values": junk}, "private_metadata": junk}}):
        summary_in(payload)
        response_url_of(payload)
        for attempt in (lambda p: command_for_submission(p, NOW), ticket_form):
            with contextlib.suppress(InvalidCommand):
                attempt(payload)
