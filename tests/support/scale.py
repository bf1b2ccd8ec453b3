"""Scale tests by the command that runs them.

``make test-all`` runs the long tests at a fifth of the numbers that ``make soak`` runs. Tests that are marked
``bounded`` are in ``make test`` with few numbers, and in ``make test-all`` with the whole.
"""

from __future__ import annotations

import os
from typing import Final

SOAK: Final = bool(os.environ.get("THREADSYNC_SOAK"))
"""True under ``make soak``."""

WHOLE: Final = SOAK or bool(os.environ.get("THREADSYNC_WHOLE"))
"""True under ``make test-all``, too."""

_FIFTH: Final = 5


def scaled(full: int, least: int = 1) -> int:
    """Return ``full`` under ``make soak``, else a fifth of it, but never fewer than ``least``."""
    return full if SOAK else max(least, full // _FIFTH)


def bounded(whole: int, few: int) -> int:
    """Return ``few`` under ``make test``, else ``whole``. For tests that are marked ``bounded``."""
    return whole if WHOLE else few


def bounded_time_limits() -> list[str]:
    """Return options for a worker's time limits: 2 and 3 s under ``make test``, else none, so 6 and 8 s."""
    return [] if WHOLE else ["--soft-time-limit", "2", "--time-limit", "3"]
