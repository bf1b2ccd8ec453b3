"""Responses of Slack's endpoint and their status codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from handlers.app import create_app
from sandbox.slack.requests import (
    FORM,
    JSON,
    SlackRequest,
    app_mention,
    button_click,
    event_callback,
    message_shortcut,
    sign,
    slash_command,
)
from tests.support.slack_app import CHANNEL, SECRET, THREAD, USER, RecordingClient, SlackApp, running_app
from tests.support.slack_app import settings as app_settings

MENTION = app_mention(CHANNEL, USER, "hi", ts=THREAD)
LIMIT = 1_048_576


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient()


@pytest.fixture
async def app(client: RecordingClient) -> AsyncIterator[SlackApp]:
    async with running_app(client) as app:
        yield app


async def test_a_signed_event_is_enqueued_and_acknowledged(app: SlackApp, client: RecordingClient) -> None:
    """A signed event is acknowledged with a 200 and enqueues one command."""
    assert (await app.deliver(MENTION)).status_code == 200
    assert [command.name for command in client.commands] == ["sessions.get_or_create"]


async def test_a_redelivery_counts_like_the_first(app: SlackApp, client: RecordingClient) -> None:
    """A redelivery is enqueued like the first delivery, which may have been lost."""
    request = sign(SECRET, b'{"type": "url_verification", "challenge": "x"}').redelivered(3, "http_error")
    assert (await app.deliver(request)).status_code == 200
    await app.deliver(MENTION)
    await app.deliver(MENTION)
    assert len(client.commands) == 2


CHECKS = [
    b"ssl_check=1",
    b"ssl_check=1&token=Jhj5dZrVaK7ZwHHjRyZWjbDl",
    b"token=x&ssl_check=1",
    b"ssl_check=1&token=",
]


@pytest.mark.parametrize("body", CHECKS)
async def test_slacks_look_at_the_certificate_is_answered(
    body: bytes, app: SlackApp, client: RecordingClient
) -> None:
    """Slack's check of the certificate gets a 200, signed or not, and enqueues nothing."""
    bare = SlackRequest(body, {"content-type": FORM})
    assert (await app.deliver(bare)).status_code == 200
    assert (await app.deliver(sign(SECRET, body, FORM))).status_code == 200
    assert client.commands == []


@pytest.mark.parametrize(
    "body",
    [
        b"ssl_check=1&command=%2Fticket&text=ready&channel_id=C0123",
        b"command=%2Fticket&ssl_check=1",
        b"ssl_check=1&payload=%7B%7D",
        b"ssl_check=1&ssl_check=1",
        b"ssl_check=0",
        b"ssl_check=1&token=" + b"x" * 1000,
        b"ssl_check=1\n",
        b'{"ssl_check": 1}',
        b"",
    ],
)
async def test_nothing_else_is_taken_unsigned(body: bytes, app: SlackApp, client: RecordingClient) -> None:
    """Anything but the bare certificate check gets a 401 unsigned, and a wrong signature always does."""
    assert (await app.deliver(SlackRequest(body, {"content-type": FORM}))).status_code == 401
    assert (await app.deliver(sign("another secret", CHECKS[0], FORM))).status_code == 401
    assert (await app.deliver(SlackRequest(CHECKS[0], {"content-type": JSON}))).status_code == 401
    assert client.commands == []


async def test_another_id_of_a_channel_is_enqueued(app: SlackApp, client: RecordingClient) -> None:
    """A channel's new id is enqueued; an event with missing, equal or malformed ids is acknowledged only."""
    event = {"type": "channel_id_changed", "old_channel_id": "G012QA0M6", "new_channel_id": "C012Y48Q6"}
    assert (await app.deliver(event_callback(event))).status_code == 200
    (command,) = client.commands
    assert command.name == "channels.moved"
    assert command.arguments() == {"channel_id": "G012QA0M6", "new_channel_id": "C012Y48Q6"}
    for change in ({"old_channel_id": None}, {"new_channel_id": "G012QA0M6"}, {"new_channel_id": "C" * 100}):
        assert (await app.deliver(event_callback({**event, **change}))).status_code == 200
    assert len(client.commands) == 1
    client.down = True
    assert (await app.deliver(event_callback(event))).status_code == 503


async def test_an_event_without_an_author_is_acknowledged(app: SlackApp, client: RecordingClient) -> None:
    """An event without an author or with impossible ids is acknowledged, so that Slack does not repeat it."""
    event = {name: value for name, value in MENTION["event"].items() if name != "user"}
    assert (await app.deliver(event_callback(event))).status_code == 200
    for field, value in (("user", "U" * 100), ("channel", "C" * 100), ("ts", "9999999999999999.000100")):
        assert (await app.deliver(event_callback({**MENTION["event"], field: value}))).status_code == 200
    assert client.commands == []


