"""The web process's port under attack, with Slack's events in between: all get a response in time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.door import NAMED, SECONDS, besiege
from benchmarks.flood import ATTACKS
from handlers.connections import MOST_CONNECTIONS
from tests.support.public_door import (
    HALF_SENT,
    an_event_is_taken,
    connected,
    half_send,
    head,
    status_of,
    until_closed,
    web_process,
)
from tests.support.scale import scaled

SLACK_WAITS_SECONDS = 3
MOST_MEGABYTES, MOST_ABOVE_IDLE = 512, 200
MANY = 1_000
CLIENTS = {**NAMED, "half_a_word": MOST_CONNECTIONS + 500}
"""Number of clients by attack; more than there are places where a client costs next to nothing."""


def test_half_sent_requests_are_closed_after_ten_seconds(broker_url: str, tmp_path: Path) -> None:
    """Half-sent requests are closed after ten seconds, as are silent and kept-alive connections."""
    with web_process(tmp_path, broker_url) as web, ExitStack() as stack:
        half_sent = half_send(web, stack, HALF_SENT)
        began = time.monotonic()
        silent, kept_alive = (stack.enter_context(connected(web)) for _ in range(2))
        kept_alive.sendall(head({}, "GET /healthz HTTP/1.1"))
        assert status_of(kept_alive) == 200
        kept_alive.sendall(b"GET /hea")
        an_event_is_taken(web)
        for connection in (*half_sent, silent, kept_alive):
            assert until_closed(connection) == b""
        assert time.monotonic() - began > 9, "nothing is closed before its time"
        an_event_is_taken(web)


@pytest.mark.parametrize("kind", ATTACKS)
def test_honest_events_are_answered_under_attack(kind: str, broker_url: str, tmp_path: Path) -> None:
    """Honest events get a 2xx within Slack's three seconds under attack; memory stays within bounds."""
    siege = besiege(kind, CLIENTS.get(kind, MANY), scaled(SECONDS), broker_url, tmp_path)
    assert siege.seconds, "no event was sent"
    assert siege.failures == []
    assert siege.longest < SLACK_WAITS_SECONDS
    assert siege.peak <= MOST_MEGABYTES
    assert siege.peak - siege.idle < MOST_ABOVE_IDLE
    assert "Traceback" not in (tmp_path / f"web-{kind}.log").read_text()
