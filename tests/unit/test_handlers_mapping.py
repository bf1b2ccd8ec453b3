"""Mapping of Slack's payloads to commands."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.mapping import (
    command_for_button,
    command_for_event,
    command_for_retry,
    command_for_shortcut,
)
from sandbox.slack.requests import app_mention, bot_message, button_click, message, message_shortcut
from tests.support.slack_app import CHANNEL, THREAD, USER
from threadsync.commands import GetOrCreate, UpdateStatus
from threadsync.errors import InvalidCommand

REPLY = "1700000009.000200"
OPENS_THREAD = GetOrCreate(channel_id=CHANNEL, thread_ts=THREAD, user_id=USER)


def test_a_mention_opens_its_own_thread() -> None:
    """A mention outside a thread opens the thread of which it is the root."""
    assert command_for_event(app_mention(CHANNEL, USER, "hi", ts=THREAD)["event"]) == OPENS_THREAD


def test_a_mention_in_a_thread_opens_that_thread() -> None:
    """A mention in a thread opens that thread, whichever message it is in."""
    event = app_mention(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD)["event"]
    assert command_for_event(event) == OPENS_THREAD


@pytest.mark.parametrize("subtype", [None, "file_share", "thread_broadcast"])
def test_a_message_in_a_thread_opens_that_thread(subtype: str | None) -> None:
    """A user's message in a thread opens it, also with a file or when sent to the channel too."""
    event = message(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD, subtype=subtype)["event"]
    assert command_for_event(event) == OPENS_THREAD


@pytest.mark.parametrize("thread_ts", [None, REPLY])
def test_a_message_outside_a_thread_is_not_for_us(thread_ts: str | None) -> None:
    """A message outside a thread opens nothing, also as a root that carries its own ts as thread_ts."""
    event = message(CHANNEL, USER, "hi", ts=REPLY, thread_ts=thread_ts)["event"]
    assert command_for_event(event) is None


@pytest.mark.parametrize(
    "subtype",
    ["bot_message", "message_changed", "message_deleted", "channel_join", "message_replied", "", 7, []],
)
def test_other_subtypes_are_not_for_us(subtype: Any) -> None:
    """Edits, deletions, bot messages, Slack's notes and unknown subtypes open nothing."""
    event = {**message(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD)["event"], "subtype": subtype}
    assert command_for_event(event) is None


def test_bots_open_nothing() -> None:
    """Messages of our bot, other bots and Slackbot open nothing, nor does a mention by a bot."""
    ours = bot_message(CHANNEL, "hi", ts=REPLY, thread_ts=THREAD)["event"]
    slackbot = message(CHANNEL, "USLACKBOT", "Reminder", ts=REPLY, thread_ts=THREAD)["event"]
    assert command_for_event(ours) is None
    assert command_for_event({**ours, "type": "app_mention"}) is None
    assert command_for_event(slackbot) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ts", 1700000000.0001),
        ("ts", "1700000000"),
        ("ts", "9999999999999999.000100"),
        ("thread_ts", 1700000000.0001),
        ("thread_ts", "1700000000.000100\n"),
        ("channel", "C0\x00123"),
        ("channel", "C" * 1_000_000),
        ("channel", {"id": "C0123"}),
        ("user", "U" * 65),
    ],
)
def test_a_malformed_mention_is_refused(field: str, value: Any) -> None:
    """A malformed mention is refused with a short error: a float timestamp would name another thread."""
    event = {**app_mention(CHANNEL, USER, "hi", ts=REPLY)["event"], field: value}
    with pytest.raises(InvalidCommand) as caught:
        command_for_event(event)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", ["app_mention", "message"])
@pytest.mark.parametrize("field", ["user", "channel", "ts"])
@pytest.mark.parametrize("value", [None, "", "absent"])
def test_a_message_that_lacks_its_author_or_place_is_not_for_us(
    kind: str, field: str, value: str | None
) -> None:
    """A message without author, channel or timestamp opens no session, and is no error."""
    event = {**message(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD)["event"], "type": kind, field: value}
    if value == "absent":
        del event[field]
    assert command_for_event(event) is None


