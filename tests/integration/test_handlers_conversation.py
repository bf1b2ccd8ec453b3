"""Replies to users, and how often they are sent: Slack is the sandbox, the worker's results are given."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from handlers import replies
from sandbox.faults import Dropped, Hangs, Page, RateLimited, Refused
from sandbox.slack.requests import (
    BOT_USER_ID,
    app_mention,
    button_click,
    message,
    message_shortcut,
    signed_request,
    slash_command,
)
from sandbox.slack.server import RESPONSE_URL, SlackSandbox
from tests.support.slack_app import (
    CHANNEL,
    NEVER,
    SECRET,
    THREAD,
    USER,
    RecordingClient,
    eventually,
    result,
    running_app,
)
from threadsync.errors import CommandFailed, EnqueueFailed, JiraKeyConflict, SessionNotFound
from threadsync.reply_commands import SayReply

MENTION = app_mention(CHANNEL, USER, "hi", ts=THREAD)
POST = "chat.postMessage"
READY = result("applied", status="ready_to_sync")


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


def answering(value: Any) -> RecordingClient:
    """Return a client whose every command has this result."""
    return RecordingClient(lambda command: value)


class FirstCreates(RecordingClient):
    """A client like a worker's: a thread's first command creates a session, later ones find it.

    Args:
        says: the result of a command to post a reply.
    """

    def __init__(self, says: Any = "no token") -> None:
        seen: set[str] = set()

        def answer(command: Any) -> Any:
            if isinstance(command, SayReply):
                return says
            outcome = "unchanged" if command.thread_ts in seen else "created"
            seen.add(command.thread_ts)
            return result(outcome, command.thread_ts)  # type: ignore[arg-type]

        super().__init__(answer)


async def test_a_new_thread_gets_one_reply_with_a_button(slack: SlackSandbox) -> None:
    """A new thread gets one reply, whose button carries the thread's timestamp."""
    async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await eventually(lambda: slack.messages, "there is a reply")
    (posted,) = slack.messages
    assert (posted.channel, posted.thread_ts, posted.text) == (CHANNEL, THREAD, replies.OPENED)
    assert posted.blocks[1]["elements"][0]["value"] == THREAD


async def test_redelivered_and_doubled_events_are_answered_once(slack: SlackSandbox) -> None:
    """Repeated events about one mention are all sent to the worker, and the thread gets one reply."""
    ts = "1700000009.000200"
    as_mention = signed_request(SECRET, app_mention(CHANNEL, USER, "hi", ts=ts, thread_ts=THREAD))
    as_message = signed_request(SECRET, message(CHANNEL, USER, "hi", ts=ts, thread_ts=THREAD))
    client = FirstCreates()
    async with running_app(client, slack_api_url=slack.api_url) as app:
        for request in (as_mention, as_message, as_mention.redelivered(1), as_message.redelivered(2)):
            assert (await app.deliver(request)).status_code == 200
    assert len(client.commands) == 4
    assert len(slack.calls(POST)) == 1


@pytest.mark.parametrize("committed", [True, False])
async def test_a_dropped_connection_is_not_posted_over_again(committed: bool, slack: SlackSandbox) -> None:
    """A reply whose connection was dropped is not posted again."""
    slack.fail(POST, Dropped(committed))
    async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
        assert (await app.deliver(MENTION)).status_code == 200
        await eventually(lambda: slack.calls(POST), "the reply was tried")
    assert len(slack.calls(POST)) == 1
    assert len(slack.messages) == committed


async def test_a_reply_waits_until_slack_takes_the_token_again(slack: SlackSandbox) -> None:
    """A reply that Slack refuses for its token is posted once when the token is accepted again."""
    slack.refuses = "account_inactive"
    async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await app.deliver(app_mention(CHANNEL, USER, "hi", ts="1700000009.000200"))
        await eventually(lambda: len(slack.calls(POST)) >= 2, "both replies were refused")
        assert not slack.messages
        slack.refuses = None
        await eventually(lambda: len(slack.messages) == 2, "both threads have their reply")
        await app.deliver(MENTION)
    assert {message.thread_ts for message in slack.messages} == {THREAD, "1700000009.000200"}
    assert len(slack.messages) == 2