@pytest.mark.parametrize("age", [-400, 400])
async def test_a_stale_request_is_refused(age: int, app: SlackApp, client: RecordingClient) -> None:
    """A request with a stale timestamp gets a 401, and nothing is enqueued."""
    request = sign(SECRET, b"{}", at=time.time() - age)
    assert (await app.deliver(request)).status_code == 401
    assert client.commands == []


async def test_what_is_not_signed_is_refused_before_it_is_parsed(
    app: SlackApp, client: RecordingClient
) -> None:
    """A request without a valid signature gets a 401 before its body is parsed."""
    for body in (b"{", b"\xff", b'{"type": "url_verification"}', b"ssl_check=1", b"[" * 100_000):
        forged = sign("another secret", body)
        assert (await app.deliver(forged)).status_code == 401
        bare = SlackRequest(body, {"content-type": JSON})
        assert (await app.deliver(bare)).status_code == 401
    assert client.commands == []


async def test_odd_signature_headers_are_refused(app: SlackApp) -> None:
    """Odd signature headers get a 401 and no 500."""
    good = sign(SECRET, b"{}").headers
    for header in ("x-slack-request-timestamp", "x-slack-signature"):
        for value in (b"", b"\xe9", b"9" * 400):
            answer = await app.http.post(
                "/slack/events",
                content=b"{}",
                headers=httpx.Headers({**good, header: value.decode("latin-1")}, encoding="latin-1"),
            )
            assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"junk", JSON),
        (b"\xff\xfe", FORM),
        (b"[1]", JSON),
        (b'{"type": "event_callback", "event": null}', JSON),
        (b"[" * 100_000, JSON),
        (b"payload=%7B", FORM),
        (b'{"type": "event_callback", "event": {"type": "app_mention"}, "authorizations": 7}', JSON),
    ],
)
async def test_signed_junk_is_a_bad_request(
    body: bytes, content_type: str, app: SlackApp, client: RecordingClient
) -> None:
    """A signed body that is junk gets a 400 that tells Slack not to retry."""
    answer = await app.deliver(sign(SECRET, body, content_type))
    assert (answer.status_code, answer.headers["x-slack-no-retry"]) == (400, "1")
    assert client.commands == []


@pytest.mark.parametrize("field", ["channel", "ts", "user"])
async def test_an_event_with_a_wrong_field_is_a_bad_request(
    field: str, app: SlackApp, client: RecordingClient
) -> None:
    """An event with a wrong field gets a 400 that tells Slack not to retry, and is not enqueued."""
    event = {**MENTION["event"], field: 1700000000.0001}
    answer = await app.deliver(event_callback(event))
    assert (answer.status_code, answer.headers["x-slack-no-retry"]) == (400, "1")
    assert client.commands == []


@pytest.mark.parametrize(
    "payload",
    [
        event_callback({"type": "reaction_added", "user": USER, "item": {"channel": CHANNEL}}),
        event_callback({"type": "tokens_revoked", "tokens": {"bot": [USER]}}),
        event_callback({"type": "function_executed", "function_execution_id": "F1"}),
        event_callback({"type": ["app_mention"]}),
        event_callback({}),
        slash_command("", CHANNEL, USER, command="/other"),
        message_shortcut("another", CHANNEL, USER, ts=THREAD),
        {**message_shortcut("threadsync_open", CHANNEL, USER, ts=THREAD), "type": "shortcut"},
        button_click("another", None, CHANNEL, USER, message_ts=THREAD),
        {"type": "view_submission", "view": {"callback_id": "v", "type": "modal"}, "user": {"id": USER}},
        {"type": "view_closed", "view": {"callback_id": "v", "type": "modal"}},
        {"type": "block_suggestion", "action_id": "a", "block_id": "b", "value": "x"},
        {"type": "app_rate_limited", "minute_rate_limited": 1},
        {"type": "of tomorrow"},
        {},
    ],
)
async def test_what_we_do_not_handle_is_acknowledged(
    payload: dict[str, Any], app: SlackApp, client: RecordingClient
) -> None:
    """A payload that we do not handle is acknowledged; Bolt's 404 would make Slack retry it."""
    answer = await app.deliver(payload)
    assert (answer.status_code, answer.text) == (200, "")
    assert client.commands == []


