"""A storm of kills, long enough to find a loss that one in a hundred kills causes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.waiting import wait_until

KILLS = 32


# A minute by itself. It starts 33 workers: on a busy machine that took more than the usual three minutes.
@pytest.mark.timeout(600)
def test_thirty_kills_lose_none_of_fifteen_thousand_commands(installation: Installation) -> None:
    """Thirty kills of a whole worker group under load lose no command, and all work is done soon."""
    draw = random.Random(11)
    load = Load(seed=11, threads=1950)
    assert len(load.messages) > 15_000
    # In turn: one worker comes up while the other one works and is killed. A get_or_create that a command
    # waits for may be with the dead one.
    working, coming = (installation.worker(name, SESSION_WAIT_SECONDS="60") for name in ("odd", "even"))
    with ExitStack() as stack:
        stack.callback(working.kill)
        stack.callback(coming.kill)
        sending = stack.enter_context(ThreadPoolExecutor(max_workers=1)).submit(load.send, installation)
        wait_until(lambda: installation.waiting() > 2000, "there is load", timeout=60)
        coming.launch()
        for _ in range(KILLS):
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
