"""Parsing of `/ticket …`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.ticket_command import TicketRequest, parse_thread, parse_ticket_command
from sandbox.slack.requests import slash_command
from tests.support.slack_app import CHANNEL, THREAD, USER
from threadsync.actors import SlackActor
from threadsync.channel_settings.parsing import Change, Reset, Show
from threadsync.commands import UpdateStatus
from threadsync.errors import InvalidCommand

LINK = "https://x.slack.com/archives/C0123/p1700000009000200"
JIRA = "https://jira.example"
LINK_OF_A_REPLY = f"{LINK}?thread_ts={THREAD}&cid=C0123"


def parse(text: str, **fields: str) -> TicketRequest | None:
    return parse_ticket_command(slash_command(text, CHANNEL, USER, **fields))


@pytest.mark.parametrize(
    "text", ["", "   ", "help", "HELP me", "frobnicate", "ticket", "\x00", "statusready"]
)
def test_what_is_unknown_asks_for_help(text: str) -> None:
    """An unknown verb is read as a wish for help."""
    assert parse(text) is None


def test_settings_are_read_as_slack_escapes_them() -> None:
    """People in a value are read in their angles, and the verb in any case; without a value it shows."""
    asked = parse(" Config  who=<@U1|ann>, <!subteam^S1|@on call> labels=a &amp; b ")
    assert asked == TicketRequest(
        "config", CHANNEL, config=Change({"who": ("U1", "S1"), "labels": ("a & b",)})
    )
    assert parse("config") == TicketRequest("config", CHANNEL, config=Show())
    assert parse("config reset labels") == TicketRequest("config", CHANNEL, config=Reset("labels"))
    assert parse("configure") is None


def test_a_fault_in_settings_is_said() -> None:
    """What is wrong is said, with what there is, and nothing in it mentions anybody."""
    with pytest.raises(InvalidCommand) as refused:
        parse("config who=<!channel>")
    assert str(refused.value).startswith("Nothing changed: who: '&lt;!channel&gt;' is neither a user")


def test_verbs_and_keys_may_be_written_in_any_case() -> None:
    """Verbs and keys may be written in any case."""
    assert parse("Status") == TicketRequest("status", CHANNEL)
    assert parse(" READY ") == TicketRequest("ready", CHANNEL)
    assert parse("link proj-123") == TicketRequest("link", CHANNEL, None, "PROJ-123")


@pytest.mark.parametrize(
    "word",
    [
        "https://jira.example/browse/proj-123",
        "<https://jira.example/browse/PROJ-123?a=1&amp;b=2|PROJ-123: It is broken>",
        "https://jira.example/jira/projects/PROJ/boards/1?selectedIssue=PROJ-123",
    ],
)
def test_a_ticket_may_be_named_by_its_address(word: str) -> None:
    """A ticket may be named by its address, with or without a thread; another Jira's is refused."""
    assert parse(f"link {word}") == TicketRequest("link", CHANNEL, None, "PROJ-123")
    assert parse(f"link {word} <{LINK}|a thread>") == TicketRequest(
        "link", CHANNEL, "1700000009.000200", "PROJ-123"
    )
    form = slash_command(f"link {word}", CHANNEL, USER)
    assert parse_ticket_command(form, "https://JIRA.example/") == parse(f"link {word}")
    with pytest.raises(InvalidCommand, match="another Jira"):
        parse_ticket_command(form, "https://other.example")


@pytest.mark.parametrize(
    ("word", "thread_ts"),
    [
        (THREAD, THREAD),
        (LINK, "1700000009.000200"),
        (LINK_OF_A_REPLY, THREAD),
        (f"<{LINK_OF_A_REPLY}>", THREAD),
        (f"<{LINK_OF_A_REPLY}|x.slack.com>", THREAD),
        (f"{LINK}/", "1700000009.000200"),
        (f"{LINK}?thread_ts=yesterday", "1700000009.000200"),
    ],
)
def test_a_thread_is_named_by_a_link_or_a_timestamp(word: str, thread_ts: str) -> None:
    """A thread is named by a link or a timestamp; the link of a reply names the thread's root."""
    assert parse_thread(word, CHANNEL) == thread_ts
    assert parse(f"ready {word}") == TicketRequest("ready", CHANNEL, thread_ts)


def test_a_thread_may_come_as_a_form_field() -> None:
    """A thread in a form field counts, unless the user wrote one."""
    assert parse("ready", thread_ts=THREAD) == TicketRequest("ready", CHANNEL, THREAD)
    assert parse(f"ready {LINK}", thread_ts=THREAD) == TicketRequest("ready", CHANNEL, "1700000009.000200")


