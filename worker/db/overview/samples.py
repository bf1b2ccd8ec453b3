"""What waited in the queues, kept for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from threadsync.liveness.state import Waiting
from worker.db.driver_errors import translated
from worker.db.pool import Pool, init_db
from worker.db.sessions import sql as queries

KEPT_DAYS: Final = 8


class SampleStore:
    """Every method raises ``DatabaseUnavailable`` when Postgres is away."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool

    def keep(self, queues: Mapping[str, Waiting]) -> None:
        """Write one sample of each queue, and delete what is older than ``KEPT_DAYS``."""
        params = {
            "queues": list(queues),
            "waiting": [waiting.messages for waiting in queues.values()],
            "oldest_seconds": [waiting.oldest_seconds for waiting in queues.values()],
            "kept_days": KEPT_DAYS,
        }
        with translated(), (self._pool or init_db()).connection() as connection:
            connection.execute(queries.KEEP_SAMPLES, params)