@pytest.mark.parametrize(
    ("changes", "opens"),
    [
        ({"text": None}, True),
        ({"text": None, "blocks": [{"type": "rich_text", "elements": []}]}, True),
        ({"subtype": "file_share", "text": "", "files": [{"id": "F1"}]}, True),
        ({"subtype": "thread_broadcast", "root": {"ts": THREAD}}, True),
        ({"user": "W012345ABCDEF"}, True),
        ({"user_team": "T0PARTNER", "source_team": "T0PARTNER", "team": "T0PARTNER"}, True),
        ({"edited": {"user": USER, "ts": REPLY}}, True),
        ({"hidden": True}, False),
        ({"is_ephemeral": True}, False),
        ({"bot_id": "B1", "user": "U0BOT"}, False),
        ({"subtype": "bot_message", "bot_id": "B1", "user": None}, False),
        ({"subtype": "message_changed", "hidden": True, "user": None, "message": {"user": USER}}, False),
        ({"subtype": "message_deleted", "hidden": True, "user": None, "previous_message": {}}, False),
        ({"subtype": "tombstone"}, False),
        ({"subtype": "reminder_add"}, False),
        ({"subtype": "huddle_thread"}, False),
    ],
)
def test_what_people_write_opens_a_session_and_nothing_else(changes: dict[str, Any], opens: bool) -> None:
    """A person's message opens a session whatever is in it; a message of anything else does not."""
    event = {**message(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD)["event"], **changes}
    command = command_for_event(event)
    assert (command is not None) is opens
    if command:
        assert (command.thread_ts, command.user_id) == (THREAD, event["user"])


def test_the_shortcut_opens_the_threads_session_for_who_chose_it() -> None:
    """The shortcut opens the message's thread for the user who chose it, whoever wrote the message."""
    on_reply = message_shortcut("threadsync_open", CHANNEL, USER, ts=REPLY, thread_ts=THREAD)
    on_root = message_shortcut("threadsync_open", CHANNEL, USER, ts=THREAD)
    without_message = {**on_root, "message": None}
    assert command_for_shortcut(on_reply) == OPENS_THREAD
    assert command_for_shortcut(on_root) == OPENS_THREAD
    assert command_for_shortcut(without_message) == OPENS_THREAD


def test_the_button_makes_its_thread_ready() -> None:
    """The button makes ready the thread in its value, else that of its message."""
    ready = UpdateStatus(channel_id=CHANNEL, thread_ts=THREAD, status="ready_to_sync")
    with_value = button_click("threadsync_ready", THREAD, CHANNEL, USER, message_ts=REPLY)
    without = button_click("threadsync_ready", None, CHANNEL, USER, message_ts=REPLY, thread_ts=THREAD)
    without_container = {**with_value, "container": None}
    assert command_for_button(with_value) == ready
    assert command_for_button(without) == ready
    assert command_for_button(without_container) == ready


def test_the_retry_button_names_its_session_and_who_pressed_it() -> None:
    """The retry button names its session and its user, and is refused without either."""
    session_id = "01936f2e-7f00-7000-8000-000000000001"
    click = button_click("threadsync_retry", session_id, CHANNEL, USER, message_ts=REPLY)
    command = command_for_retry(click)
    assert (command.session_id, command.actor) == (UUID(session_id), USER)
    assert command.reason == "Retry button in Slack"
    assert command.command_id == command_for_retry(click).command_id
    for broken in ({**click, "user": None}, {**click, "actions": []}, {**click, "actions": [{"value": "x"}]}):
        with pytest.raises(InvalidCommand):
            command_for_retry(broken)


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "type",
        "subtype",
        "channel",
        "user",
        "ts",
        "thread_ts",
        "bot_id",
        "message",
        "container",
        "actions",
        "value",
    ]
)


@given(st.dictionaries(FIELDS, JUNK | st.sampled_from([CHANNEL, THREAD, USER, "message", "app_mention"])))
def test_junk_is_a_command_or_nothing_or_refused(payload: dict[str, Any]) -> None:
    """Any junk becomes a command or nothing, or is refused; no other error is raised."""
    for mapping in (command_for_event, command_for_shortcut, command_for_button, command_for_retry):
        with contextlib.suppress(InvalidCommand):
            mapping(payload)
