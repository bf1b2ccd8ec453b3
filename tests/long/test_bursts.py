"""Many calls at once, by processes that hardly get a processor: a healthy broker is never called silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bursts import KINDS, at_once, burst, busy_processors, commands_in
from tests.support.frozen import freeze
from tests.support.redis_servers import RedisServer
from tests.support.scale import scaled
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed

CALLS = scaled(2000)
BUSY = scaled(8, 2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_a_burst_on_a_busy_machine_fails_none(broker: RedisServer, kind: str) -> None:
    with busy_processors(BUSY), burst(kind, CALLS, broker.url()) as process:
        told, _ = process.communicate(timeout=240)
    assert (told, process.returncode) == ("", 0)
    with broker.client() as server:
        assert len(commands_in(server)) == CALLS


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_a_process_that_stood_still_fails_none(broker: RedisServer, kind: str) -> None:
    """No call fails in a process that stood still, as in a laptop's sleep: its replies are in its sockets."""
    with burst(kind, CALLS, broker.url()) as process, broker.client() as server:
        wait_until(lambda: server.llen("sessions") > CALLS / 10, "it sends")
        freeze(process.pid, seconds=3)
        told, _ = process.communicate(timeout=240)
    assert (told, process.returncode) == ("", 0)
    with broker.client() as server:
        assert len(commands_in(server)) == CALLS


def test_a_broker_that_is_really_silent_is_told_on_a_busy_machine(broker: RedisServer) -> None:
    """All calls to a silent broker fail soon, though our threads hardly run, and not one after the other."""
    with SessionClient(broker.url(), broker.url()) as client:
        client.ping()
        broker.freeze()
        failures: list[float] = []

        def send(number: int) -> None:
            began = time.monotonic()
            with pytest.raises(EnqueueFailed):
                client.get_or_create("C1", f"1700000000.{number:06}", "U1")
            failures.append(time.monotonic() - began)

        with busy_processors(BUSY):
            assert at_once([send], range(100)) == []
        broker.thaw()
        # A second each, by our own clock; one after the other, eight at a time, would be eight seconds.
        assert len(failures) == 100
        assert max(failures) < 6
        client.ping()
