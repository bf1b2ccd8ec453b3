"""Socket Mode as its own process, which connects to the sandbox's Slack."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slack_sdk.socket_mode.request import SocketModeRequest

from handlers.mapping import CREATE_BUTTON
from handlers.slack_side import SlackSide
from handlers.socket_mode import dispatch
from handlers.ticket_form import SUMMARY, ticket_form
from sandbox.faults import Hangs, Page, RateLimited, Refused
from sandbox.slack.requests import (
    app_mention,
    button_click,
    event_callback,
    slash_command,
    view_submission,
)
from sandbox.slack.server import SOCKET, SlackSandbox
from tests.support.services import start_service
from tests.support.slack_app import (
    CHANNEL,
    THREAD,
    USER,
    RecordingClient,
    eventually,
    queued,
    result,
    settings,
)
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.commands import RequestSync
from threadsync.liveness.verdicts import verdict_on_socket

MENTION = app_mention(CHANNEL, USER, "only for your eyes", ts=THREAD)


class Socket:
    """A running `python -m handlers.socket_mode`."""

    def __init__(self, folder: Path, slack: SlackSandbox, broker_url: str, **env: str) -> None:
        self.log_path = folder / "socket.log"
        settings = {
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_BOT_TOKEN": slack.token,
            "SLACK_API_URL": slack.api_url,
            "CELERY_BROKER_URL": broker_url,
            "LOG_LEVEL": "DEBUG",
            **env,
        }
        env = {**os.environ, **settings}
        self.child = start_service("handlers.socket_mode", log_path=self.log_path, env=env, cwd=folder)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> int | None:
        self.child.signal(signal.SIGTERM)
        wait_until(lambda: self.child.poll() is not None, "the process has ended", timeout=15)
        return self.child.poll()


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


@pytest.fixture
def process(slack: SlackSandbox, broker_url: str, tmp_path: Path) -> Iterator[Socket]:
    process = Socket(tmp_path, slack, broker_url)
    try:
        wait_until(lambda: slack.socket_count == 1, "the process has dialled in", timeout=20)
        yield process
    finally:
        process.child.kill()


def test_an_event_becomes_its_message_and_is_acknowledged(
    process: Socket, slack: SlackSandbox, broker_url: str
) -> None:
    """An event over the socket becomes its message, and an unknown event is acknowledged too."""
    mention = slack.send_over_socket(MENTION)
    other = slack.send_over_socket(event_callback({"type": "reaction_added", "user": USER}))
    wait_until(lambda: {mention, other} <= set(slack.acknowledged), "both are acknowledged")
    assert [name for name, _ in queued(broker_url)] == ["sessions.get_or_create"]
    assert "only for your eyes" not in process.log


def test_what_is_anothers_changes_nothing(process: Socket, slack: SlackSandbox, broker_url: str) -> None:
    """Payloads of another team or a partner's user leave no message; the partner's user is told privately."""
    authorization = {**MENTION["authorizations"][0], "team_id": "T0OTHER"}
    of_another_team = slack.send_over_socket({**MENTION, "authorizations": [authorization]})
    command = slash_command(f"ready {THREAD}", CHANNEL, USER, team_id="T0OTHER")
    of_another = slack.send_over_socket(command, "slash_commands")
    event = {**MENTION["event"], "user": "U0PARTNER", "user_team": "T0OTHER"}
    slack.workspace.people["U0PARTNER"] = {"team_id": "T0OTHER"}
    of_a_partner = slack.send_over_socket({**MENTION, "event": event, "is_ext_shared_channel": True})
    answered = {of_another_team, of_another, of_a_partner}
    wait_until(lambda: answered <= set(slack.acknowledged), "all are acknowledged")
    assert slack.acknowledged[of_another] is None
    wait_until(lambda: slack.messages, "the partner's person is told")
    assert [message.only_for for message in slack.messages] == ["U0PARTNER"]
    assert queued(broker_url) == []


def test_a_command_is_answered_in_its_acknowledgement(process: Socket, slack: SlackSandbox) -> None:
    """A slash command gets its private response in the acknowledgement."""
    envelope = slack.send_over_socket(slash_command("help", CHANNEL, USER), "slash_commands")
    wait_until(lambda: envelope in slack.acknowledged, "the command is answered")
    answer = slack.acknowledged[envelope]
    assert answer["response_type"] == "ephemeral"
    assert "/ticket link" in answer["text"]


def test_junk_over_the_socket_kills_nothing(process: Socket, slack: SlackSandbox) -> None:
    """A broken payload is not acknowledged, and the next event is."""
    broken = slack.send_over_socket({**MENTION, "event": None})
    mention = slack.send_over_socket(MENTION)
    wait_until(lambda: mention in slack.acknowledged, "the next event is acknowledged")
    assert broken not in slack.acknowledged


async def test_a_form_is_as_old_as_its_receipt(slack: SlackSandbox) -> None:
    """A form's draft has the time of its receipt, not of Slack's later response about its user."""
    slack.fail("users.info", Hangs(0.8))
    client = RecordingClient(lambda command: result("applied"))
    button = button_click(CREATE_BUTTON, THREAD, CHANNEL, USER, message_ts="1.1", response_url="")
    form = view_submission(ticket_form(button), {SUMMARY: "It broke"}, USER)
    request = SocketModeRequest(type="interactive", envelope_id="1", payload=form)
    side = SlackSide(settings(slack_api_url=slack.api_url), client)
    async with side:
        sent = asyncio.create_task(dispatch(side.bolt, request, time.time()))
        await eventually(lambda: slack.calls("users.info"), "Slack is asked about the person")
        asked_at = time.time()
        assert (await sent).status == 200
    (command,) = client.commands
    assert isinstance(command, RequestSync)
    assert float(command.drafted_at) < asked_at


def test_sigterm_ends_it_in_good_order(process: Socket, slack: SlackSandbox) -> None:
    """SIGTERM ends the process within 6 s with the socket closed."""
    started = time.monotonic()
    assert process.stop() == 0, process.log
    assert time.monotonic() - started < 6
    wait_until(lambda: slack.socket_count == 0, "the socket is closed")
    assert "Unclosed" not in process.log
    assert "Traceback" not in process.log


def test_it_stops_while_slack_is_away(tmp_path: Path, slack: SlackSandbox, broker_url: str) -> None:
    """SIGTERM ends a process that still tries to connect to Slack."""
    slack.stop()
    process = Socket(tmp_path, slack, broker_url)
    try:
        wait_until(lambda: "Failed to connect" in process.log, "connecting has failed", timeout=20)
        assert process.stop() == 0
    finally:
        process.child.kill()


def test_an_event_that_cannot_be_enqueued_is_not_acknowledged(tmp_path: Path, slack: SlackSandbox) -> None:
    """An event that cannot be enqueued is not acknowledged, so that Slack delivers it again."""
    process = Socket(tmp_path, slack, "redis://127.0.0.1:1/0")
    try:
        wait_until(lambda: slack.socket_count == 1, "the process has dialled in", timeout=20)
        mention = slack.send_over_socket(MENTION)
        wait_until(lambda: "event not enqueued" in process.log, "the event has failed")
        assert mention not in slack.acknowledged
    finally:
        process.child.kill()


def test_each_try_has_an_address_of_its_own(process: Socket, slack: SlackSandbox, broker_url: str) -> None:
    """Each attempt to connect gets a new address, and the log shows none of them."""
    slack.refuses_sockets = True
    slack.close_sockets()
    wait_until(lambda: len(slack.calls(SOCKET)) >= 4, "three tries were refused", timeout=60)
    slack.refuses_sockets = False
    wait_until(lambda: slack.socket_count == 1, "the process has dialled in again", timeout=60)
    tickets = [call.arguments["ticket"] for call in slack.calls(SOCKET)]
    assert len(set(tickets)) == len(tickets) == len(slack.calls("apps.connections.open"))
    mention = slack.send_over_socket(MENTION)
    wait_until(lambda: mention in slack.acknowledged, "the event is acknowledged")
    assert process.stop() == 0, process.log
    assert "ticket=" not in process.log
    assert "Unclosed" not in process.log


def test_an_app_that_slack_does_not_let_in_yet_is_let_in_later(
    tmp_path: Path, slack: SlackSandbox, broker_url: str
) -> None:
    """A rate limit, a page or a refusal instead of an address delays the connection but does not end it."""
    page = Page(503, "upstream connect error", "text/plain")
    slack.fail("apps.connections.open", RateLimited(1), page, Refused("internal_error"))
    process = Socket(tmp_path, slack, broker_url)
    try:
        wait_until(lambda: slack.socket_count == 1, "the process has dialled in", timeout=60)
    finally:
        process.child.kill()


def test_a_process_that_hears_nothing_says_so_and_ends(
    tmp_path: Path, slack: SlackSandbox, broker_url: str
) -> None:
    """A process that receives nothing from Slack reports it, logs it and ends with exit code 1."""
    slack.deaf_and_dumb = True
    process = Socket(tmp_path, slack, broker_url, SLACK_SILENCE_SECONDS="5")
    try:
        wait_until(lambda: slack.calls(SOCKET), "the process has dialled in", timeout=20)
        with SessionClient(broker_url) as client:
            wait_until(lambda: _silences(client), "it has reported", timeout=20)
        wait_until(lambda: process.child.poll() is not None, "the process has ended", timeout=60)
        assert process.child.poll() == 1
        assert "nothing came from slack" in process.log
    finally:
        process.child.kill()


def test_a_process_that_hears_is_well(process: Socket, slack: SlackSandbox, broker_url: str) -> None:
    """A process that receives pings is judged `ok`, and one that stopped leaves no heartbeat."""
    with SessionClient(broker_url) as client:
        wait_until(lambda: len(_silences(client)) == 1, "it has reported", timeout=20)
        assert {verdict_on_socket(silence).state for silence in _silences(client)} == {"ok"}
        assert process.stop() == 0
        assert _silences(client) == []


def test_it_traces(tmp_path: Path, slack: SlackSandbox, broker_url: str) -> None:
    """Socket Mode exports traces under its own service name."""
    process = Socket(tmp_path, slack, broker_url, OTEL_TRACES_EXPORTER="console")
    try:
        wait_until(lambda: slack.socket_count == 1, "the process has dialled in", timeout=20)
        mention = slack.send_over_socket(MENTION)
        wait_until(lambda: mention in slack.acknowledged, "the event is acknowledged")
        assert process.stop() == 0, process.log
        assert "threadsync-socket-mode" in process.log
    finally:
        process.child.kill()


def _silences(client: SessionClient) -> list[float]:
    signs = client.heartbeats()
    assert signs is not None
    return list(signs.sockets.values())
