"""Requests with Slack's signature and any content, and Slack's own responses, on real servers."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import structlog

from handlers import replies
from handlers.background import Background
from handlers.bot_identity import USERS_READ, BotIdentity
from handlers.members import Members
from handlers.slack_api import SlackApi
from handlers.slack_http import MOST_BYTES, is_slacks
from sandbox.faults import RateLimited
from sandbox.slack.requests import (
    app_mention,
    button_click,
    signed_request,
    slash_command,
)
from sandbox.slack.server import SlackSandbox
from tests.support.raw_server import Peer, RawServer, raw_server
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
    settings,
)
from tests.support.slack_flood import JIRA, click, flooded, form
from threadsync.actors import SlackActor
from threadsync.commands import RequestSync, Unlink
from threadsync.config import load_settings
from threadsync.lookup_commands import LinkAnswer, LinkLookup
from threadsync.sync_commands import RetrySync
from worker.db import SessionStore
from worker.db.syncs.store import SyncStore
from worker.doctor.slack import examine_slack
from worker.http_once import Unknown
from worker.status_message.web_api import WebApi
from worker.text.slack_names import RETRY_BUTTON

SLACK_API = "https://slack.com/api/"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


async def test_a_replayed_form_changes_nothing(store: SessionStore) -> None:
    """A replayed form does not replace the draft of a later form."""
    store.get_or_create_session(CHANNEL, THREAD, USER)
    client, now = RecordingClient(lambda command: result("applied")), int(time.time())
    wrong = signed_request(SECRET, form("wrong"), at=now - 20)
    corrected = signed_request(SECRET, form("corrected"), at=now - 10)
    async with running_app(client) as app:
        for sent in (wrong, corrected, wrong, corrected, wrong):
            assert (await app.deliver(sent)).status_code == 200
    outcomes = []
    for command in client.commands:
        assert isinstance(command, RequestSync)
        outcomes.append(store.run(command).outcome)
    assert [command.drafted_at for command in client.commands[:2]] == [  # type: ignore[attr-defined]
        f"{now - 20}.000000",
        f"{now - 10}.000000",
    ]
    assert outcomes[:2] == ["applied", "applied"]
    assert "applied" not in outcomes[2:]
    session = store.get_session_by_thread(CHANNEL, THREAD)
    detail = SyncStore(store._pool).get(session.id) if session else None
    assert detail is not None
    assert detail.draft.summary == "corrected"


@pytest.mark.parametrize("text", ["unlink PROJ-7 {} the wrong one", "link PROJ-7 {}"])
async def test_a_replayed_act_is_the_same_act(text: str) -> None:
    """A replayed link or unlink has the same command id; the same text typed again has another one."""
    unknown = LinkAnswer(outcome="no_such_ticket", jira_key="PROJ-7")
    client = RecordingClient(lambda asked: unknown if isinstance(asked, LinkLookup) else result("applied"))
    sent_at = int(time.time()) - 20
    typed = [slash_command(text.format(THREAD), CHANNEL, USER) for _ in range(2)]
    first, again = (signed_request(SECRET, form, at=sent_at) for form in typed)
    async with running_app(client) as app:
        for sent in (first, first, again):
            assert (await app.deliver(sent)).status_code == 200
    acts = [command.command_id for command in client.commands if isinstance(command, Unlink | LinkLookup)]
    assert len(acts) == 3
    assert acts[0] == acts[1] != acts[2]
    unlinked = {command.unlinked_at for command in client.commands if isinstance(command, Unlink)}
    assert unlinked <= {f"{sent_at}.000000"}


async def test_a_replayed_retry_is_the_same_retry() -> None:
    """A replayed retry has the same command id; another press of the button has another one."""
    client = RecordingClient(lambda command: NEVER)
    clicks = [
        button_click(RETRY_BUTTON, str(uuid4()), CHANNEL, USER, message_ts="1.1", response_url="")
        for _ in range(2)
    ]
    async with running_app(client) as app:
        for payload in (clicks[0], clicks[0], clicks[1]):
            assert (await app.deliver(payload)).status_code == 200
    ids = [command.command_id for command in client.commands if isinstance(command, RetrySync)]
    assert len(ids) == 3
    assert ids[0] == ids[1] != ids[2]


OURS = ("https://hooks.slack.com/actions/T/1/x", "https://slack.com/x", "https://HOOKS.slack.com:443/x")
NOT_OURS = (
    "http://hooks.slack.com/actions/T/1/x",
    "https://evil.example/x",
    "https://slack.com.evil.example/x",
    "https://evilslack.com/x",
    "https://hooks.slack.com@evil.example/x",
    "https://evil.example#@hooks.slack.com/x",
    "https://evil.example\\@hooks.slack.com/x",
    "https://user:password@hooks.slack.com/x",
    "https://hooks.slack.com:8443/x",
    "https://hooks.slack.com./x",
    "https://169.254.169.254/latest/meta-data",
    "http://127.0.0.1:6379/",
    "http://localhost/x",
    "http://[::1]/x",
    "https://2130706433/",
    "file:///etc/passwd",
    "ftp://hooks.slack.com/x",
    "//hooks.slack.com/x",
    "hooks.slack.com/x",
    "https://[hooks.slack.com/x",
    "https://hooks.slack.com/" + "x" * 5_000,
    "https://hooks.\u017flack.com/x\r\nHost: evil.example",
    "",
)


@pytest.mark.parametrize("url", OURS)
def test_an_answer_goes_to_slack(url: str) -> None:
    """A response may be sent to any host of Slack by HTTPS."""
    assert is_slacks(url, SLACK_API)


@pytest.mark.parametrize("url", NOT_OURS)
def test_an_answer_goes_nowhere_else(url: str) -> None:
    """A response is not sent to a URL that only looks like Slack's."""
    assert not is_slacks(url, SLACK_API)


