"""Connections to the web process, byte by byte."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from sandbox.slack.requests import SlackRequest, app_mention, signed_request
from tests.support.slack_app import CHANNEL, SECRET, THREAD, USER
from tests.support.web import WebProcess

HALF_SENT = 1_100
_A_SHELLS_LIMIT = ("/bin/sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh")


def web_process(
    folder: Path, broker_url: str, host: str = "127.0.0.1", limit: Sequence[str] = _A_SHELLS_LIMIT
) -> WebProcess:
    """As a shell starts it, with its limit of 1,024 open files."""
    env = {**os.environ, "CELERY_BROKER_URL": broker_url, "SLACK_API_URL": "http://127.0.0.1:1/api/"}
    return WebProcess(env, folder / "web.log", host=host, prefix=limit)


def connected(web: WebProcess) -> socket.socket:
    return socket.create_connection((web.host, web.port), timeout=20)


def head(headers: dict[str, str], request_line: str = "POST /slack/events HTTP/1.1") -> bytes:
    lines = [request_line, "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def status_of(connection: socket.socket) -> int:
    """Read one answer, and nothing of the next."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(1)
        assert piece, f"closed after {received!r}"
        received += piece
    length = re.search(rb"content-length: (\d+)", received)
    left = int(length[1]) if length else 0
    while left:
        left -= len(connection.recv(left))
    return int(received.split()[1])


def until_closed(connection: socket.socket) -> bytes:
    """All that comes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:
        # What was sent after our last word.
        return received
    return received


def half_send(web: WebProcess, stack: ExitStack, count: int) -> list[socket.socket]:
    """Connections that have sent a part of their headers."""
    connections = [stack.enter_context(connected(web)) for _ in range(count)]
    for connection in connections:
        # Where there are fewer places, the first ones have given way already.
        with suppress(ConnectionError):
            connection.sendall(b"POST /slack/events HTTP/1.1\r\nHost: x\r\nX-More: ")
    return connections


def mention() -> SlackRequest:
    return signed_request(SECRET, app_mention(CHANNEL, USER, "hi", ts=THREAD))


def an_event_is_taken(web: WebProcess) -> None:
    assert web.deliver(mention()).status_code == 200
