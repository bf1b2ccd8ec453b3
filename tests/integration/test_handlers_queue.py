"""Signed requests on their way into the real broker's queue, and the responses without a broker."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from console.app import create_console
from handlers import replies
from handlers.background import Background
from handlers.ticket_reply import REPLY_SECONDS
from sandbox.slack.requests import (
    TEAM_ID,
    app_mention,
    button_click,
    message,
    message_shortcut,
    signed_request,
    slash_command,
)
from tests.support.slack_app import CHANNEL, SECRET, THREAD, USER, queued, running_app, settings

SLACK_WAITS_SECONDS = 3
REPLY = "1700000009.000200"
ACTOR = {"user_id": USER, "team_id": TEAM_ID}
OPENS_THREAD = (
    "sessions.get_or_create",
    {"channel_id": CHANNEL, "thread_ts": THREAD, "user_id": USER, "actor": ACTOR},
)
MAKES_READY = (
    "sessions.update_status",
    {"channel_id": CHANNEL, "thread_ts": THREAD, "status": "ready_to_sync", "actor": ACTOR},
)
HAS_TICKET = (
    "jira.link",
    {"channel_id": CHANNEL, "thread_ts": THREAD, "jira_key": "PROJ-123", "actor": ACTOR},
)
LINK_OF_A_REPLY = f"https://x.slack.com/archives/{CHANNEL}/p1700000009000200?thread_ts={THREAD}&cid={CHANNEL}"


@pytest.fixture(autouse=True)
def _stop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no reply at the end of a test: none comes without a worker."""
    monkeypatch.setattr(Background.close, "__defaults__", (0.1,))


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Yield the URL of a broker that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.fixture
def closed_url() -> str:
    """Return the URL of a port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (app_mention(CHANNEL, USER, "hi", ts=THREAD), OPENS_THREAD),
        (app_mention(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD), OPENS_THREAD),
        (message(CHANNEL, USER, "hi", ts=REPLY, thread_ts=THREAD), OPENS_THREAD),
        (message_shortcut("threadsync_open", CHANNEL, USER, ts=REPLY, thread_ts=THREAD), OPENS_THREAD),
        (button_click("threadsync_ready", THREAD, CHANNEL, USER, message_ts=REPLY), MAKES_READY),
        (slash_command(f"ready {LINK_OF_A_REPLY}", CHANNEL, USER), MAKES_READY),
        (slash_command("ready", CHANNEL, USER, thread_ts=THREAD), MAKES_READY),
        (slash_command(f"link proj-123 {THREAD}", CHANNEL, USER), HAS_TICKET),
    ],
)
async def test_a_payload_becomes_its_message(payload: Any, expected: Any, broker_url: str) -> None:
    """A payload becomes one message with exactly the arguments of its command."""
    async with running_app(celery_broker_url=broker_url) as app:
        assert (await app.deliver(payload)).status_code == 200
    (message,) = queued(broker_url, "lookups" if expected is HAS_TICKET else "sessions")
    message[1].pop("command_id", None)
    assert message == expected


async def test_a_redelivery_is_one_more_message(broker_url: str) -> None:
    """A redelivered event becomes another message."""
    request = signed_request(SECRET, app_mention(CHANNEL, USER, "hi", ts=THREAD))
    async with running_app(celery_broker_url=broker_url) as app:
        for delivery in (request, request.redelivered(1), request.redelivered(2, "http_error")):
            assert (await app.deliver(delivery)).status_code == 200
    assert queued(broker_url) == [OPENS_THREAD] * 3


async def test_refused_requests_leave_no_message(broker_url: str) -> None:
    """A forged, old, malformed or unrelated request leaves no message."""
    mention = app_mention(CHANNEL, USER, "hi", ts=THREAD)
    async with running_app(celery_broker_url=broker_url) as app:
        assert (await app.deliver(signed_request("wrong", mention))).status_code == 401
        assert (await app.deliver(signed_request(SECRET, mention, at=1))).status_code == 401
        broken = {**mention, "event": {**mention["event"], "ts": 1700000000.0001}}
        assert (await app.deliver(broken)).status_code == 400
        outside = message(CHANNEL, USER, "hi", ts=THREAD)
        assert (await app.deliver(outside)).status_code == 200
    assert queued(broker_url) == []


@pytest.mark.parametrize("broker", ["closed_url", "silent_url"])
async def test_without_a_broker_slack_is_asked_to_deliver_again(
    broker: str, request: pytest.FixtureRequest
) -> None:
    """Without a broker an event gets 503 and a command a sentence, well within Slack's time."""
    url = request.getfixturevalue(broker)
    async with running_app(celery_broker_url=url) as app:
        started = time.monotonic()
        assert (await app.deliver(app_mention(CHANNEL, USER, "hi", ts=THREAD))).status_code == 503
        assert time.monotonic() - started < SLACK_WAITS_SECONDS / 2
        for text in ("status", "ready", f"link PROJ-1 {THREAD}"):
            started = time.monotonic()
            answer = await app.deliver(slash_command(text, CHANNEL, USER))
            assert time.monotonic() - started < REPLY_SECONDS + 0.3
            assert answer.json()["text"] == replies.TRY_AGAIN
        click = button_click("threadsync_ready", THREAD, CHANNEL, USER, message_ts=REPLY)
        assert (await app.deliver(click)).status_code == 200