def test_an_answer_may_go_to_where_the_api_is() -> None:
    """A response may be sent to the host of the API's URL, by http on this machine only."""
    assert is_slacks("http://127.0.0.1:8083/response/1", "http://localhost:8082/api/")
    assert is_slacks("https://slack.internal:8443/response/1", "https://slack.internal:8443/api/")
    assert not is_slacks("http://slack.internal:8443/response/1", "https://slack.internal:8443/api/")
    assert not is_slacks("https://slack.internal/response/1", "https://slack.internal:8443/api/")
    assert not is_slacks("https://other.internal:8443/response/1", "https://slack.internal:8443/api/")


async def nothing(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())


async def test_a_chosen_address_gets_no_connection() -> None:
    """A response URL of another host gets no connection, and is logged without its path."""
    client = RecordingClient(lambda command: result("applied"))
    with raw_server(nothing) as server, structlog.testing.capture_logs() as logs:
        url = f"{server.url}/secret-path"
        async with running_app(client, slack_api_url="https://slack.invalid/api/", jira_url=JIRA) as app:
            assert (await app.deliver(form("a plan", url))).status_code == 200
            await eventually(
                lambda: any(item["event"] == "response url refused" for item in logs), "it is refused"
            )
    assert server.connections == 0
    assert "secret-path" not in repr(logs)


@asynccontextmanager
async def api_at(url: str) -> AsyncIterator[SlackApi]:
    api = SlackApi("xoxb-secret", f"{url}/api/")
    await api.open()
    try:
        yield api
    finally:
        await api.close()


async def test_a_redirect_is_not_followed() -> None:
    """A redirect in Slack's response is not followed."""
    with raw_server(nothing) as other:

        async def redirects(peer: Peer, server: RawServer) -> None:
            server.requests.append(await peer.request())
            await peer.answer(307, b"", f"Location: {other.url}/elsewhere")

        with raw_server(redirects) as server:
            async with api_at(server.url) as api:
                await api.respond(f"{server.url}/response/1", "hello")
                posting = await api.post_in_thread(CHANNEL, THREAD, "hello", [], {})
    assert posting == "perhaps"
    assert len(server.requests) == 2
    assert other.connections == 0


BLOCK = b" " * 1_000_000


async def floods(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.send(head)
    for _ in range(1_700):
        await peer.send(b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK))
        server.sent += len(BLOCK)