@pytest.mark.parametrize(
    "text",
    [
        "ready yesterday",
        "ready https://x.slack.com/archives/C0123",
        "ready https://[x/archives/C0123/p1700000009000200",
        "ready 1700000000",
        "ready 9999999999999999.000100",
        "ready https://x.slack.com/archives/C0123/p9999999999999999000200",
        "link https://jira.example/browse/PROJ",
        f"ready {THREAD} {THREAD}",
        "link",
        "link PROJ",
        "link PROJ-0",
        f"link {THREAD}",
        "link PROJ-1 PROJ-2",
        "link PROJ-1\u0660",
    ],
)
def test_what_is_unclear_is_refused_with_a_sentence(text: str) -> None:
    """An unclear command is refused with a sentence."""
    with pytest.raises(InvalidCommand, match=r"^[A-Z].*[.:?)`]"):
        parse(text)


def test_a_thread_of_another_channel_is_refused() -> None:
    """A thread of another channel is refused, because the user may not be in that channel."""
    with pytest.raises(InvalidCommand, match="another channel"):
        parse("ready https://x.slack.com/archives/C0999/p1700000009000200")


def test_a_request_knows_its_command() -> None:
    """A request makes its command: `ready` moves the status, `link` names the key, with an id of its own."""
    ready, link = TicketRequest("ready", CHANNEL), TicketRequest("link", CHANNEL, None, "PROJ-1")
    assert ready.ready(THREAD) == UpdateStatus(channel_id=CHANNEL, thread_ts=THREAD, status="ready_to_sync")
    ann = SlackActor(user_id=USER, team_id="T0SANDBOX")
    asked = link.link(THREAD, ann)
    assert (asked.channel_id, asked.thread_ts, asked.jira_key, asked.actor) == (
        CHANNEL,
        THREAD,
        "PROJ-1",
        ann,
    )
    another = TicketRequest("link", CHANNEL, None, "PROJ-1")
    assert asked.command_id == link.link(THREAD, ann).command_id != another.link(THREAD, ann).command_id
    assert ready.applies_to == ("collecting",)
    assert link.applies_to == ("collecting", "ready_to_sync")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unlink the wrong one", (None, None, "the wrong one")),
        (f"unlink {THREAD} the wrong one", (THREAD, None, "the wrong one")),
        (f"unlink the wrong one {THREAD}", (THREAD, None, "the wrong one")),
        (f"UNLINK <{LINK}|x> the wrong one", ("1700000009.000200", None, "the wrong one")),
        (f"unlink PROJ-7 {THREAD} the wrong one", (THREAD, "PROJ-7", "the wrong one")),
        ("unlink PROJ-7 the wrong one", (None, "PROJ-7", "the wrong one")),
        ("unlink ABC the wrong one", (None, None, "ABC the wrong one")),
        ("unlink proj-7 the wrong one", (None, "PROJ-7", "the wrong one")),
        ("unlink *Proj-7*: the wrong one", (None, "PROJ-7", "the wrong one")),
        (f"unlink {THREAD} PROJ-7 the wrong one", (THREAD, "PROJ-7", "the wrong one")),
        (f"unlink {JIRA}/browse/PROJ-7 {THREAD} the wrong one", (THREAD, "PROJ-7", "the wrong one")),
        (
            f"unlink <{JIRA}/browse/proj-7?a=1&amp;b=2|PROJ-8> the wrong one",
            (None, "PROJ-7", "the wrong one"),
        ),
        (f"unlink <{LINK}|x> {JIRA}/browse/PROJ-7 no", ("1700000009.000200", "PROJ-7", "no")),
        ("unlink not PROJ-7", (None, None, "not PROJ-7")),
    ],
)
def test_unlink_takes_a_key_a_thread_and_a_reason(
    text: str, expected: tuple[str | None, str | None, str]
) -> None:
    """`unlink` takes an optional key, an optional thread, and a reason."""
    request = parse(text)
    assert request is not None
    assert (request.thread_ts, request.jira_key, request.reason) == expected


@pytest.mark.parametrize(
    "text",
    ["https://other.example/browse/PROJ-7", "HTTPS://OTHER.EXAMPLE/BROWSE/PROJ-7", "other.example/PROJ-7"],
)
def test_unlink_of_another_jiras_ticket_is_refused(text: str) -> None:
    """`unlink` with the address of another Jira's ticket is refused."""
    with pytest.raises(InvalidCommand, match="not in my Jira"):
        parse_ticket_command({"channel_id": CHANNEL, "text": f"unlink {text} the wrong one"}, JIRA)


@pytest.mark.parametrize("text", ["unlink", "unlink PROJ-7", f"unlink {THREAD}", f"unlink PROJ-7 {THREAD}"])
def test_unlink_without_a_reason_asks_for_one(text: str) -> None:
    """`unlink` without a reason asks for one."""
    with pytest.raises(InvalidCommand, match="give a reason"):
        parse(text)


@given(st.text() | st.text(alphabet="<>|:/?#[]@p.0123456789C ").map(lambda word: f"ready {word}"))
def test_no_text_makes_it_fail(text: str) -> None:
    """Any text is a request, a wish for help, or refused; no other error is raised."""
    with contextlib.suppress(InvalidCommand):
        request = parse(text)
        assert request is None or request.channel_id == CHANNEL
