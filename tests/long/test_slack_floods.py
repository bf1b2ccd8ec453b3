"""Floods of clicks and events by one Slack user, more than there are places for all users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from handlers import replies
from sandbox.slack.requests import app_mention
from sandbox.slack.server import SlackSandbox
from tests.support.slack_app import CHANNEL, NEVER, RecordingClient, eventually, running_app
from tests.support.slack_flood import click, flooded


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


async def test_a_flood_of_clicks_drops_no_other_users_click(slack: SlackSandbox) -> None:
    """A flood of clicks is reported once to its user, and another user's form opens."""
    async with flooded(slack, "UFLOOD", 1_100) as app:
        await eventually(lambda: slack.responses, "who floods is told")
        assert [item["text"] for item in slack.responses] == [replies.TOO_MUCH]
        assert (await app.deliver(click(slack.new_response_url(), "UHONEST"))).status_code == 200
        await eventually(lambda: slack.workspace.views, "the form is open")


async def test_a_flood_of_events_is_delivered_again(slack: SlackSandbox) -> None:
    """Events beyond one user's share get a 503 before anything is sent; another user's event is taken."""
    client = RecordingClient(lambda command: NEVER)
    async with running_app(client, slack_api_url=slack.api_url) as app:
        statuses = []
        for number in range(1_010):
            mention = app_mention(CHANNEL, "UFLOOD", "hi", ts=f"1700000000.{number:06}")
            statuses.append((await app.deliver(mention)).status_code)
        honest = await app.deliver(app_mention(CHANNEL, "UHONEST", "hi", ts="1700000009.000001"))
    assert statuses == [200] * 1_000 + [503] * 10
    assert honest.status_code == 200
    assert len(client.commands) == 1_001
