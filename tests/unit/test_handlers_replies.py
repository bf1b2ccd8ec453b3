"""Replies that users read."""

from __future__ import annotations

import pytest

from handlers import replies
from handlers.ticket_command import TicketRequest
from tests.support.slack_app import CHANNEL, THREAD, result, session
from threadsync.errors import (
    CommandFailed,
    EnqueueFailed,
    InvalidCommand,
    JiraKeyConflict,
    PoisonCommand,
    ResultTimeout,
    SessionNotFound,
    SyncNotChanged,
    SyncNotFound,
    ThreadsyncError,
)


def test_the_first_reply_has_a_button_for_its_thread() -> None:
    """The first reply has a button whose value is the thread, as text."""
    (button,) = replies.opened_blocks(THREAD)[1]["elements"]
    assert (button["action_id"], button["value"]) == ("threadsync_ready", THREAD)


def test_where_tickets_are_made_the_button_asks_for_one() -> None:
    """The first reply asks for a ticket by button and words, where tickets are made."""
    section, actions = replies.opened_blocks(THREAD, makes_tickets=True)
    (button,) = actions["elements"]
    assert (button["action_id"], button["value"]) == ("threadsync_create", THREAD)
    assert section["text"]["text"] == replies.opened(makes_tickets=True) == replies.OPENED_FOR_TICKET


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EnqueueFailed("redis://:secret@host"), "try again"),
        (ResultTimeout("task 1"), "queued"),
        (SessionNotFound(CHANNEL, THREAD), "Mention me"),
        (JiraKeyConflict(CHANNEL, THREAD, "PROJ-1", "PROJ-2"), "already has *PROJ-1*"),
        (SyncNotChanged("secret"), "nothing to retry"),
        (SyncNotFound("secret"), "No ticket"),
        (InvalidCommand("thread_ts: secret"), "did not work"),
        (PoisonCommand("sessions.get", 5), "dead letters"),
        (CommandFailed("KeyError: secret"), "dead letters"),
    ],
)
def test_errors_are_put_in_plain_words(error: ThreadsyncError, words: str) -> None:
    """An error is described by what to do now, and nothing of our insides."""
    text = replies.describe_error(error)
    assert words in text
    assert "secret" not in text
    assert type(error).__name__ not in text


def test_sessions_are_listed_with_state_and_key() -> None:
    """Sessions are listed one a line, with state, key, and a link that shows the reader's own time."""
    text = replies.list_sessions(
        [session(status="synced", jira_key="PROJ-7"), session("1700000001.000200")], "maria", more=True
    )
    first, second, last = text.splitlines()
    assert "has the ticket *PROJ-7*" in first
    assert "^https://maria.slack.com/archives/C0123/p1700000000000100|1700000000.000100>" in first
    assert "collecting" in second
    assert "older" in last
    assert replies.list_sessions([]) == replies.NO_SESSIONS


def test_an_odd_workspace_gives_no_link() -> None:
    """An odd name of a workspace gives no link, because it is checked before it goes into a URL."""
    assert "https" not in replies.list_sessions([session()], "evil.example/|<!channel>")


def test_several_threads_are_listed_with_what_to_write() -> None:
    """Several threads are listed with the line that the user can copy for each."""
    link = TicketRequest("link", CHANNEL, None, "PROJ-1")
    text = replies.ask_which(link, [session(), session("1700000001.000200")])
    assert "`/ticket link PROJ-1 1700000000.000100`" in text
    assert "`/ticket link PROJ-1 1700000001.000200`" in text
    assert "changed nothing" in text
    assert "collecting or ready for a ticket" in replies.none_fits(link)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (replies.describe_opening(result("created")), "now"),
        (replies.describe_opening(result("unchanged", status="ready_to_sync")), "already"),
        (replies.describe_ready(result("applied", status="ready_to_sync")), "is ready"),
        (replies.describe_ready(result("unchanged", status="ready_to_sync")), "already"),
        (replies.describe_ready(result("stale", status="synced", jira_key="P-1")), "has the ticket *P-1*"),
        (replies.describe_link(result("applied", status="synced", jira_key="P-1")), "has the ticket *P-1*"),
        (replies.describe_link(result("unchanged", status="synced", jira_key="P-1")), "already"),
        (replies.describe_request(result("applied", status="ready_to_sync")), "on its way"),
        (replies.describe_request(result("unchanged", status="ready_to_sync")), "on its way"),
        (replies.describe_request(result("stale", status="ready_to_sync")), "too late"),
        (replies.describe_request(result("unchanged", status="synced", jira_key="P-1")), "Nothing to do"),
        (replies.describe_session(None), "do not keep track"),
        (replies.describe_session(session(status="ready_to_sync")), "ready for a ticket"),
    ],
)
def test_each_outcome_has_its_words(text: str, words: str) -> None:
    """Each outcome has its words, and one that changed nothing says so."""
    assert words in text
