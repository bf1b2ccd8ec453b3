"""The task that posts a thread's first reply: once, and only with a token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery.exceptions import Retry

from sandbox.faults import Page, Refused
from sandbox.slack.server import SlackSandbox
from tasks import replies
from threadsync.config import get_settings
from threadsync.errors import InvalidCommand
from worker.db import SessionStore
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import new_pool
from worker.status_message.process import announcer_of_this_process

CHANNEL, THREAD = "C0REPLY", "1700000000.000100"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a broker in the settings that nothing is sent to."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()


@pytest.fixture
def worker(slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    """Configure this process as a worker with a token."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SLACK_BOT_TOKEN", slack.token)
    monkeypatch.setenv("SLACK_API_URL", slack.api_url)
    get_settings.cache_clear()
    announcer_of_this_process.cache_clear()
    yield
    if announcer := announcer_of_this_process():
        announcer.close()
    announcer_of_this_process.cache_clear()
    get_settings.cache_clear()


def arguments(**changed: Any) -> dict[str, Any]:
    given = {"session_id": str(uuid4()), "channel_id": CHANNEL, "thread_ts": THREAD, "text": "Hello"}
    return {**given, "blocks": [], "since": time.time(), **changed}


@pytest.mark.usefixtures("worker")
def test_it_is_said_once_however_often_the_message_comes(slack: SlackSandbox) -> None:
    """A reply is posted once however often its message comes, and another session's is posted too."""
    first = arguments()
    assert [replies.reply(**first), replies.reply(**first), replies.reply(**arguments())] == ["said"] * 3
    assert [message.thread_ts for message in slack.messages] == [THREAD, THREAD]


@pytest.mark.usefixtures("worker")
def test_what_slack_refuses_for_good_is_given_up(slack: SlackSandbox) -> None:
    """A reply that Slack refuses for good is given up."""
    slack.fail("chat.postMessage", Refused("is_archived"))
    assert replies.reply(**arguments()) == "given up"
    assert not slack.messages


@pytest.mark.usefixtures("worker")
def test_a_page_of_a_proxy_is_no_answer(slack: SlackSandbox) -> None:
    """A reply is retried without a post when the search for an earlier one gets no clear response."""
    slack.fail("conversations.replies", Page(200))
    with pytest.raises(Retry):
        replies.reply(**arguments())
    assert not slack.calls("chat.postMessage")


@pytest.mark.usefixtures("worker")
def test_in_a_forgotten_thread_nothing_is_said(
    slack: SlackSandbox, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply in a forgotten thread is given up, with or without a token."""
    with new_pool(database_url, max_size=1) as pool:
        session = SessionStore(pool).get_or_create_session(CHANNEL, THREAD, "U1")
        forgets = ForgetStore(pool)
        forgets.forget_sessions(forgets.begin("thread", None, actor="ann", reason="asked"), [session.id])
    of_session = arguments(session_id=str(session.id), thread_ts="1700000000.000200")
    assert [replies.reply(**of_session), replies.reply(**arguments())] == ["given up"] * 2
    assert not slack.messages
    monkeypatch.delenv("SLACK_BOT_TOKEN")
    get_settings.cache_clear()
    announcer_of_this_process.cache_clear()
    assert replies.reply(**arguments()) == "given up"


@pytest.mark.usefixtures("worker")
def test_without_a_token_it_is_the_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a token reports that and leaves the reply to the sender."""
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    get_settings.cache_clear()
    announcer_of_this_process.cache_clear()
    assert replies.reply(**arguments()) == "no token"


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": float("nan")},
        {"since": float("inf")},
        {"since": 1e18},
        {"since": -1},
        {"since": True},
        {"since": "1700000000"},
        {"text": ""},
        {"text": "x" * 3_001},
        {"blocks": [{}] * 11},
        {"blocks": ["x"]},
        {"channel_id": "C\0"},
        {"thread_ts": "soon"},
        {"session_id": "none"},
    ],
    ids=repr,
)
def test_what_is_no_reply_is_refused(wrong: dict[str, Any]) -> None:
    """A command with a malformed reply is refused before Slack is called."""
    with pytest.raises(InvalidCommand):
        replies.reply(**arguments(**wrong))
