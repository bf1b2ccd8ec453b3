"""Jira and Slack that stand still under load, then go on: one ticket a session, named in its thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox.jira.server import JiraSandbox
from sandbox.slack.server import SlackSandbox
from tests.support.frozen import freeze, relay_to
from tests.support.installation import Installation
from tests.support.scale import scaled
from tests.support.stopping import STOP_SECONDS
from tests.support.waiting import wait_until

SESSIONS = scaled(100)
CHANNEL = "C0FROZEN"


def thread(number: int) -> str:
    return f"1700000000.{number:06}"


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        yield jira


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        for number in range(SESSIONS):
            slack.workspace.add(CHANNEL, "U1", f"help {number}", ts=thread(number))
        yield slack


def ask_for_tickets(installation: Installation, numbers: range) -> None:
    for number in numbers:
        place: dict[str, Any] = {"channel_id": CHANNEL, "thread_ts": thread(number)}
        installation.send("sessions.get_or_create", **place, user_id="U1")
        draft = {"summary": f"Thread {number}", "description": "As *told*"}
        installation.send("sessions.request_sync", **place, draft=draft, drafted_at="1700000001.000100")


def told(slack: SlackSandbox) -> set[str]:
    """Return the keys that the status messages name."""
    return {
        word.strip("<>|*_.,")
        for message in slack.messages
        if message.user != "U1"
        for word in message.text.replace("|", " ").replace(">", " ").split()
        if word.strip("<>|*_.,").startswith("PROJ-")
    }


@pytest.mark.timeout(600)
def test_frozen_jira_and_slack_cost_time_alone(
    installation: Installation, jira: JiraSandbox, slack: SlackSandbox, tmp_path: Path
) -> None:
    """Every session gets its ticket while Jira, Slack, then both stand still for a time."""
    with (
        relay_to(urlsplit(jira.url).port or 0) as (jira_port, jira_relay),
        relay_to(urlsplit(slack.api_url).port or 0) as (slack_port, slack_relay),
        ThreadPoolExecutor(2) as others,
        installation.worker(
            "syncs",
            *("--concurrency", "4", "--beat", "--schedule", str(tmp_path / "beat")),
            JIRA_URL=f"http://127.0.0.1:{jira_port}",
            JIRA_EMAIL=jira.email,
            JIRA_API_TOKEN=jira.token,
            JIRA_PROJECT_KEY="PROJ",
            JIRA_SETTLE_SECONDS="20",
            JIRA_TIMEOUT_SECONDS="2",
            SLACK_BOT_TOKEN=slack.token,
            SLACK_API_URL=f"http://127.0.0.1:{slack_port}{urlsplit(slack.api_url).path}",
            SLACK_SIGNING_SECRET="of-these-tests",
        ) as worker,
    ):
        third = SESSIONS // 3
        for place, relays in enumerate(([jira_relay], [slack_relay], [jira_relay, slack_relay])):
            last = SESSIONS if place == 2 else (place + 1) * third
            frozen = [others.submit(freeze, relay) for relay in relays]
            ask_for_tickets(installation, range(place * third, last))
            wait(frozen)
        wait_until(
            lambda: [session.status for session in installation.sessions()] == ["synced"] * SESSIONS,
            "every session is synced",
            timeout=300,
        )
        keys = {session.jira_key for session in installation.sessions()}
        assert len(keys) == SESSIONS == len(jira.site.issues)
        wait_until(lambda: told(slack) == keys, "every thread names its ticket", timeout=120)
        assert installation.dead_letters() == []
        worker.stop(grace=STOP_SECONDS)
