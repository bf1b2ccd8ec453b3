"""Replay a dead letter as the console does: ``python -m tests.support.replay ID``."""

from __future__ import annotations

import sys

from worker.db.console_login.functions import ConsolePool
from worker.db.pool import new_pool
from worker.operate import decisions

if __name__ == "__main__":
    with new_pool(kind=ConsolePool) as pool:
        decisions.replay(pool, sys.argv[1], decisions.signature("Ann", "mended", "console"))
