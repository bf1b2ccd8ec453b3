"""A thread as a comment and an attachment: whole messages, in order, within Jira's limits."""

from __future__ import annotations

import functools
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from tests.support.scale import bounded
from worker.thread.comment import (
    LONGEST_COMMENT,
    Comment,
    Format,
    Thread,
    attachment,
    comment,
    is_too_long,
)
from worker.thread.files import REASONS, SlackFile
from worker.thread.message import ThreadMessage, Transcript, Us, read_messages, transcript
from worker.thread.names import ids_in, with_names

# Read at import, because tests run without the shell's settings.
FOLDER = os.environ.get("THREADSYNC_TEST_DATA")

UNTIL = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
URL = "https://acme.slack.com/archives/C1/p1700000000000100"
NAME = "thread-slk-abc.txt"
PIECES = st.sampled_from(
    [
        *"*_~`<>|&;#@!- \n\t\r\x00\x07\ud800\ufffea1é😀",
        *("```", "\n\n", "&lt;", "&gt;", "&amp;", "\n- ", "\n> ", "*bold*", "_it_", "`code`"),
        *("<https://x.y/z|label>", "<@U1>", "<@U2|old>", "<#C1|>", "<!subteam^S1>", "<!here>", "😀" * 300),
        *("x" * 2_000, "<https://x.y/" + "p" * 500 + ">"),
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
NAMES = {"U1": "Ann <b>|&", "C1": "general", "S1": "ops\nteam", "U7": "  "}
AUTHORS = st.sampled_from(["U1", "U2", "U7", "deploy bot", "", "B1"])
FILES = st.lists(
    st.builds(SlackFile, st.from_regex(r"F[A-Z0-9]{1,4}", fullmatch=True), TEXTS), max_size=2
).map(tuple)


@st.composite
def threads(draw: st.DrawFn) -> Thread:
    count = draw(st.integers(0, 40))
    messages = tuple(
        # Each begins with a word of its own, by which it is found again.
        ThreadMessage(
            f"{1_700_000_000 + number}.000100",
            draw(AUTHORS),
            f"first{number}word {draw(TEXTS)}" * draw(st.sampled_from([1, 1, 1, 5])),
            draw(FILES),
        )
        for number in range(count)
    )
    left_out = draw(st.integers(0, 3)) if count > 1 else 0
    reasons = draw(
        st.none()
        | st.dictionaries(
            st.sampled_from([file.id for message in messages for file in message.files] or ["F0"]),
            st.sampled_from(sorted(REASONS)),
        )
    )
    notes = draw(st.lists(st.just("Names are not shown."), max_size=2))
    return Thread(Transcript(messages, left_out), NAMES, URL, UNTIL, reasons, tuple(notes))


def text_of(node: Any) -> str:
    if isinstance(node, str):
        return node.replace("\\", "")
    inner = "".join(map(text_of, node.get("content", ()))) + str(node.get("text", ""))
    return inner + ("\n" if node["type"] in ("paragraph", "codeBlock", "hardBreak") else "")


def length(made: Comment) -> int:
    body = made.body
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return len(text.encode("utf-16-le")) // 2


@functools.cache
def schema() -> Draft4Validator:
    path = Path(FOLDER or "") / "jira" / "adf-schema-v1.full.json"
    return Draft4Validator(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.bounded
@pytest.mark.parametrize("form", ["adf", "wiki"])
@settings(deadline=None, max_examples=bounded(60, 15))
@given(thread=threads())
def test_a_comment_is_never_too_long_and_holds_whole_messages_from_the_beginning(
    form: Format, thread: Thread
) -> None:
    """A comment never passes the limit, and shows a beginning of the thread in order, or all of it."""
    made = comment(thread, form, NAME)
    assert length(made) <= LONGEST_COMMENT
    messages = thread.transcript.messages
    assert made.is_cut == (made.shown < len(messages)) == is_too_long(thread, form)
    shown = text_of(made.body)
    places = [shown.find(f"first{number}word") for number in range(made.shown)]
    assert -1 not in places
    assert places == sorted(places)
    for number in range(made.shown, len(messages)):
        assert f"first{number}word" not in shown
    assert (NAME in shown) == made.is_cut
    if made.is_cut:
        assert "Cut here" in shown
        # One more message would not have fitted.
        more = Thread(
            Transcript(messages[: made.shown + 1], thread.transcript.left_out),
            thread.names,
            thread.url,
            thread.until,
        )
        assert size_of(more, form) > LONGEST_COMMENT - 8_000


def size_of(thread: Thread, form: Format) -> int:
    made = comment(thread, form, NAME)
    return LONGEST_COMMENT if made.is_cut else length(made)


@pytest.mark.bounded
@pytest.mark.skipif(FOLDER is None, reason="THREADSYNC_TEST_DATA is not set")
@settings(deadline=None, max_examples=bounded(60, 15))
@given(thread=threads())
def test_a_comment_is_a_document_that_jira_accepts(thread: Thread) -> None:
    """A comment on Cloud is valid by Atlassian's schema of documents."""
    schema().validate(comment(thread, "adf", NAME).body)


@pytest.mark.bounded
@settings(deadline=None, max_examples=bounded(60, 15))
@given(thread=threads())
def test_the_attachment_has_all_messages_in_order(thread: Thread) -> None:
    """The attachment has every message, oldest first, in UTF-8."""
    text = attachment(thread).decode()
    places = [text.find(f"first{number}word") for number in range(len(thread.transcript.messages))]
    assert -1 not in places
    assert places == sorted(places)
    assert "\x00" not in text


@pytest.mark.bounded
@settings(deadline=None, max_examples=bounded(200, 60))
@given(st.lists(st.tuples(st.integers(1, 60), TEXTS), max_size=60), st.integers(1, 70), st.integers(2, 9))
def test_the_first_and_the_last_messages_are_taken_once_and_in_order(
    given_: list[tuple[int, str]], until: int, most: int
) -> None:
    """Of too many messages the first and the last ones up to the moment are taken, each once, in order."""
    messages = [ThreadMessage(f"{at}.000100", "U1", text) for at, text in given_]
    made = transcript(messages, f"{until}.000100", most)
    moments = sorted({at for at, _ in given_ if at <= until})
    expected = moments if len(moments) <= most else [moments[0], *moments[-(most - 1) :]]
    assert [int(float(message.ts)) for message in made.messages] == expected
    assert made.left_out == len(moments) - len(expected)


def test_what_is_left_out_is_counted_after_the_first_message() -> None:
    """Of 503 messages the first and the last 499 are shown, and between them that three are missing."""
    messages = [ThreadMessage(f"{number}.0", "U1", f"word{number}end") for number in range(1, 504)]
    made = transcript(messages, "1000.0")
    assert len(made.messages) == 500
    text = attachment(Thread(made, {}, URL, UNTIL)).decode()
    assert text.index("word1end") < text.index("3 messages between") < text.index("word5end")
    assert "word4end" not in text
    assert text.startswith(f"Slack thread ({URL}) up to 2026-11-30 12:00 UTC: 503 messages")


def test_our_own_messages_are_left_out() -> None:
    """Messages of our own bot, by its id, its user or the metadata, are no part of the text."""
    us = Us("U0BOT", "B0BOT")
    content: list[Any] = [
        {"ts": "1.1", "user": "U1", "text": "hello"},
        {"ts": "1.2", "user": "U0BOT", "text": "Created PROJ-1."},
        {"ts": "1.3", "bot_id": "B0BOT", "text": "Created PROJ-1."},
        {"ts": "1.4", "bot_id": "B9", "text": "x", "metadata": {"event_type": "threadsync_sync"}},
        {"ts": "1.5", "bot_id": "B9", "username": "deploy", "text": "", "attachments": [{"title": "Failed"}]},
        {"ts": "1.6", "subtype": "tombstone", "user": "USLACKBOT", "text": "This message was deleted."},
        {
            "ts": "1.7",
            "bot_id": "B9",
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "In"}}],
        },
        {"ts": "x", "text": "no moment"},
        "junk",
        {"ts": None},
    ]
    found = [(message.author, message.text) for message in read_messages(content, us)]
    assert found == [
        ("U1", "hello"),
        ("deploy", "Failed"),
        ("USLACKBOT", "(deleted message)"),
        ("B9", "In"),
    ]


