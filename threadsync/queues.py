"""Names of the queues."""

from __future__ import annotations

from typing import Final

QUEUES: Final = ("sessions", "syncs", "maintenance", "lookups")
"""All queues. A worker takes from all of them unless it is told otherwise."""
