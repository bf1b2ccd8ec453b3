"""The form that asks for a ticket: what it is about, and the command made from it."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.form.draft import Known
from handlers.form.first_message import first_line, summary_of
from handlers.form.submission import change_in, submission_in
from handlers.ticket_form import (
    DESCRIPTION,
    SUMMARY,
    about_click,
    about_fix,
    response_url_of,
    ticket_form,
)
from sandbox.slack.requests import BOT_ID, BOT_USER_ID, button_click, view_submission
from tests.support.slack_app import CHANNEL, THREAD, USER
from threadsync.errors import InvalidCommand
from threadsync.syncs import LONGEST_DRAFT_SUMMARY

URL = "https://hooks.slack.example/1"
CLICK = button_click(
    "threadsync_create", THREAD, CHANNEL, USER, message_ts="1700000001.000100", response_url=URL
)
NOW = "1700000002.000000"


def submission(summary: str | None, description: str | None = None) -> dict[str, Any]:
    return view_submission(ticket_form(CLICK), {SUMMARY: summary, DESCRIPTION: description}, USER)


def faults_in(form: dict[str, Any]) -> dict[str, str]:
    return submission_in(form).written(Known()).faults


def command_for(form: dict[str, Any]) -> Any:
    sent = submission_in(form)
    return sent.command(sent.written(Known()).values, NOW)


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
        command_for(form)


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
    ("text", "line"),
    [
        ("\n  The export &amp; the import stop  \nsince noon", "The export & the import stop"),
        ("see <https://x.example/a|the log> <@U1|ada>", "see the log @ada"),
        ("\n \n", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_the_first_line_of_a_message(text: Any, line: str) -> None:
    """The first line with something in it is taken, as people see it."""
    assert first_line(text) == line


@pytest.mark.parametrize(
    ("messages", "summary"),
    [
        ([{"user": USER, "text": "a < b"}, {"user": USER, "text": "later"}], "a &lt; b"),
        ([{"user": BOT_USER_ID, "bot_id": BOT_ID, "text": "ours"}, {"user": USER, "text": "a"}], "a"),
        ([{"bot_id": "B0OTHER", "text": "An alert"}], "An alert"),
        ([{"user": USER, "text": f"<@{BOT_USER_ID}>, the export stops"}], "the export stops"),
        ([{"user": USER, "text": f"Is it <@{BOT_USER_ID}|threadsync>?"}], "Is it ?"),
        ([{"user": USER, "text": f"<@{BOT_USER_ID}>"}, {"user": USER, "text": "It stops"}], "It stops"),
        ([{"user": USER, "text": "<@U0OTHER> look"}], "@U0OTHER look"),
        ([{"bot_id": BOT_ID, "text": "ours"}], None),
        ([{"user": USER, "text": " "}, {"user": USER, "text": "later"}], None),
        ([], None),
    ],
)
def test_the_summary_begins_as_the_first_message_that_is_not_ours(
    messages: list[dict[str, Any]], summary: str | None
) -> None:
    """The summary is the thread's first message, in Slack's notation, and never one of ours."""
    assert summary_of(messages, BOT_ID, BOT_USER_ID) == summary


def test_while_we_are_not_known_no_bot_is_quoted() -> None:
    """While it is not known who we are, no bot's message becomes the summary."""
    assert summary_of([{"bot_id": "B0OTHER", "text": "x"}], None, None) is None
    assert summary_of([{"user": USER, "text": "x"}], None, None) == "x"


@pytest.mark.parametrize("text", ["x" * 40_000, "&" * 40_000, "😀" * 20_000])
def test_a_long_first_message_fits_a_draft(text: str) -> None:
    """However long the first message is, a draft takes the summary made of it."""
    summary = summary_of([{"user": USER, "text": text}], BOT_ID, BOT_USER_ID)
    assert summary
    assert 1_000 < len(summary) <= LONGEST_DRAFT_SUMMARY


def test_what_was_written_becomes_the_command() -> None:
    """Plain text becomes a command in Slack's notation, in which nothing is a link or a mention."""
    command = command_for(submission("  a < b & c ", "first\nsecond <!channel>"))
    assert (command.channel_id, command.thread_ts, command.drafted_at) == (CHANNEL, THREAD, NOW)
    assert command.draft.summary == "a &lt; b &amp; c"
    assert command.draft.description == "first\nsecond &lt;!channel&gt;"
    assert response_url_of(submission("x")) == URL


def test_a_description_may_be_left_out() -> None:
    """A description that is left out becomes an empty text."""
    assert command_for(submission("x")).draft.description == ""


@pytest.mark.parametrize("metadata", ["", "{", "[]", "null", '{"channel_id": 7}', "[" * 100_000, None, 7])
def test_a_form_that_names_no_thread_is_refused(metadata: Any) -> None:
    """A form that names no thread is refused, and the error does not quote the user's text."""
    broken = submission("secret words")
    broken["view"]["private_metadata"] = metadata
    with pytest.raises(InvalidCommand) as caught:
        command_for(broken)
    assert "secret words" not in str(caught.value)
    assert response_url_of(broken) == ""


def test_a_fix_is_about_the_thread_of_its_status_message() -> None:
    """The fix button of a status message names its session; the message names the thread."""
    session_id = str(uuid4())
    click = button_click(
        "threadsync_fix",
        session_id,
        CHANNEL,
        USER,
        message_ts="1700000001.000100",
        thread_ts=THREAD,
        response_url=URL,
    )
    about = about_fix(click)
    assert (about.channel_id, about.thread_ts, about.session_id) == (CHANNEL, THREAD, session_id)
    assert about.response_url == URL
    nowhere = {**click, "message": {}, "container": {"channel_id": CHANNEL}}
    for broken in ({**click, "actions": [{"value": "x"}]}, nowhere):
        with pytest.raises(InvalidCommand):
            about_fix(broken)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["view", "state", "values", "blocks", "element", "block_id", SUMMARY, "value"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(JUNK)
def test_junk_is_a_command_or_refused(junk: Any) -> None:
    """Any junk becomes a command or is refused; no other error is raised."""
    form = submission("x")["view"]
    for payload in (
        {"view": junk},
        {"view": {"state": {"values": junk}, "private_metadata": junk}},
        {"view": {**form, "state": junk}},
        {"view": {**form, "blocks": junk}},
        {"view": {**form, "blocks": [junk]}, "actions": junk},
        {"view": form, "actions": [junk]},
    ):
        response_url_of(payload)
        change_in(payload)
        for attempt in (command_for, about_click, about_fix, ticket_form):
            with contextlib.suppress(InvalidCommand):
                attempt(payload)
