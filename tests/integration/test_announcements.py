"""Messages that tell a worker to update status messages: their moment and their queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.slack.server import SlackSandbox
from tasks import announcements
from tasks.announcements import ANNOUNCE, announce_due, announce_soon
from tests.support.status_story import CHANNEL, Story
from threadsync.command import Message
from threadsync.commands import ChannelMoved
from threadsync.config import get_settings
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.status_message.process import announcer_of_this_process


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[list[Message]]:
    """Record the messages that would be sent to the broker."""
    sent: list[Message] = []

    def send(message: Message) -> bool:
        sent.append(message)
        return True

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(announcements, "room", lambda queue, most: most)
    get_settings.cache_clear()
    monkeypatch.setattr(announcements, "send_soon", send)
    announcer_of_this_process.cache_clear()
    yield sent
    announcer = announcer_of_this_process()
    if announcer is not None:
        announcer.close()
    announcer_of_this_process.cache_clear()


@pytest.fixture
def story(pool: Pool) -> Story:
    return Story(pool, SlackSandbox())


def test_without_a_token_nothing_is_taken(sent: list[Message], story: Story) -> None:
    """A worker without a Slack token takes no status message and leaves it due for another worker."""
    assert announce_due() == 0
    assert announce_soon(story.session_id) is False
    assert sent == []
    assert story.row()["announce_at"] < story.now()


def test_each_session_gets_a_message_of_its_own(
    sent: list[Message], story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each session's announcement is sent once by the sweep, on the maintenance queue."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-sandbox")
    get_settings.cache_clear()
    assert announce_due() == 1
    assert announce_due() == 0
    assert sent == [Message(ANNOUNCE, {"session_id": str(story.session_id)}, "maintenance")]
    assert announce_soon(story.session_id) is True
    assert len(sent) == 2


def test_a_channel_that_slack_calls_by_another_id_is_told_of(
    sent: list[Message], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new channel id in Slack's response to a post is sent on as `channels.moved`."""
    with SlackSandbox() as slack:
        story = Story(pool, slack)
        slack.workspace.moved[CHANNEL] = "C0CONVERTED"
        monkeypatch.setenv("SLACK_BOT_TOKEN", slack.token)
        monkeypatch.setenv("SLACK_API_URL", slack.api_url)
        monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
        get_settings.cache_clear()
        assert announcements.announce(str(story.session_id)) == "shown"
        moved: dict[str, Any] = {"channel_id": CHANNEL, "new_channel_id": "C0CONVERTED"}
        assert sent == [Message("channels.moved", moved, "sessions")]
        SessionStore(pool).run(ChannelMoved(**moved))
        story.move("blocked", "set_up")
        assert announcements.announce(str(story.session_id)) == "shown"
        assert len(sent) == 1
        assert slack.calls("chat.update")[0].arguments["channel"] == "C0CONVERTED"
