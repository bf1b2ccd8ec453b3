"""Requests and retries of tickets in Slack: Slack is the sandbox, the worker's results are given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog

from handlers import replies
from handlers.ticket_form import DESCRIPTION, NO_SUMMARY, SUMMARY
from sandbox.faults import Hangs, Refused
from sandbox.slack.requests import TEAM_ID, app_mention, button_click, view_submission
from sandbox.slack.server import SlackSandbox
from tests.support.slack_app import (
    CHANNEL,
    THREAD,
    USER,
    RecordingClient,
    eventually,
    form_in,
    result,
    running_app,
)
from threadsync.actors import SlackActor
from threadsync.commands import RequestSync
from threadsync.errors import SessionNotFound, SyncNotChanged, SyncNotFound
from threadsync.sync_commands import RetrySync
from threadsync.syncs import SyncState

JIRA = "https://jira.example"
CANARY = "tulip-4711"
ACTOR = SlackActor(user_id=USER, team_id=TEAM_ID, groups=())
SESSION_ID = UUID("01936f2e-7f00-7000-8000-000000000001")


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


def create_click(slack: SlackSandbox) -> dict[str, Any]:
    return button_click(
        "threadsync_create",
        THREAD,
        CHANNEL,
        USER,
        message_ts="1700000001.000100",
        thread_ts=THREAD,
        response_url=slack.new_response_url(),
    )


def retry_click(slack: SlackSandbox, value: str = str(SESSION_ID)) -> dict[str, Any]:
    return button_click(
        "threadsync_retry",
        value,
        CHANNEL,
        USER,
        message_ts="1700000001.000100",
        response_url=slack.new_response_url(),
    )


def sync_state(session_id: UUID) -> SyncState:
    now = datetime.now(UTC)
    return SyncState(
        session_id=session_id,
        channel_id=CHANNEL,
        thread_ts=THREAD,
        state="pending",
        reason=None,
        parked=False,
        attempts=0,
        next_attempt_at=now,
        jira_key=None,
        origin=None,
        duplicates=(),
        requested_at=now,
        updated_at=now,
    )


@pytest.mark.parametrize(
    ("jira_url", "action", "text"),
    [(JIRA, "threadsync_create", replies.OPENED_FOR_TICKET), (None, "threadsync_ready", replies.OPENED)],
)
async def test_the_first_reply_fits_the_settings(
    jira_url: str | None, action: str, text: str, slack: SlackSandbox
) -> None:
    """The first reply's button requests a ticket with a Jira, and makes the thread ready without one."""
    client = RecordingClient(lambda command: result("created"))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=jira_url) as app:
        await app.deliver(app_mention(CHANNEL, USER, "hi", ts=THREAD))
        await eventually(lambda: slack.messages, "there is a reply")
    (posted,) = slack.messages
    assert posted.text == text
    (button,) = posted.blocks[1]["elements"]
    assert (button["action_id"], button["value"]) == (action, THREAD)


async def test_from_the_button_to_the_command(slack: SlackSandbox) -> None:
    """The button opens a form, whose content becomes a draft, and the user is told."""
    client = RecordingClient(lambda command: result("applied", status="ready_to_sync"))
    with structlog.testing.capture_logs() as logs:
        async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
            assert (await app.deliver(create_click(slack))).status_code == 200
            await eventually(lambda: form_in(slack), "the form is open")
            assert client.commands == []
            written = {SUMMARY: f"Export {CANARY}", DESCRIPTION: f"It *stops*, {CANARY}"}
            before = time.time()
            sent = await app.deliver(view_submission(form_in(slack), written, USER))
            assert (sent.status_code, sent.text) == (200, "")
            await eventually(lambda: slack.responses, "the user is told")
    (command,) = client.commands
    assert isinstance(command, RequestSync)
    assert (command.channel_id, command.thread_ts) == (CHANNEL, THREAD)
    assert (command.draft.summary, command.draft.description) == (written[SUMMARY], written[DESCRIPTION])
    assert before - 1 < float(command.drafted_at) < time.time() + 1
    assert "on its way" in slack.responses[0]["text"]
    assert CANARY not in repr(logs)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (result("unchanged", status="synced", jira_key="PROJ-1"), "has the ticket *PROJ-1*"),
        (result("stale", status="ready_to_sync"), "too late"),
        (SessionNotFound(CHANNEL, THREAD), "do not keep track"),
    ],
)
async def test_a_draft_that_is_of_no_use_is_told(answer: Any, text: str, slack: SlackSandbox) -> None:
    """A user whose draft is unchanged, stale or without a session is told why no ticket follows."""
    client = RecordingClient(lambda command: answer)
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        await app.deliver(create_click(slack))
        await eventually(lambda: form_in(slack), "the form is open")
        await app.deliver(view_submission(form_in(slack), {SUMMARY: "x"}, USER))
        await eventually(lambda: slack.responses, "the user is told")
    assert text in slack.responses[0]["text"]