@pytest.mark.parametrize(
    ("fault", "maybe_said"),
    [
        (Refused("token_revoked"), False),
        (Refused("message_limit_exceeded"), False),
        (Refused("service_unavailable"), True),
        (Refused("fatal_error"), True),
        (Dropped(), True),
        (Dropped(committed=False), True),
        (RateLimited(3600), False),
        (RateLimited("soon"), False),
        (Page(200), True),
        (Page(200, "", "text/plain"), True),
        (Page(503, "upstream connect error", "text/plain"), True),
        (Page(200, "[]", "application/json"), True),
        (Page(200, "null", "application/json"), True),
        (Page(200, '{"ok": false, "error": 5}', "application/json"), True),
        (Page(403, '{"ok": false, "error": "invalid_auth"}', "application/json"), False),
    ],
    ids=str,
)
async def test_what_slack_does_not_take_is_passed_on(
    fault: Any, maybe_said: bool, slack: SlackSandbox
) -> None:
    """A reply that Slack did not accept is passed to a worker, with the note whether it may be there."""
    slack.fail(POST, fault)
    client = FirstCreates("said")
    async with running_app(client, slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await eventually(lambda: len(client.commands) == 2, "it is passed on")
    (reply,) = [command for command in client.commands if isinstance(command, SayReply)]
    assert (reply.channel_id, reply.thread_ts, reply.maybe_said) == (CHANNEL, THREAD, maybe_said)
    assert SayReply.from_message((), json.loads(json.dumps(reply.arguments()))) == reply
    assert len(slack.calls(POST)) == 1


async def test_a_reply_that_is_refused_for_good_is_not_passed_on(slack: SlackSandbox) -> None:
    """A reply that Slack refuses for good is not passed on."""
    slack.fail(POST, Refused("is_archived"))
    client = FirstCreates("said")
    async with running_app(client, slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await eventually(lambda: slack.calls(POST), "the reply was tried")
    assert len(client.commands) == 1


@pytest.mark.parametrize("says", [EnqueueFailed("away"), CommandFailed("an older worker")], ids=repr)
async def test_a_reply_that_cannot_be_passed_on_is_said_from_here(says: Any, slack: SlackSandbox) -> None:
    """A reply that cannot be passed on is posted again by the web process."""
    slack.fail(POST, Refused("token_revoked"))
    async with running_app(FirstCreates(says), slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await eventually(lambda: len(slack.messages) == 1, "there is a reply")


async def test_a_reply_that_waits_is_not_lost_without_a_word(slack: SlackSandbox) -> None:
    """A web process that ends with a waiting reply logs its thread."""
    slack.refuses = "account_inactive"
    with structlog.testing.capture_logs() as logs:
        async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
            await app.deliver(MENTION)
            await eventually(lambda: slack.calls(POST), "the reply was refused")
    (lost,) = [entry for entry in logs if entry["event"] == "reply not posted: the process ends"]
    assert (lost["channel_id"], lost["thread_ts"]) == (CHANNEL, THREAD)


async def test_a_rate_limit_is_waited_for(slack: SlackSandbox) -> None:
    """A rate limit is waited out, and then the reply is posted."""
    slack.fail(POST, RateLimited(1))
    async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await eventually(lambda: slack.messages, "there is a reply")
    assert len(slack.calls(POST)) == 2
    assert len(slack.messages) == 1


@pytest.mark.parametrize("fault", [Refused("not_in_channel"), Dropped()])
async def test_a_reply_that_fails_is_logged_and_harms_nobody(fault: Any, slack: SlackSandbox) -> None:
    """A reply that fails is logged without its text and the token, and the event is acknowledged."""
    slack.fail(POST, fault)
    with structlog.testing.capture_logs() as logs:
        async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
            assert (await app.deliver(MENTION)).status_code == 200
            await eventually(lambda: slack.calls(POST), "the reply was tried")
    warnings = [item for item in logs if item["log_level"] != "info"]
    assert [item["event"] for item in warnings] in (
        ["slack call failed"],
        ["slack call failed", "reply perhaps not posted"],
    )
    assert slack.token not in repr(logs)
    assert replies.OPENED not in repr(logs)


@pytest.mark.parametrize("answer", [result("unchanged"), SessionNotFound(CHANNEL, THREAD)])
async def test_without_a_new_session_nothing_is_posted(answer: Any, slack: SlackSandbox) -> None:
    """An event about a known or unknown session posts no reply."""
    async with running_app(answering(answer), slack_api_url=slack.api_url) as app:
        assert (await app.deliver(MENTION)).status_code == 200
    assert slack.calls(POST) == ()


async def test_stopping_does_not_wait_for_a_worker_that_is_away(slack: SlackSandbox) -> None:
    """A web process stops within 5 s although results are still awaited."""
    client = answering(NEVER)
    async with running_app(client, slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert client.closed


async def test_many_events_ask_once_who_we_are(slack: SlackSandbox) -> None:
    """Twenty events lead to one call of auth.test."""
    async with running_app(answering(result("unchanged")), slack_api_url=slack.api_url) as app:
        for _ in range(20):
            await app.deliver(MENTION)
    assert len(slack.calls("auth.test")) == 1


async def test_our_own_messages_open_nothing(slack: SlackSandbox) -> None:
    """A message by our own user opens no session once auth.test has told our user id."""
    client = answering(result("unchanged"))
    by_us = message(CHANNEL, BOT_USER_ID, "hi", ts="1.2", thread_ts=THREAD)
    with structlog.testing.capture_logs() as logs:
        async with running_app(client, slack_api_url=slack.api_url) as app:
            await app.deliver(MENTION)
            known = "slack identity known"
            await eventually(lambda: known in [entry["event"] for entry in logs], "we know who we are")
            delivered = len(client.commands)
            await app.deliver(by_us)
    assert len(client.commands) == delivered


async def test_with_slack_away_events_are_still_taken(slack: SlackSandbox) -> None:
    """Events are accepted at once although Slack's API hangs or is gone."""
    slack.fail("auth.test", Hangs(30))
    client = answering(result("unchanged"))
    started = time.monotonic()
    async with running_app(client, slack_api_url=slack.api_url) as app:
        assert (await app.deliver(MENTION)).status_code == 200
        assert time.monotonic() - started < 1
    async with running_app(client) as app:
        assert (await app.deliver(MENTION)).status_code == 200
    assert len(client.commands) == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (result("applied", status="ready_to_sync"), "is ready for a ticket"),
        (result("unchanged", status="ready_to_sync"), "already"),
        (result("stale", status="synced", jira_key="PROJ-1"), "*PROJ-1*"),
        (SessionNotFound(CHANNEL, THREAD), "do not keep track"),
    ],
)
async def test_whoever_presses_the_button_is_told(answer: Any, text: str, slack: SlackSandbox) -> None:
    """A user who presses the button gets a private response, and the message with the button stays."""
    click = button_click(
        "threadsync_ready", THREAD, CHANNEL, USER, message_ts="1.2", response_url=slack.new_response_url()
    )
    async with running_app(answering(answer), slack_api_url=slack.api_url) as app:
        assert (await app.deliver(click)).text == ""
        await eventually(lambda: slack.responses, "the user is told")
    (response,) = slack.responses
    assert text in response["text"]
    assert (response["response_type"], response["replace_original"]) == ("ephemeral", False)


async def test_the_shortcut_tells_the_user_and_the_thread(slack: SlackSandbox) -> None:
    """The shortcut posts a button for a new session only, and responds to the user each time."""
    shortcut = message_shortcut(
        "threadsync_open", CHANNEL, USER, ts=THREAD, response_url=slack.new_response_url()
    )
    async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
        await app.deliver(shortcut)
        await eventually(lambda: slack.responses and slack.messages, "both are told")
        await app.deliver(shortcut)
        await eventually(lambda: len(slack.responses) == 2, "the user is told again")
    assert "now" in slack.responses[0]["text"]
    assert "already" in slack.responses[1]["text"]
    assert len(slack.messages) == 1


@pytest.mark.parametrize(
    "click",
    [
        message_shortcut("threadsync_open", CHANNEL, USER, ts=THREAD),
        button_click("threadsync_ready", THREAD, CHANNEL, USER, message_ts="1.2"),
        message_shortcut("threadsync_open", CHANNEL, USER, ts="nonsense"),
    ],
)
async def test_a_click_that_cannot_be_enqueued_is_answered(click: Any, slack: SlackSandbox) -> None:
    """A click that cannot be enqueued gets 200 and, with a response URL, a sentence to the user."""
    client = RecordingClient()
    client.down = True
    async with running_app(client, slack_api_url=slack.api_url) as app:
        assert (await app.deliver(click)).status_code == 200
        assert (await app.deliver({**click, "response_url": slack.new_response_url()})).status_code == 200
        await eventually(lambda: slack.responses, "the user is told")
    text = slack.responses[0]["text"]
    assert "try again" in text or "did not work" in text


async def test_a_late_result_is_told_later(slack: SlackSandbox) -> None:
    """A command is acknowledged as queued, and its late result is sent through the response URL."""
    looks = 0

    def answer(command: Any) -> Any:
        nonlocal looks
        looks += 1
        return NEVER if looks == 1 else JiraKeyConflict(CHANNEL, THREAD, "PROJ-9", "PROJ-1")

    command = slash_command(f"ready {THREAD}", CHANNEL, USER, response_url=slack.new_response_url())
    async with running_app(RecordingClient(answer), slack_api_url=slack.api_url) as app:
        told = (await app.deliver(command)).json()
        assert told == {"text": replies.QUEUED, "response_type": "ephemeral"}
        await eventually(lambda: slack.responses, "the user is told the result")
    assert "*PROJ-9*" in slack.responses[0]["text"]


async def test_a_response_is_sent_once_too(slack: SlackSandbox) -> None:
    """A response whose connection was dropped is not sent again."""
    slack.fail(RESPONSE_URL, Dropped())
    click = button_click(
        "threadsync_ready", THREAD, CHANNEL, USER, message_ts="1.2", response_url=slack.new_response_url()
    )
    async with running_app(answering(result("applied")), slack_api_url=slack.api_url) as app:
        await app.deliver(click)
        await eventually(lambda: slack.responses, "the user is told")
    assert len(slack.responses) == 1


async def test_a_proxy_of_the_environment_is_not_asked_for_localhost(
    slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not used for a Slack on localhost."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with running_app(FirstCreates(), slack_api_url=slack.api_url) as app:
        await app.deliver(MENTION)
        await eventually(lambda: slack.messages, "there is a reply")


async def test_a_burst_of_events_does_not_keep_a_user_waiting(slack: SlackSandbox) -> None:
    """A click gets its response while two hundred events wait for a worker."""
    client = RecordingClient(lambda command: NEVER if command.name == "sessions.get_or_create" else READY)
    click = button_click(
        "threadsync_ready", THREAD, CHANNEL, USER, message_ts="1.2", response_url=slack.new_response_url()
    )
    async with running_app(client, slack_api_url=slack.api_url) as app:
        for number in range(200):
            await app.deliver(app_mention(CHANNEL, USER, "hi", ts=f"{number}.1"))
        await app.deliver(click)
        await eventually(lambda: slack.responses, "the user is told", within=2)
    assert slack.messages == ()
