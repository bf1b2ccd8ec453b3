"""A storm of kills, long enough to find a loss that one in a hundred kills causes, on both roads."""

from __future__ import annotations

import random
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup

KILLS = 30
PORTION = 500
MOST_WAITING = 2 * PORTION
"""Messages beside which no more are sent: a dead worker may hold half of them."""


class Sender:
    """A thread that sends a load by portions, as a stock client does."""

    def __init__(self, load: Load, installation: Installation, pool: ThreadPoolExecutor) -> None:
        self._load = load
        self._installation = installation
        self._pool = pool
        self._left = list(load.messages)
        self._sending: Future[None] | None = None

    def feed_until_ended(self, number: int) -> None:
        """Send until so many messages have ended, and go on sending."""
        wait_until(lambda: self._feed() >= number, f"{number} messages have ended", timeout=30)

    def _feed(self) -> int:
        """Go on with the next portion, if it is needed; return the number of messages that have ended."""
        is_sent = self._sending is None or self._sending.done()
        if is_sent and self._installation.waiting() < MOST_WAITING:
            portion, self._left = self._left[:PORTION], self._left[PORTION:]
            assert portion, "there must be load at each kill"
            self._sending = self._pool.submit(self._load.send, self._installation, portion)
        return self._load.ended(self._installation)

    def send_the_rest(self) -> None:
        if self._sending:
            self._sending.result()
        if self._left:
            self._load.send(self._installation, self._left)


def _kill_one(draw: random.Random, worker: WorkerGroup) -> None:
    draw.choice(worker.children).kill()


# Two minutes by itself. It starts 31 workers: on a busy machine that took more than the usual three minutes.
@pytest.mark.timeout(600)
def test_thirty_kills_of_groups_and_of_children_lose_nothing(installation: Installation) -> None:
    """Thirty kills of a process, and thirty of a whole group, lose none of over 15,000 on the fast lane."""
    draw = random.Random(11)
    load = Load(seed=11, threads=4500, together=30)
    assert len(load.messages) > 15_000 + KILLS * PORTION / 3
    # In turn: one worker comes up while the other one works and is killed. A get_or_create that a command
    # waits for may be with the dead one.
    working, coming = (installation.worker(name, SESSION_WAIT_SECONDS="120") for name in ("odd", "even"))
    with ExitStack() as stack:
        stack.callback(working.kill)
        stack.callback(coming.kill)
        sender = Sender(load, installation, stack.enter_context(ThreadPoolExecutor(max_workers=1)))
        coming.launch()
        for _ in range(KILLS):
            working, coming = coming, working
            working.wait_until_ready()
            coming.launch()
            for kill in (partial(_kill_one, draw, working), working.kill):
                sender.feed_until_ended(load.ended(installation) + draw.randint(1, 200))
                kill()
        coming.wait_until_ready()
        sender.send_the_rest()
        wait_until(lambda: load.sent == len(load.messages), "all are sent")
        # The work may take any time; a pause in it may take 15 s at most, until the last messages of the dead
        # workers are back.
        assert load.standstill_until_done(installation, timeout=120) < 15
        assert load.without_result(installation) == []


# A minute by itself. It starts 33 workers: on a busy machine that took more than the usual three minutes.
@pytest.mark.timeout(600)
def test_thirty_kills_lose_none_of_fifteen_thousand_commands(installation: Installation) -> None:
    """Thirty kills of a worker group on the ordinary road lose no command, and all work is done soon."""
    draw = random.Random(11)
    load = Load(seed=11, threads=1950)
    assert len(load.messages) > 15_000
    # In turn: one worker comes up while the other one works and is killed. A get_or_create that a command
    # waits for may be with the dead one.
    working, coming = (
        installation.worker(name, SESSION_WAIT_SECONDS="60", FAST_LANE="false") for name in ("odd", "even")
    )
    with ExitStack() as stack:
        stack.callback(working.kill)
        stack.callback(coming.kill)
        sending = stack.enter_context(ThreadPoolExecutor(max_workers=1)).submit(load.send, installation)
        wait_until(lambda: installation.waiting() > 2000, "there is load", timeout=60)
        coming.launch()
        for _ in range(32):
            working, coming = coming, working
            working.wait_until_ready()
            coming.launch()
            assert installation.waiting() > 1000, "there must be load at each kill"
            load.wait_until_ended(installation, load.ended(installation) + draw.randint(50, 300), timeout=30)
            working.kill()
        coming.wait_until_ready()
        sending.result()
        # The work may take any time; a pause in it may take 15 s at most, until the last messages of the dead
        # workers are back.
        assert load.standstill_until_done(installation, timeout=120) < 15
