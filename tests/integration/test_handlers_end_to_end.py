"""Slack, web endpoint, broker, worker, Postgres, and back: all real but Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.slack import SlackSandbox
from sandbox.slack_requests import app_mention, button_click, message, slash_command
from tests.installation import Installation
from tests.slack_app import SlackApp, eventually, running_app
from worker.db.models import ThreadSession

USER = "U0456"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


@pytest.fixture
async def app(shared: Installation, slack: SlackSandbox) -> AsyncIterator[SlackApp]:
    async with running_app(celery_broker_url=shared.broker_url, slack_api_url=slack.api_url) as app:
        yield app


def rows(shared: Installation, channel_id: str) -> list[ThreadSession]:
    return [session for session in shared.sessions() if session.channel_id == channel_id]


async def test_a_thread_from_mention_to_ticket(
    app: SlackApp, shared: Installation, slack: SlackSandbox
) -> None:
    """Mention, reply, button, link: each step is a row's state, and words to the user."""
    channel, thread = "C0STORY", "1700000000.000100"
    await app.deliver(app_mention(channel, USER, "hi", ts=thread))
    await eventually(lambda: slack.messages, "the thread has our reply")
    assert [row.status for row in rows(shared, channel)] == ["collecting"]
    reply = slack.messages[0]
    click = button_click(
        "threadsync_ready",
        reply.blocks[1]["elements"][0]["value"],
        channel,
        USER,
        message_ts=reply.ts,
        thread_ts=reply.thread_ts,
        response_url=slack.new_response_url(),
    )
    await app.deliver(click)
    await eventually(lambda: slack.responses, "the user is told")
    assert slack.responses[0]["text"] == "The thread is ready for a ticket."
    linked = await app.deliver(slash_command("link proj-7", channel, USER))
    assert "*PROJ-7*" in linked.json()["text"]
    refused = await app.deliver(slash_command(f"link PROJ-8 {thread}", channel, USER))
    assert "already has *PROJ-7*" in refused.json()["text"]
    status = await app.deliver(slash_command("status", channel, USER))
    assert "*PROJ-7*" in status.json()["text"]
    assert [(row.status, row.jira_key) for row in rows(shared, channel)] == [("synced", "PROJ-7")]
    assert len(slack.messages) == 1


async def test_events_in_any_order_and_number_are_one_row_and_one_reply(
    app: SlackApp, shared: Installation, slack: SlackSandbox
) -> None:
    """A mention in a thread comes twice, and each may come again."""
    channel, thread = "C0DOUBLE", "1700000000.000200"
    payloads = [
        message(channel, USER, "hi", ts="1700000003.000200", thread_ts=thread),
        app_mention(channel, USER, "hi", ts="1700000003.000200", thread_ts=thread),
        app_mention(channel, USER, "hi", ts=thread),
    ]
    for payload in payloads * 3:
        assert (await app.deliver(payload)).status_code == 200
    await eventually(lambda: shared.waiting() == 0 and slack.messages, "all is done")
    assert len(rows(shared, channel)) == 1
    assert len(slack.messages) == 1


async def test_ready_takes_the_only_open_thread_and_asks_when_there_are_two(
    app: SlackApp, shared: Installation
) -> None:
    """Changing the wrong thread would be worse than asking."""
    channel = "C0SEVERAL"
    await app.deliver(app_mention(channel, USER, "hi", ts="1700000000.000300"))
    await app.deliver(app_mention(channel, USER, "hi", ts="1700000001.000300"))
    await eventually(lambda: len(rows(shared, channel)) == 2, "both threads have a session")
    asked = (await app.deliver(slash_command("ready", channel, USER))).json()["text"]
    assert "1700000000.000300" in asked
    assert "1700000001.000300" in asked
    assert {row.status for row in rows(shared, channel)} == {"collecting"}
    await app.deliver(slash_command("ready 1700000000.000300", channel, USER))
    told = (await app.deliver(slash_command("ready", channel, USER))).json()["text"]
    assert told == "The thread is ready for a ticket."
    assert {row.status for row in rows(shared, channel)} == {"ready_to_sync"}


async def test_a_thread_without_a_session_is_told_when_the_wait_is_over(
    app: SlackApp, slack: SlackSandbox
) -> None:
    """The command waits for a session that may be behind it in the queue; the user hears how that ended."""
    command = slash_command("ready 1700000000.000400", "C0NONE", USER, response_url=slack.new_response_url())
    answer = (await app.deliver(command)).json()["text"]
    if "queued" in answer:
        await eventually(lambda: slack.responses, "the user is told later")
        answer = slack.responses[0]["text"]
    assert "do not keep track" in answer