async def test_a_silent_broker_does_not_stop_the_loop(silent_url: str) -> None:
    """Twenty events that wait for a silent broker leave the event loop running and get 503 in time."""
    async with running_app(celery_broker_url=silent_url) as app:
        started = time.monotonic()
        events = [
            asyncio.create_task(app.deliver(app_mention(CHANNEL, USER, "hi", ts=f"{number}.1")))
            for number in range(20)
        ]
        turns = 0
        while not all(event.done() for event in events):
            await asyncio.sleep(0)
            turns += 1
        # A blocked event loop would have gone round only a few times per event.
        assert turns > 50 * len(events)
        assert {event.result().status_code for event in events} == {503}
        assert time.monotonic() - started < SLACK_WAITS_SECONDS


async def test_a_worker_that_is_away_does_not_keep_a_command_waiting(broker_url: str) -> None:
    """A command without a worker is enqueued, and the user is told so."""
    async with running_app(celery_broker_url=broker_url) as app:
        started = time.monotonic()
        answer = await app.deliver(slash_command(f"ready {THREAD}", CHANNEL, USER))
        assert time.monotonic() - started < REPLY_SECONDS + 0.3
    assert answer.json()["text"] == replies.QUEUED
    assert queued(broker_url) == [MAKES_READY]


async def test_readiness_names_what_is_away(broker_url: str, closed_url: str) -> None:
    """Readiness is 503 without the broker, and skips Postgres when there is no console."""
    # Without beat a queue cannot be judged, which does not affect readiness.
    queues = dict.fromkeys(("sessions", "syncs", "maintenance", "lookups"), "unwatched")
    for broker, status, lines in (
        (broker_url, 200, {"broker": "ok", "database": "not checked", "queues": queues}),
        (closed_url, 503, {"broker": "away", "database": "not checked", "queues": {}}),
    ):
        nowhere = "postgresql://127.0.0.1:1/threadsync"
        async with running_app(celery_broker_url=broker, database_url=nowhere) as app:
            answer = await app.http.get("/readyz")
        assert (answer.status_code, answer.json()) == (status, lines)


async def test_readiness_with_the_console_tells_whether_postgres_is_there(
    broker_url: str, database_url: str
) -> None:
    """Readiness with the console reports Postgres as ok, and as away when it refuses or never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = {
            database_url: (200, "ok"),
            "postgresql://127.0.0.1:1/threadsync": (503, "away"),
            f"postgresql://127.0.0.1:{silent.getsockname()[1]}/threadsync": (503, "away"),
        }
        for url, expected in places.items():
            given: dict[str, Any] = {"celery_broker_url": broker_url, "database_url": url}
            given["threadsync_console_password"] = "of-these-tests-and-42-ostriches"
            started = time.monotonic()
            async with running_app(console=create_console(settings(**given)), **given) as app:
                answer = await app.http.get("/readyz")
                assert time.monotonic() - started < 4
            assert (answer.status_code, answer.json()["database"]) == expected