async def sends_a_bomb(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    bomb = gzip.compress(BLOCK * 100, 9)
    await peer.answer(200, bomb, "Content-Encoding: gzip", "Content-Type: application/json")


async def nests_deep(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.answer(200, b"[" * 100_000 + b"]" * 100_000, "Content-Type: application/json")


async def is_no_text(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.answer(200, bytes(range(256)) * 4, "Content-Type: application/json; charset=x-none")


ANSWERS = [floods, sends_a_bomb, nests_deep, is_no_text]


@pytest.mark.parametrize("behaviour", ANSWERS)
async def test_the_web_process_reads_answers_up_to_a_limit(behaviour: Any) -> None:
    """The web process reads a limited part of a response, and takes an unreadable post as perhaps made."""
    tracemalloc.start()
    try:
        with raw_server(behaviour) as server:
            async with api_at(server.url) as api:
                assert await api.post_in_thread(CHANNEL, THREAD, "hello", [], {}) == "perhaps"
                assert not await api.open_view("1.1.x", {"type": "modal"})
                await api.respond(f"{server.url}/response/1", "hello")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The measured memory includes the server, which runs in this process.
    assert peak < 8 * MOST_BYTES or behaviour is sends_a_bomb
    assert server.sent < 20 * MOST_BYTES
    assert all(b"gzip" not in request.lower() for request in server.requests)


@pytest.mark.parametrize("behaviour", ANSWERS)
def test_a_worker_reads_slacks_answers_up_to_a_limit(behaviour: Any) -> None:
    """A worker reads a limited part of a response, and takes an unreadable one as an unknown outcome."""
    with raw_server(behaviour) as server:
        connection = WebApi("xoxb-secret", f"{server.url}/api/", timeout=20)
        try:
            answer = connection.call("chat.postMessage", text="hello")
        finally:
            connection.close()
    assert isinstance(answer, Unknown)
    assert server.sent < 20 * MOST_BYTES


def says(content_type: str, body: bytes) -> Any:
    async def behaviour(peer: Peer, server: RawServer) -> None:
        while True:
            server.requests.append(await peer.request())
            await peer.answer(200, body, f"Content-Type: {content_type}")

    return behaviour


NO_OBJECTS = [
    ("application/json", b"[1]"),
    ("application/json", b'"ok"'),
    ("application/json", b"5"),
    ("application/json", b"null"),
    ("application/json", b""),
    ("text/plain", b'{"ok": true}'),
    ("text/plain", b"ok"),
    ("text/html", b"<html>ok</html>"),
]


@pytest.mark.parametrize(("content_type", "body"), NO_OBJECTS)
async def test_a_success_that_is_no_object_is_a_failure(content_type: str, body: bytes) -> None:
    """A successful response that is no JSON object counts as a failure in each call."""
    client = RecordingClient(lambda command: result("applied"))
    with raw_server(says(content_type, body)) as server:
        async with api_at(server.url) as api:
            assert await api.post_in_thread(CHANNEL, THREAD, "hello", [], {}) == "perhaps"
            assert not await api.open_view("1.1.x", {"type": "modal"})
            background = Background()
            identity = BotIdentity(api, background, settings(slack_api_url=f"{server.url}/api/"))
            identity._identity = replace(identity._identity, scopes=frozenset({USERS_READ}))
            members = Members(api, identity, "workspace")
            assert await members.actor_of(click()) == SlackActor(user_id=USER, team_id="T0SANDBOX")
            await background.close()
        assert any(b"users.info" in request for request in server.requests)
        async with running_app(client, slack_api_url=f"{server.url}/api/", slack_team_id=None) as app:
            assert (await app.deliver(app_mention(CHANNEL, USER, "hi", ts=THREAD))).status_code == 503


def examined(url: str) -> dict[str, str]:
    settings = load_settings(slack_bot_token="xoxb-secret", slack_api_url=f"{url}/api/")
    return {finding.check: finding.level for finding in examine_slack(settings)}


@pytest.mark.parametrize("behaviour", ANSWERS)
def test_the_doctor_reads_slacks_answers_up_to_a_limit(behaviour: Any) -> None:
    """The doctor reads a limited part of a response and reports an unreadable one as an error."""
    with raw_server(behaviour) as server:
        assert examined(server.url)["slack: token"] == "error"
    assert server.sent < 20 * MOST_BYTES


def test_the_doctor_takes_the_token_nowhere_else() -> None:
    """The doctor does not follow a redirect with the token."""
    with raw_server(nothing) as other:

        async def redirects(peer: Peer, server: RawServer) -> None:
            server.requests.append(await peer.request())
            await peer.answer(302, b"", f"Location: {other.url}/elsewhere")

        with raw_server(redirects) as server:
            assert examined(server.url)["slack: token"] == "error"
    assert b"xoxb-secret" in server.requests[0]
    assert other.connections == 0


async def test_a_flood_of_one_user_drops_no_other_click(slack: SlackSandbox) -> None:
    """A user who floods is told once, and another user's form opens."""
    async with flooded(slack, "UFLOOD", 40) as app:
        await eventually(lambda: slack.responses, "who floods is told")
        assert [item["text"] for item in slack.responses] == [replies.TOO_MUCH]
        assert (await app.deliver(click(slack.new_response_url(), "UHONEST"))).status_code == 200
        await eventually(lambda: slack.workspace.views, "the form is open")


async def test_a_throttled_answer_comes_late(slack: SlackSandbox) -> None:
    """A response that Slack throttles is sent again, twice at most."""
    slack.fail("response_url", RateLimited(1), RateLimited("soon"))
    async with api_at(slack.api_url.removesuffix("/api/")) as api:
        await api.respond(slack.new_response_url(), "hello")
    assert [item["text"] for item in slack.responses] == ["hello"] * 3
