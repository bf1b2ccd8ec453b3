"""The web process's port under attack: bytes on the wire, and endless connections."""

from __future__ import annotations

import os
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import cast

import httpx
import pytest
import redis

from benchmarks.door import besiege
from handlers.connections import MOST_CONNECTIONS, raise_descriptor_limit
from sandbox.slack.requests import SlackRequest, sign
from tests.support.public_door import (
    HALF_SENT,
    an_event_is_taken,
    connected,
    half_send,
    head,
    mention,
    status_of,
    until_closed,
    web_process,
)
from tests.support.scale import bounded
from tests.support.servers import ValkeyForTests
from tests.support.slack_app import SECRET, queued
from tests.support.waiting import wait_until
from tests.support.web import WebProcess

_MEBIBYTE = 1_048_576
_FEW = ("/bin/sh", "-c", 'ulimit -n 320; exec "$@"', "sh")
_A_FIRM_LIMIT = ("/bin/sh", "-c", 'ulimit -n 1024; exec "$@"', "sh")


@pytest.fixture(scope="module")
def broker(valkey: ValkeyForTests) -> str:
    return valkey.broker()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[WebProcess]:
    """Start one web process for all tests; it must leave no traceback."""
    with web_process(tmp_path_factory.mktemp("web"), broker) as web:
        yield web
        assert "Traceback" not in web.log


def wire(request: SlackRequest) -> bytes:
    """Return the bytes of the whole request."""
    return head({**request.headers, "Content-Length": str(len(request.body))}) + request.body


UNSIGNED = {"content-type": "application/json"}


def shaped(**changed: str | None) -> dict[str, str]:
    """Return headers as Slack's, except for those changed or, by None, removed."""
    headers = {**sign("another secret", b"").headers}
    changes = {f"x-slack-{name.replace('_', '-')}": value for name, value in changed.items()}
    return {name: value for name, value in {**headers, **changes}.items() if value is not None}


IMPOSSIBLE: dict[str, Callable[[], dict[str, str]]] = {
    "unsigned": lambda: UNSIGNED,
    "stale": lambda: dict(sign(SECRET, b"", at=time.time() - 400).headers),
    "of tomorrow": lambda: dict(sign(SECRET, b"", at=time.time() + 86_400).headers),
    "no timestamp": lambda: shaped(request_timestamp=None),
    "no number": lambda: shaped(request_timestamp="now"),
    "no signature": lambda: shaped(signature=None),
    "too short": lambda: shaped(signature="v0=abc"),
    "another version": lambda: shaped(signature="v1=" + "0" * 64),
}