async def test_the_challenge_is_answered(app: SlackApp) -> None:
    """Slack's signed check of the URL gets its challenge back."""
    answer = await app.deliver({"type": "url_verification", "challenge": "3eZbrw1aB"})
    assert answer.json() == {"challenge": "3eZbrw1aB"}


async def test_other_methods_and_paths(app: SlackApp) -> None:
    """A wrong method gets a 405, an unknown path a 404, and `/healthz` says ok."""
    assert (await app.http.get("/slack/events")).status_code == 405
    assert (await app.http.post("/healthz")).status_code == 405
    assert (await app.http.post("/slack")).status_code == 404
    assert (await app.http.get("/healthz")).json() == {"status": "ok"}


async def test_a_body_at_the_limit_is_read(app: SlackApp) -> None:
    """A body of one mebibyte is read, and one byte more gets a 413."""
    assert (await app.deliver(sign(SECRET, b"x" * LIMIT))).status_code == 400
    assert (await app.deliver(sign(SECRET, b"x" * (LIMIT + 1)))).status_code == 413


@pytest.mark.parametrize("announced", [True, False])
async def test_a_larger_body_is_not_read_to_its_end(announced: bool, client: RecordingClient) -> None:
    """A larger body gets a 413 by its Content-Length, else soon after the limit, and is not read further."""
    read, answers = 0, []
    chunk = b"x" * 65_536

    async def receive() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message: Message) -> None:
        answers.append(message)

    length = {"content-length": "10000000000"} if announced else {"transfer-encoding": "chunked"}
    shaped = {**sign("another secret", b"").headers, **length}
    headers = [(name.encode(), value.encode()) for name, value in shaped.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/slack/events",
        "raw_path": b"/slack/events",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    await create_app(app_settings(), client)(scope, receive, send)
    assert answers[0]["status"] == 413
    assert read == (0 if announced else LIMIT // len(chunk) + 1)


async def test_an_event_that_is_not_enqueued_is_asked_for_again(
    app: SlackApp, client: RecordingClient
) -> None:
    """A 503 makes Slack repeat an event that was not enqueued, and the repetition is enqueued."""
    client.down = True
    answer = await app.deliver(MENTION)
    assert answer.status_code == 503
    assert "x-slack-no-retry" not in answer.headers
    client.down = False
    assert (await app.deliver(MENTION)).status_code == 200
    assert len(client.commands) == 1


async def test_a_fault_of_ours_is_a_500_and_logs_no_body() -> None:
    """A fault of ours is a 500, and the log has nothing that a user wrote."""

    class Broken(RecordingClient):
        async def enqueue(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

    async with running_app(Broken()) as app:
        with structlog.testing.capture_logs() as logs:
            mention = app_mention(CHANNEL, USER, "a secret of ours", ts=THREAD)
            assert (await app.deliver(mention)).status_code == 500
    assert [item["event"] for item in logs] == ["listener failed"]
    assert "secret" not in repr(logs)


_KINDS = """event_callback block_actions message_action shortcut view_submission view_closed
    interactive_message dialog_submission dialog_cancellation block_suggestion workflow_step_edit
    url_verification"""
_IDS = "app_mention message function_executed threadsync_open threadsync_ready /ticket 1"
_KEYS = """type user team channel view actions action_id callback_id message authorizations enterprise id ts
    thread_ts container command response_url response_urls is_ext_shared_channel function_data team_id
    assistant_thread subtype bot_id item text ssl_check trigger_id previous_message value"""
KINDS, IDS, KEYS = (st.sampled_from(words.split()) for words in (_KINDS, _IDS, _KEYS))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | IDS | st.sampled_from([CHANNEL, THREAD, USER, ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
PARTS = st.dictionaries(KEYS, VALUES, max_size=6)
EVENTS = st.builds(lambda kind, rest: {**rest, "type": kind}, IDS | VALUES, PARTS)
PAYLOADS = st.builds(
    lambda kind, rest, event: {**rest, "type": kind, **event},
    KINDS,
    PARTS,
    st.just({}) | st.fixed_dictionaries({"event": EVENTS}),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


# A busy machine may be slow, which is not what is tested here.
@given(payload=PAYLOADS)
def test_no_signed_object_is_a_fault_of_ours(runner: asyncio.Runner, payload: dict[str, Any]) -> None:
    """Any JSON made of Slack's own words gets a 200 or a 400, never a 500."""

    async def deliver() -> int:
        async with running_app(RecordingClient()) as app:
            return (await app.deliver(payload)).status_code

    assert runner.run(deliver()) in (200, 400)
