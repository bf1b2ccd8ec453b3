"""The one POST over real sockets: sent once, over its own connection, within a deadline."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import ssl
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import certifi
import httpx
import pytest

from tests.support.raw_server import Peer, RawServer, raw_server
from worker.http_once import NotSent, Unknown, tls_context
from worker.jira.answers import CallFailed, CreateAnswer, Created, JiraAccount, Throttled
from worker.jira.client import JiraClient

TICKET = b'{"id": "10001", "key": "PROJ-7"}'
SECRETS = ("hunter2", "me@example.com", "SECRET PLAN")
FIELDS = {"summary": "SECRET PLAN"}

Behaviour = Callable[[Peer, RawServer], Awaitable[None]]


@contextmanager
def client_of(url: str, timeout: float = 5.0, token: str = "hunter2") -> Iterator[JiraClient]:
    with JiraClient(JiraAccount(url, "me@example.com", token, "cloud", timeout)) as client:
        yield client


def create(behaviour: Behaviour, timeout: float = 5.0) -> tuple[CreateAnswer, RawServer]:
    with raw_server(behaviour) as server, client_of(server.url, timeout) as client:
        return client.create(FIELDS, "slk-x", 1), server


def has_no_secret(value: Any) -> bool:
    return not any(secret in f"{value!r} {value}" for secret in SECRETS)


def name_of(behaviour: Behaviour) -> str:
    return getattr(behaviour, "__name__", "")


async def drops(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    peer.abort()


async def closes(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())


async def truncates(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n" + TICKET)


async def says_nonsense(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


async def speaks_first(peer: Peer, server: RawServer) -> None:
    await peer.send(b"220 mail.example.com\r\n")
    await peer.gone()


async def lies_about_its_encoding(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.answer(201, TICKET, "Content-Encoding: gzip")


async def hangs(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.gone()


async def drips(peer: Peer, server: RawServer) -> None:
    """Send a byte now and then, for ever, so that no single read times out."""
    server.requests.append(await peer.request())
    await peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 100000\r\n\r\n")
    gone = asyncio.ensure_future(peer.gone())
    while not gone.done():
        await peer.send(b" ")
        await asyncio.wait([gone], timeout=0.05)


async def creates(peer: Peer, server: RawServer) -> None:
    """Create tickets on a connection that stays open."""
    while True:
        server.requests.append(await peer.request())
        await peer.answer(201, TICKET)


async def is_busy(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.answer(429, b"", "Retry-After: 1")


async def is_down(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.answer(503, b"", "Retry-After: 1")


async def redirects(peer: Peer, server: RawServer) -> None:
    server.requests.append(await peer.request())
    await peer.answer(307, b"", f"Location: {server.url}/elsewhere")


@pytest.mark.parametrize(
    "behaviour", [drops, closes, truncates, says_nonsense, lies_about_its_encoding, is_down], ids=name_of
)
def test_an_unclear_end_is_unknown_and_not_tried_again(behaviour: Behaviour) -> None:
    """An unclear end of a create is unknown and not tried again, because the ticket may exist."""
    found, server = create(behaviour)
    assert type(found) is Unknown
    assert len(server.requests) == server.connections == 1
    assert has_no_secret(found)


@pytest.mark.parametrize("behaviour", [hangs, drips], ids=name_of)
def test_the_deadline_holds(behaviour: Behaviour) -> None:
    """The deadline holds also for a response that never ends, and then the connection is closed."""
    started = time.monotonic()
    found, server = create(behaviour, timeout=0.4)
    assert time.monotonic() - started < 5
    assert found == Unknown("no answer from Jira within 0.4 seconds")
    assert len(server.requests) == 1


@pytest.mark.parametrize(("behaviour", "kind"), [(is_busy, "Throttled"), (redirects, "AuthProblem")])
def test_told_to_come_again_it_does_not(behaviour: Behaviour, kind: str) -> None:
    """A 429 or a redirect is reported as it is, and the request is not sent again."""
    found, server = create(behaviour)
    assert type(found).__name__ == kind
    assert len(server.requests) == 1
    assert not isinstance(found, Throttled) or found.retry_after == 1.0


async def floods(peer: Peer, server: RawServer) -> None:
    """Send more than fits into any memory."""
    server.requests.append(await peer.request())
    await peer.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b" " * 1_000_000
    for _ in range(1_700):
        await peer.send(b"%x\r\n%s\r\n" % (len(block), block))
        server.sent += len(block)


async def sends_a_bomb(peer: Peer, server: RawServer) -> None:
    """Send two hundred megabytes, compressed."""
    server.requests.append(await peer.request())
    await peer.answer(201, gzip.compress(b" " * 200_000_000, 9), "Content-Encoding: gzip")


async def sends_a_bomb_of_another_kind(peer: Peer, server: RawServer) -> None:
    """Send content in a compression that was not asked for, which must not be decompressed."""
    server.requests.append(await peer.request())
    await peer.answer(201, b"\x0b\x0b\x80\x03\x00" * 200_000, "Content-Encoding: br")


@pytest.mark.parametrize("behaviour", [floods, sends_a_bomb, sends_a_bomb_of_another_kind], ids=name_of)
def test_an_answer_is_read_up_to_a_limit(behaviour: Behaviour) -> None:
    """A response longer than any expected one is unknown, and the rest of it is not read."""
    tracemalloc.start()
    try:
        found, server = create(behaviour, timeout=20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The limit is on decompressed bytes; httpx decompresses a whole chunk at once.
    assert peak < 70_000_000 or behaviour is sends_a_bomb
    assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()
    assert found == Unknown("Jira answered 201, but not in readable JSON", 201)
    assert len(server.requests) == 1
    assert server.sent < 200_000_000


def test_nobody_listens() -> None:
    """A create is not sent where no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as client:
        found = client.create(FIELDS, "slk-x", 1)
        assert type(found) is NotSent
        assert has_no_secret(found)
        with pytest.raises(CallFailed) as caught:
            client.get("PROJ-1")
    assert type(caught.value.answer) is NotSent
    assert has_no_secret(caught.value)


