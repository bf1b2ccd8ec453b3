"""Slack's example payloads, through the endpoint, into the real broker."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.slack_app import queued, running_app

# Read at import, as the tests themselves run without the shell's environment.
FOLDER = os.environ.get("THREADSYNC_TEST_DATA")


def mention(team_id: str) -> tuple[str, dict[str, Any]]:
    """Return the command for a mention by a member of the workspace."""
    thread = {"channel_id": "C111", "thread_ts": "1595926230.009600"}
    return "sessions.get_or_create", {**thread, "user_id": "W222", "actor": by("W222", team_id)}


def by(user_id: str, team_id: str = "T111") -> dict[str, str]:
    """Return the actor for a user's payload."""
    return {"user_id": user_id, "team_id": team_id}


EXPECTED: dict[str, list[Any]] = {
    "block_actions": [],
    "event_app_mention": [mention("T111")],
    "event_app_mention_shared_channel": [mention("T_INSTALLED")],
    "event_message_bot_message_subtype": [],
    "event_message_changed": [],
    "event_message_deleted": [],
    "event_message_user": [],
    "event_reaction_added": [],
    "event_tokens_revoked": [],
    "message_action_shortcut": [],
    "slash_command": [],
    "url_verification": [],
    "view_submission": [],
}
IN_A_THREAD = "1610261650.000100"

pytestmark = pytest.mark.skipif(
    not FOLDER,
    reason="set THREADSYNC_TEST_DATA to the folder that has slack/*.json, Slack's example payloads",
)


def load(name: str) -> Any:
    return json.loads((Path(FOLDER or "") / "slack" / f"{name}.json").read_text())


def test_every_payload_is_expected() -> None:
    """Every example payload in the folder has an expectation."""
    assert {path.stem for path in (Path(FOLDER or "") / "slack").glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_payload_as_it_is(name: str, broker_url: str) -> None:
    """Each payload is acknowledged and becomes its expected command, or none."""
    team = "T_INSTALLED" if "shared" in name else "T111"
    async with running_app(celery_broker_url=broker_url, slack_team_id=team) as app:
        answer = await app.deliver(load(name))
    assert answer.status_code == 200
    assert queued(broker_url) == EXPECTED[name]
    if name == "url_verification":
        assert answer.json() == {"challenge": load(name)["challenge"]}


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("event_message_user", "sessions.get_or_create"),
        ("event_message_bot_message_subtype", None),
        ("event_message_changed", None),
        ("event_message_deleted", None),
    ],
)
async def test_the_messages_in_a_thread(name: str, command: str | None, broker_url: str) -> None:
    """Inside a thread a user's message becomes a command; a bot's, an edit and a deletion do not."""
    payload = load(name)
    payload["event"]["thread_ts"] = IN_A_THREAD
    async with running_app(celery_broker_url=broker_url, slack_team_id="T111") as app:
        assert (await app.deliver(payload)).status_code == 200
    arguments = {"channel_id": "C111", "thread_ts": IN_A_THREAD, "user_id": "W111", "actor": by("W111")}
    assert queued(broker_url) == ([(command, arguments)] if command else [])


async def test_clicks_and_commands_under_our_names(broker_url: str) -> None:
    """A button, shortcut and slash command with our names become commands."""
    button, shortcut, command = load("block_actions"), load("message_action_shortcut"), load("slash_command")
    button["actions"][0] |= {"action_id": "threadsync_ready", "value": IN_A_THREAD}
    shortcut["callback_id"] = "threadsync_open"
    command |= {"command": "/ticket", "text": f"link proj-1 {IN_A_THREAD}"}
    for payload in (button, shortcut, command):
        payload.pop("response_url")
    async with running_app(celery_broker_url=broker_url, slack_team_id="T111") as app:
        for payload in (button, shortcut, command):
            assert (await app.deliver(payload)).status_code == 200
    assert queued(broker_url) == [
        (
            "sessions.update_status",
            {"channel_id": "C111", "thread_ts": IN_A_THREAD, "status": "ready_to_sync"}
            | {"actor": by("W111")},
        ),
        (
            "sessions.get_or_create",
            {"channel_id": "C111", "thread_ts": "1583636382.000300", "user_id": "W111"}
            | {"actor": by("W111")},
        ),
    ]
    ((name, question),) = queued(broker_url, "lookups")
    assert (name, question["thread_ts"], question["jira_key"]) == ("jira.link", IN_A_THREAD, "PROJ-1")
