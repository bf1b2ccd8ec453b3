"""Many kills, many commands: one in a hundred kills that loses a command shows here."""

from __future__ import annotations

import random
import time

from tests.installation import Installation
from tests.load import Load, progress
from tests.waiting import wait_until

KILLS = 32


def test_thirty_kills_lose_none_of_fifteen_thousand_commands(installation: Installation) -> None:
    """The whole group by SIGKILL under load: nothing lost, nothing stuck, and soon at rest."""
    draw = random.Random(11)
    load = Load(seed=11, threads=1950)
    assert len(load.messages) > 15_000
    load.send(installation)
    # The get_or_create that a command waits for may be with a worker that is dead.
    worker = installation.worker(SESSION_WAIT_SECONDS="60")
    for _ in range(KILLS):
        worker.start()
        left = installation.waiting()
        assert left > 1000, "there must be load at each kill"
        wait_until(progress(installation, left - draw.randint(50, 300)), "it works", timeout=30)
        worker.kill()
    with worker:
        started_at, left = time.monotonic(), installation.waiting()
        load.wait_until_done(installation, timeout=120)
        # 15 s until the last one is back, and what the work takes, here on a busy machine.
        assert time.monotonic() - started_at < 15 + left / 400
