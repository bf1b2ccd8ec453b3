"""Failovers of Postgres with two hosts in its address: killed, frozen, or demoted with open sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.relay import Relay
from tests.support.replication import Pair, replicated
from tests.support.scale import scaled
from tests.support.servers import ask
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup

BACK_WITHIN_SECONDS = 10
"""Most seconds from the promotion to the first command that is written."""

FAILURES: dict[str, Callable[[Pair], None]] = {
    "killed": lambda pair: pair.primary.kill(),
    "frozen": Pair.freeze,
    "demoted": Pair.demote,
}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with replicated(tmp_path) as pair:
        yield pair


class Sender:
    """Sender of commands, each for a thread of its own, which counts the accepted ones."""

    def __init__(self, installation: Installation, least: int) -> None:
        self.sent = 0
        self._installation = installation
        self._least = least
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Send the remaining commands, and return when all are sent."""
        self._enough.set()
        self._thread.join()

    def _send(self) -> None:
        while not (self._enough.is_set() and self.sent >= self._least):
            thread_ts = f"1700000000.{self.sent + 1:06}"
            self._installation.send(
                "sessions.get_or_create", channel_id="C1", thread_ts=thread_ts, user_id="U1"
            )
            self.sent += 1
            self._enough.wait(0.01)


def count(url: str) -> int:
    found = ask(url, "SELECT count(*) FROM thread_sessions")
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("failure", FAILURES)
def test_no_command_is_lost_and_the_next_one_is_written_in_time(
    pair: Pair, broker_url: str, tmp_path: Path, failure: str
) -> None:
    """After a failover under load a row is written within 10 s, and in the end no command is lost."""
    url, standby = pair.url, pair.standby.url
    with (
        closing(Installation(url, broker_url, tmp_path)) as installation,
        installation.worker(DATABASE_URL=url) as worker,
        Sender(installation, scaled(2000, 400)) as sender,
    ):
        wait_until(lambda: count(standby) > 100, "the worker is at work", 60)
        FAILURES[failure](pair)
        # Long enough that every process has met it, and waits.
        wait_until(lambda: worker.log.count("task waits") > 4, "commands wait", 30)
        before = count(standby)
        pair.promote()
        promoted = time.monotonic()
        wait_until(lambda: count(standby) > before, "a command is written", BACK_WITHIN_SECONDS)
        print(f"{failure}: {time.monotonic() - promoted:.1f} s after the promotion")
        sender.finish()
        wait_until(lambda: installation.waiting() == 0, "no message waits", 120)
        assert count(standby) == sender.sent
        assert ask(standby, "SELECT count(*) FROM dead_letters") == 0
        assert worker.is_alive, worker.log[-3000:]


def test_an_idle_worker_finds_the_other_server(pair: Pair, broker_url: str, tmp_path: Path) -> None:
    """An idle worker writes the first command after a promotion within 10 s."""
    url, standby = pair.url, pair.standby.url
    with (
        closing(Installation(url, broker_url, tmp_path)) as installation,
        installation.worker(DATABASE_URL=url) as worker,
    ):
        installation.send("sessions.get_or_create", channel_id="C1", thread_ts="1.1", user_id="U1").get(30)
        pair.freeze()
        pair.promote()
        installation.send("sessions.get_or_create", channel_id="C1", thread_ts="1.2", user_id="U1")
        wait_until(lambda: count(standby) == 2, "the command is written", BACK_WITHIN_SECONDS)
        assert_quiet(worker)


def test_an_address_that_moves_is_followed(pair: Pair, broker_url: str, tmp_path: Path) -> None:
    """A worker follows an address that moves to the promoted server some time after a demotion."""
    standby = pair.standby.url
    with Relay(pair.primary.port) as relay:
        url = pair.primary.url.replace(f":{pair.primary.port}/", f":{relay.port}/")
        with (
            closing(Installation(url, broker_url, tmp_path)) as installation,
            installation.worker(DATABASE_URL=url) as worker,
            Sender(installation, scaled(2000, 400)) as sender,
        ):
            wait_until(lambda: count(standby) > 100, "the worker is at work", 60)
            pair.demote()
            pair.promote()
            wait_until(lambda: worker.log.count("task waits") > 20, "commands wait", 60)
            before = count(standby)
            relay.target = pair.standby.port
            wait_until(lambda: count(standby) > before, "a command is written", BACK_WITHIN_SECONDS)
            sender.finish()
            wait_until(lambda: installation.waiting() == 0, "no message waits", 120)
            assert count(standby) == sender.sent
            assert ask(standby, "SELECT count(*) FROM dead_letters") == 0
            assert_quiet(worker)


def assert_quiet(worker: WorkerGroup) -> None:
    assert worker.is_alive, worker.log[-3000:]
    assert "Traceback" not in worker.log
