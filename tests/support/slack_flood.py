"""Clicks in Slack, more of them than the web process takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from handlers.ticket_form import SUMMARY, ticket_form
from sandbox.slack.requests import (
    button_click,
    view_submission,
)
from sandbox.slack.server import SlackSandbox
from tests.support.slack_app import (
    CHANNEL,
    NEVER,
    THREAD,
    USER,
    RecordingClient,
    SlackApp,
    result,
    running_app,
)

JIRA = "https://jira.example"


def click(response_url: str = "", user: str = USER) -> dict[str, Any]:
    return button_click(
        "threadsync_create",
        THREAD,
        CHANNEL,
        user,
        message_ts="1700000001.000100",
        thread_ts=THREAD,
        response_url=response_url,
    )


def form(summary: str, response_url: str = "", user: str = USER) -> dict[str, Any]:
    return view_submission(ticket_form(click(response_url, user)), {SUMMARY: summary}, user)


@asynccontextmanager
async def flooded(slack: SlackSandbox, user: str, clicks: int) -> AsyncIterator[SlackApp]:
    """The app after so many clicks of one user whose answers do not come, while Slack says 429."""
    client = RecordingClient(
        lambda command: NEVER if getattr(command, "user_id", user) == user else result("applied")
    )
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        for _ in range(clicks):
            await app.deliver(form("flood", slack.new_response_url(), user))
        yield app
