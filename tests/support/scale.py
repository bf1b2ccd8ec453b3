"""Scale the long tests: ``make test-all`` runs them at a fifth of the numbers that ``make soak`` runs."""

from __future__ import annotations

import os
from typing import Final

SOAK: Final = bool(os.environ.get("THREADSYNC_SOAK"))
"""True under ``make soak``."""

_FIFTH: Final = 5


def scaled(full: int, least: int = 1) -> int:
    """Return ``full`` under ``make soak``, else a fifth of it, but never fewer than ``least``."""
    return full if SOAK else max(least, full // _FIFTH)
