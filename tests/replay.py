"""Send a dead letter again as the console does, in a process of its own: ``python -m tests.replay ID``."""

from __future__ import annotations

import sys

from worker import decisions
from worker.db.console_pool import ConsolePool
from worker.db.pool import new_pool

if __name__ == "__main__":
    with new_pool(kind=ConsolePool) as pool:
        decisions.replay(pool, sys.argv[1], decisions.signature("Ann", "mended", "console"))
