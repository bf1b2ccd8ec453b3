"""Names of the queues."""

from __future__ import annotations

from typing import Final

SESSIONS_QUEUE: Final = "sessions"
SYNCS_QUEUE: Final = "syncs"
MAINTENANCE_QUEUE: Final = "maintenance"
LOOKUPS_QUEUE: Final = "lookups"

QUEUES: Final = (SESSIONS_QUEUE, SYNCS_QUEUE, MAINTENANCE_QUEUE, LOOKUPS_QUEUE)
"""All queues. A worker takes from all of them unless it is told otherwise."""