def test_people_and_channels_have_their_names() -> None:
    """Mentions and authors are shown by name, escaped; what is not known stays as it is."""
    messages = (
        ThreadMessage("1700000000.000100", "U1", "<@U1> in <#C1|> &lt;3 <@U9> :tada: <https://x.y|here>"),
    )
    thread = Thread(Transcript(messages), NAMES, URL, UNTIL)
    text = attachment(thread).decode()
    assert "Ann <b>\u00a6& · 2023-11-14 22:13 UTC" not in text
    assert "Ann <b>|& · 2023-11-14 22:13 UTC" in text
    assert "@Ann <b>\u00a6& in #general <3 @U9 :tada: here (https://x.y)" in text
    assert set(ids_in(thread.transcript)) == {"U1", "C1", "U9"}
    assert with_names("<@U2|old>", {}) == "<@U2|old>"


def test_files_that_are_not_copied_are_named_with_the_reason() -> None:
    """The comment names each file that is not copied, and why; those that are copied are not listed."""
    files = (SlackFile("F1", "plan.pdf"), SlackFile("F2", "film.mp4"))
    messages = (ThreadMessage("1.1", "U1", "", files),)
    thread = Thread(Transcript(messages), {}, URL, UNTIL, {"F2": "too_big"})
    text = text_of(comment(thread, "adf", None).body)
    assert "film.mp4: it is larger than 10 MB" in text
    assert "plan.pdf:" not in text


@pytest.mark.parametrize("form", ["adf", "wiki"])
def test_a_message_that_is_too_long_alone_is_not_taken_apart(form: Format) -> None:
    """A first message that is longer than a comment may be is in the attachment alone."""
    thread = Thread(Transcript((ThreadMessage("1.1", "U1", "x" * 40_000),)), {}, URL, UNTIL)
    made = comment(thread, form, NAME)
    assert (made.shown, made.is_cut) == (0, True)
    assert "xxx" not in text_of(made.body)
    assert "x" * 40_000 in attachment(thread).decode()


def test_an_attachment_stops_at_ten_megabytes() -> None:
    """An attachment that would be larger than a file may be is cut between messages, and says so."""
    messages = tuple(ThreadMessage(f"{number}.1", "U1", "é" * 39_000) for number in range(1, 200))
    made = attachment(Thread(Transcript(messages), {}, URL, UNTIL))
    assert 9_900_000 < len(made) <= 10_000_000
    assert "Cut here" in made.decode()