def test_no_tls_there() -> None:
    """A create is not sent to a server that does not speak TLS."""
    with raw_server(speaks_first) as server:
        with client_of(server.url.replace("http://", "https://")) as client:
            assert type(client.create(FIELDS, "slk-x", 1)) is NotSent
        assert server.connections == 1


@pytest.mark.parametrize("url", ["http://[", "ftp://example.com", "not a url", ""])
def test_an_address_that_is_none(url: str) -> None:
    """A create is not sent to a malformed address."""
    with client_of(url) as client:
        found = client.create(FIELDS, "slk-x", 1)
    assert type(found) is NotSent


@pytest.mark.parametrize("fields", [{"a": float("nan")}, {"a": "\ud800"}, {"a": object()}])
def test_fields_that_are_no_json(fields: dict[str, Any]) -> None:
    """Fields that are no JSON are not sent."""
    with raw_server(creates) as server, client_of(server.url) as client:
        assert type(client.create(fields, "slk-x", 1)) is NotSent
        assert server.connections == 0


def test_a_token_that_is_no_header_is_in_no_answer() -> None:
    """A token that is no valid header is quoted in no result, no exception and no cause of one."""
    with raw_server(creates) as server, JiraClient(JiraAccount(server.url, None, "hunter2\nX: y")) as client:
        found = client.create(FIELDS, "slk-x", 1)
        assert not isinstance(found, Created)
        assert has_no_secret(found)
        with pytest.raises(CallFailed) as caught:
            client.myself()
        assert server.requests == []
    error: BaseException | None = caught.value
    while error:
        assert has_no_secret(error)
        error = error.__cause__ or error.__context__


def test_each_create_has_a_connection_of_its_own() -> None:
    """Each create has its own connection, because Jira might close a kept one as it is used."""
    with raw_server(creates) as server, client_of(server.url) as client:
        for _ in range(2):
            assert client.create(FIELDS, "slk-x", 1) == Created("10001", "PROJ-7")
        assert server.connections == 2


def test_reading_calls_share_a_connection() -> None:
    """Reading calls, which may be repeated, share a connection."""
    with raw_server(creates) as server, client_of(server.url) as client:
        for _ in range(3):
            assert client.get("PROJ-7")
        assert server.connections == 1


def test_it_opens_again_after_close() -> None:
    """The client opens again after `close`, which may be repeated."""
    with raw_server(creates) as server, client_of(server.url) as client:
        assert client.get("PROJ-7")
        client.close()
        client.close()
        assert client.get("PROJ-7")
        assert server.connections == 2


class TimeIsUp(Exception):
    """The exception of a time limit's signal, raised wherever the process is."""


def raise_it(*_: Any) -> None:
    raise TimeIsUp


def test_a_time_limit_leaves_an_unknown_end() -> None:
    """A time limit during a create makes it unknown, and does not disturb the next call."""

    async def interrupts(peer: Peer, server: RawServer) -> None:
        server.requests.append(await peer.request())
        if len(server.requests) == 1:
            gone = asyncio.ensure_future(peer.gone())
            while not gone.done():
                # Repeated, because an exception in a callback of the loop is only logged.
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.wait([gone], timeout=2)
        else:
            await peer.answer(201, TICKET)

    former = signal.signal(signal.SIGUSR1, raise_it)
    try:
        with raw_server(interrupts) as server, client_of(server.url, timeout=30) as client:
            started = time.monotonic()
            assert type(client.create(FIELDS, "slk-x", 1)) is Unknown
            assert time.monotonic() - started < 10
            assert client.create(FIELDS, "slk-x", 2) == Created("10001", "PROJ-7")
        assert [b'"attempt":1' in request for request in server.requests] == [True, False]
    finally:
        signal.signal(signal.SIGUSR1, former)


class SlowToConnect(httpx.AsyncBaseTransport):
    """A transport whose first request is interrupted before it is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.interrupted: asyncio.Event | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.interrupted is None:
            self.interrupted = asyncio.Event()
            asyncio.get_running_loop().call_soon(sys.exit)
            await self.interrupted.wait()
        else:
            self.interrupted.set()
            await asyncio.sleep(0)
        self.sent.append(request.content)
        return httpx.Response(201, content=TICKET)


def test_an_interrupted_call_is_over() -> None:
    """A request that was interrupted before it was sent is never sent by a later call."""
    transport = SlowToConnect()
    with JiraClient(JiraAccount("http://x", None, "hunter2"), transport) as client:
        with pytest.raises(SystemExit):
            client.create(FIELDS, "slk-x", 1)
        assert client.create(FIELDS, "slk-x", 2) == Created("10001", "PROJ-7")
        assert client.create(FIELDS, "slk-x", 3) == Created("10001", "PROJ-7")
    assert [b'"attempt":1' in content for content in transport.sent] == [False, False]


def test_the_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process reads the certificates once for each set that the environment names, and verifies by them."""
    shared = tls_context()
    assert (shared.verify_mode, shared.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert tls_context() is shared
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert tls_context() is not shared
    assert tls_context(trust_env=False).verify_mode == ssl.CERT_REQUIRED