@pytest.mark.parametrize(
    ("summary", "is_down", "fault"),
    [(" ", False, NO_SUMMARY), (None, False, NO_SUMMARY), ("x", True, replies.TRY_AGAIN)],
)
async def test_a_form_that_cannot_be_taken_stays_open(
    summary: str | None, is_down: bool, fault: str, slack: SlackSandbox
) -> None:
    """A form without a summary, or without a broker, stays open with an error, within Slack's 3 s."""
    client = RecordingClient()
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        await app.deliver(create_click(slack))
        await eventually(lambda: form_in(slack), "the form is open")
        client.down = is_down
        started = time.monotonic()
        sent = await app.deliver(view_submission(form_in(slack), {SUMMARY: summary}, USER))
    assert time.monotonic() - started < 3
    assert sent.json() == {"response_action": "errors", "errors": {SUMMARY: fault}}
    assert client.commands == []


@pytest.mark.parametrize("fault", [Refused("expired_trigger_id"), Hangs(60)])
async def test_a_form_that_does_not_open_is_told(fault: Any, slack: SlackSandbox) -> None:
    """A click whose form does not open is acknowledged within 1 s, and the user is told within 4 s."""
    slack.fail("views.open", fault)
    async with running_app(RecordingClient(), slack_api_url=slack.api_url, jira_url=JIRA) as app:
        started = time.monotonic()
        assert (await app.deliver(create_click(slack))).status_code == 200
        assert time.monotonic() - started < 1
        await eventually(lambda: slack.responses, "the user is told")
        assert time.monotonic() - started < 4
    assert slack.responses[0]["text"] == replies.FORM_NOT_OPENED


async def test_a_click_without_a_thread_opens_nothing(slack: SlackSandbox) -> None:
    """A click without a valid thread opens no form, and the user is told."""
    click = create_click(slack)
    click["actions"][0]["value"] = "nonsense"
    async with running_app(RecordingClient(), slack_api_url=slack.api_url, jira_url=JIRA) as app:
        await app.deliver(click)
        await eventually(lambda: slack.responses, "the user is told")
    assert slack.calls("views.open") == ()


async def test_the_retry_button_tries_again_and_says_nothing(slack: SlackSandbox) -> None:
    """The retry button sends a retry with the user as actor and gives no response."""
    client = RecordingClient(lambda command: sync_state(command.session_id))
    async with running_app(client, slack_api_url=slack.api_url) as app:
        assert (await app.deliver(retry_click(slack))).text == ""
    (command,) = client.commands
    assert isinstance(command, RetrySync)
    # Each press has its own id: test_a_replayed_retry_is_the_same_retry.
    assert command.command_id is not None
    assert command.model_copy(update={"command_id": None}) == RetrySync(
        session_id=SESSION_ID, actor=ACTOR, reason="Retry button in Slack"
    )
    assert slack.responses == ()


@pytest.mark.parametrize(
    ("answer", "text"),
    [(SyncNotChanged("is done"), "nothing to retry"), (SyncNotFound("none"), "No ticket")],
)
async def test_a_retry_that_is_refused_is_told(answer: Any, text: str, slack: SlackSandbox) -> None:
    """A refused retry is told privately to the user who pressed."""
    client = RecordingClient(lambda command: answer)
    async with running_app(client, slack_api_url=slack.api_url) as app:
        await app.deliver(retry_click(slack))
        await eventually(lambda: slack.responses, "the user is told")
    (response,) = slack.responses
    assert text in response["text"]
    assert (response["response_type"], response["replace_original"]) == ("ephemeral", False)


@pytest.mark.parametrize(("value", "is_down"), [("nonsense", False), (str(SESSION_ID), True)])
async def test_a_retry_that_cannot_be_enqueued_is_told(
    value: str, is_down: bool, slack: SlackSandbox
) -> None:
    """A retry that cannot be enqueued is told to the user."""
    client = RecordingClient()
    client.down = is_down
    async with running_app(client, slack_api_url=slack.api_url) as app:
        assert (await app.deliver(retry_click(slack, value))).status_code == 200
        await eventually(lambda: slack.responses, "the user is told")
    assert client.commands == []
