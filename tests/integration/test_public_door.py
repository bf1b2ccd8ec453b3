"""The web process' port as attackers meet it: bytes on the wire, and connections without end."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

import httpx
import pytest
import redis

from benchmarks.door import besiege
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
from tests.support.servers import ValkeyForTests
from tests.support.slack_app import SECRET, queued
from tests.support.waiting import wait_until
from tests.support.web import WebProcess

_MEBIBYTE = 1_048_576
_A_FIRM_LIMIT = ("/bin/sh", "-c", 'ulimit -n 1024; exec "$@"', "sh")


@pytest.fixture(scope="module")
def broker(valkey: ValkeyForTests) -> str:
    return valkey.broker()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[WebProcess]:
    """One for all: each test leaves it in good health, or the next one fails."""
    with web_process(tmp_path_factory.mktemp("web"), broker) as web:
        yield web
        assert "Traceback" not in web.log


def wire(request: SlackRequest) -> bytes:
    """The request as it is sent."""
    return head({**request.headers, "Content-Length": str(len(request.body))}) + request.body


UNSIGNED = {"content-type": "application/json"}


def shaped(**changed: str | None) -> dict[str, str]:
    """Headers that could be Slack's, but for what is changed or, by None, taken out."""
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
    """Missing, stale or of another shape: 401 before the first byte of the body, and none is asked for."""
    with connected(web) as connection:
        connection.sendall(head({**headers(), **length}))
        assert status_of(connection) == 401


def test_a_body_that_may_be_slacks_is_asked_for(web: WebProcess) -> None:
    """``Expect: 100-continue`` is answered; one that is too long is refused first."""
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
    """Slack's events are taken meanwhile. That the others are closed in time is in tests/long."""
    with ExitStack() as stack:
        half_send(web, stack, HALF_SENT)
        an_event_is_taken(web)
        # Its look opens a connection whose descriptor is beyond 1,024.
        assert httpx.get(f"{web.url}/readyz").status_code == 200
    an_event_is_taken(web)


def test_the_limit_of_open_files_is_raised(web: WebProcess) -> None:
    """To all that the system allows, or the 1,025th connection would stop everything."""
    limits = Path(f"/proc/{web.child.pid}/limits").read_text()
    found = re.search(r"Max open files\s+(\S+)\s+(\S+)", limits)
    assert found
    assert found[1] == found[2]


def test_a_limit_that_cannot_be_raised(tmp_path: Path, broker: str) -> None:
    """Where the hard limit is 1,024, too: those that have waited longest go before descriptors run out."""
    with web_process(tmp_path, broker, limit=_A_FIRM_LIMIT) as web:
        for _ in range(2):
            with ExitStack() as stack:
                half_send(web, stack, HALF_SENT)
                an_event_is_taken(web)
        assert "out of system resource" not in web.log


def test_a_flood_of_bodies_does_not_fill_the_memory(tmp_path: Path, broker: str) -> None:
    """300 clients that send a mebibyte over and over; tests/long has all attacks, and more of each."""
    siege = besiege("unsigned", 300, 3, broker, tmp_path)
    assert siege.seconds
    assert siege.failures == []
    assert siege.peak - siege.idle < 100


def test_readiness_is_looked_at_once_a_second(web: WebProcess, broker: str) -> None:
    """However many ask: each look reads the signs of life once, which nothing else does here."""

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
    """At once, one by one, or behind another request; a hundred are fine."""
    first = head({}, "GET /healthz HTTP/1.1")
    for before, pieces in (
        (b"", [b"a: b\r\n" * 200]),
        (b"", [b"a: b\r\n"] * 200),
        (first, [b"a: b\r\n" * 200]),
    ):
        with connected(web) as connection:
            connection.sendall(before + b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            # It may have been closed in the midst of them.
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
    """At 16 KiB, also in one line."""
    with connected(web) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-More: " + b"x" * 20_000)
        assert until_closed(connection).startswith(b"HTTP/1.1 400 ")


def test_chunks(web: WebProcess) -> None:
    """A body in chunks is a body; one in chunks of a byte is refused: those cost as much as long ones."""
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
    """A few of them: after eight in a row that did not wait, a client must connect anew."""
    with connected(web) as connection:
        connection.sendall(wire(mention()) * 3)
        assert [status_of(connection) for _ in range(3)] == [200, 200, 200]
    with connected(web) as connection:
        connection.sendall(head({}, "GET /healthz HTTP/1.1") * 50)
        assert until_closed(connection).count(b"HTTP/1.1 200 ") == 9


@pytest.mark.parametrize("is_late", [False, True])
def test_a_small_body_that_was_refused_costs_no_connection(is_late: bool, web: WebProcess) -> None:
    """It is passed over, also when it comes late: the next request on the connection is answered."""
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
    """And the next connection too; the process has no word of an error to say."""
    with connected(web) as connection:
        connection.sendall(sent)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 %d " % status)
    assert httpx.get(f"{web.url}/healthz").status_code == 200


def test_there_are_no_websockets(web: WebProcess) -> None:
    """An upgrade is asked for in vain: the request is answered as if it had not been."""
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
    """The same process, on ``::1``."""
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