@pytest.mark.parametrize("headers", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize(
    "length",
    [
        {"content-length": str(_MEBIBYTE)},
        {"transfer-encoding": "chunked"},
        {"content-length": "5", "expect": "100-continue"},
    ],
    ids=["long", "chunked", "expect"],
)
def test_no_body_is_awaited_behind_headers_that_cannot_be_slacks(
    headers: Callable[[], dict[str, str]], length: dict[str, str], web: WebProcess
) -> None:
    """A request whose headers cannot be Slack's gets 401 before its body is read."""
    with connected(web) as connection:
        connection.sendall(head({**headers(), **length}))
        assert status_of(connection) == 401


def test_a_body_that_may_be_slacks_is_asked_for(web: WebProcess) -> None:
    """A request with Slack's headers and ``Expect: 100-continue`` gets 100; one that is too long gets 413."""
    request = mention()
    announced = {"Content-Length": str(len(request.body)), "Expect": "100-continue"}
    with connected(web) as connection:
        connection.sendall(head({**request.headers, **announced}))
        assert status_of(connection) == 100
        connection.sendall(request.body)
        assert status_of(connection) == 200
    with connected(web) as connection:
        connection.sendall(head({**shaped(), **announced, "Content-Length": str(_MEBIBYTE + 1)}))
        assert status_of(connection) == 413
        assert until_closed(connection) == b""


def test_more_than_a_thousand_half_sent_requests(web: WebProcess) -> None:
    """An event is accepted among more than a thousand half-sent requests."""
    with ExitStack() as stack:
        half_send(web, stack, HALF_SENT)
        an_event_is_taken(web)
        # The readiness check opens a connection with a descriptor above 1,024.
        assert httpx.get(f"{web.url}/readyz").status_code == 200
    an_event_is_taken(web)


def test_the_limit_of_open_files_is_raised(web: WebProcess) -> None:
    """The web process raises its limit of open files to the hard limit."""
    limits = Path(f"/proc/{web.child.pid}/limits").read_text()
    found = re.search(r"Max open files\s+(\S+)\s+(\S+)", limits)
    assert found
    assert found[1] == found[2]


def test_a_limit_that_cannot_be_raised(tmp_path: Path, broker: str) -> None:
    """With a hard limit of 1,024 files an event is accepted, as the oldest half-sent requests are closed."""
    with web_process(tmp_path, broker, limit=_A_FIRM_LIMIT) as web:
        for _ in range(2):
            with ExitStack() as stack:
                half_send(web, stack, HALF_SENT)
                an_event_is_taken(web)
        assert "out of system resource" not in web.log


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """Let the test, and the process that it starts, open as many files as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_many_descriptors")
@pytest.mark.parametrize("limit", [_FEW, _A_FIRM_LIMIT, ()], ids=["320 files", "1,024 files", "no limit"])
def test_a_request_is_read_before_it_gives_way(limit: Sequence[str], tmp_path: Path, broker: str) -> None:
    """A whole request is answered, although more connections than there are places come right behind it."""
    with web_process(tmp_path, broker, limit=limit) as web, ExitStack() as stack:
        # All of it waits in the kernel, as when the process does not get the processor.
        os.kill(web.child.pid, SIGSTOP)
        honest = stack.enter_context(connected(web))
        honest.sendall(wire(mention()))
        for _ in range(MOST_CONNECTIONS + 1_000):
            stack.enter_context(connected(web)).sendall(wire(mention())[:-1])
        os.kill(web.child.pid, SIGCONT)
        assert status_of(honest) == 200


@pytest.mark.bounded
def test_a_flood_of_bodies_does_not_fill_the_memory(tmp_path: Path, broker: str) -> None:
    """Three hundred clients that send a mebibyte repeatedly cost less than 100 MB of memory."""
    siege = besiege("unsigned", 300, bounded(3, 1), broker, tmp_path)
    assert siege.seconds
    assert siege.failures == []
    assert siege.peak - siege.idle < 100


def test_readiness_is_looked_at_once_a_second(web: WebProcess, broker: str) -> None:
    """Readiness reads the heartbeats at most once a second, however many clients ask."""

    def looks_so_far() -> int:
        with redis.Redis.from_url(broker) as client:
            stats = cast(dict[str, dict[str, int]], client.info("commandstats"))
            return stats.get("cmdstat_hgetall", {"calls": 0})["calls"]

    before, began = looks_so_far(), time.monotonic()
    with httpx.Client() as http, ThreadPoolExecutor(20) as askers:
        statuses = list(
            askers.map(lambda _: http.get(f"{web.url}/readyz", timeout=20).status_code, range(400))
        )
    most = time.monotonic() - began + 1
    assert set(statuses) == {200}
    assert 1 <= looks_so_far() - before <= most


def test_many_header_lines_are_refused(web: WebProcess) -> None:
    """A request with 200 header lines gets 400, and one with a hundred gets 200."""
    first = head({}, "GET /healthz HTTP/1.1")
    for before, pieces in (
        (b"", [b"a: b\r\n" * 200]),
        (b"", [b"a: b\r\n"] * 200),
        (first, [b"a: b\r\n" * 200]),
    ):
        with connected(web) as connection:
            connection.sendall(before + b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            # The server may close the connection before the last line.
            with suppress(OSError):
                for piece in (*pieces, b"\r\n"):
                    connection.sendall(piece)
            if before:
                assert status_of(connection) == 200
            assert until_closed(connection).startswith(b"HTTP/1.1 400 ")
    with connected(web) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 100 + b"\r\n")
        assert status_of(connection) == 200


def test_a_head_without_end_is_refused(web: WebProcess) -> None:
    """A head of more than 16 KiB gets 400, even in one line."""
    with connected(web) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-More: " + b"x" * 20_000)
        assert until_closed(connection).startswith(b"HTTP/1.1 400 ")


def test_chunks(web: WebProcess) -> None:
    """A chunked body is accepted, and one in chunks of a byte gets 400."""
    request = mention()
    chunked = {**request.headers, "Transfer-Encoding": "chunked"}
    half = len(request.body) // 2
    pieces = [request.body[:half], request.body[half:], b""]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    with connected(web) as connection:
        connection.sendall(head(chunked) + body)
        assert status_of(connection) == 200
    with connected(web) as connection:
        connection.sendall(head(chunked) + b"1\r\nx\r\n" * 2_000)
        assert until_closed(connection).startswith(b"HTTP/1.1 400 ")


def test_requests_that_come_together_are_answered_in_turn(web: WebProcess) -> None:
    """Pipelined requests are answered in order, and the connection is closed after nine."""
    with connected(web) as connection:
        connection.sendall(wire(mention()) * 3)
        assert [status_of(connection) for _ in range(3)] == [200, 200, 200]
    with connected(web) as connection:
        connection.sendall(head({}, "GET /healthz HTTP/1.1") * 50)
        assert until_closed(connection).count(b"HTTP/1.1 200 ") == 9


@pytest.mark.parametrize("is_late", [False, True])
def test_a_small_body_that_was_refused_costs_no_connection(is_late: bool, web: WebProcess) -> None:
    """A small body of a refused request is skipped, and the next request on the connection is served."""
    refused = head({**UNSIGNED, "Content-Length": "2"})
    with connected(web) as connection:
        connection.sendall(refused if is_late else refused + b"{}")
        assert status_of(connection) == 401
        connection.sendall((b"{}" if is_late else b"") + head({}, "GET /healthz HTTP/1.1"))
        assert status_of(connection) == 200


ODD = {
    "options of all": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "connect": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "connect to us": (b"CONNECT /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "trace": (b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "get of events": (b"GET /slack/events HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "head": (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    "http/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    "http/1.0 kept alive": (b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
    "http/0.9": (b"GET /healthz\r\n\r\n", 400),
    "http/1.1 without host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "http/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
    "http/2 by upgrade": (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        200,
    ),
    "upgrade of a form": (
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        401,
    ),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
    "nul": (b"GET /healthz%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "no utf-8": (b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "two lengths": (
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        400,
    ),
    "length below zero": (b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "folded header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", 200),
    "many cookies": (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"Cookie: a=b; c=d\r\n" * 100 + b"\r\n",
        200,
    ),
}


@pytest.mark.parametrize(("sent", "status"), ODD.values(), ids=ODD)
def test_odd_requests_get_an_answer(sent: bytes, status: int, web: WebProcess) -> None:
    """An odd request gets its status, and the next request is served."""
    with connected(web) as connection:
        connection.sendall(sent)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 %d " % status)
    assert httpx.get(f"{web.url}/healthz").status_code == 200


def test_there_are_no_websockets(web: WebProcess) -> None:
    """A request for a websocket is answered like one without the upgrade."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with connected(web) as connection:
        connection.sendall(head(upgrade, "GET /healthz HTTP/1.1"))
        assert status_of(connection) == 200


def test_over_ipv6(tmp_path: Path, broker_url: str) -> None:
    """The web process serves events and refusals on ``::1``."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with web_process(tmp_path, broker_url, "::1") as web:
        an_event_is_taken(web)
        with connected(web) as connection:
            connection.sendall(head({**UNSIGNED, "Content-Length": str(_MEBIBYTE)}))
            assert status_of(connection) == 401
        wait_until(lambda: len(queued(broker_url)) == 1, "the command is in the queue")
