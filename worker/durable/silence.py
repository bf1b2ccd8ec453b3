"""Wait for a silent broker once, and not call by call, while the worker's main process stops.

Each call waits up to five seconds for its answer. A stop makes a dozen of them: events, what ended, what is
handed back, the worker's heartbeat. Together they would take longer than a supervisor's patience, and a
worker that is killed has finished less of what it ran. Nothing is lost by leaving the calls out: messages
that were not acknowledged or handed back are overdue soon.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

import redis
from celery.worker import state

ASK_AGAIN_SECONDS: Final = 10.0
"""Pause after a call without a reply: the broker may go on meanwhile."""


class Silence:
    """Time of the last call without a reply; one for the whole process, as there is one broker."""

    def __init__(self) -> None:
        self._since: float | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch one call for silence. Raises ``redis.ConnectionError`` if a stop has just met silence."""
        if self._since is not None and _stops() and monotonic() - self._since < ASK_AGAIN_SECONDS:
            raise redis.ConnectionError("the worker stops, and the broker was silent when it was last asked")
        try:
            yield
        except (redis.TimeoutError, TimeoutError):
            self._since = monotonic()
            raise
        self._since = None


def _stops() -> bool:
    """Return True once a signal has asked for the worker's end, even with exit code 0."""
    return any(
        asked is not None and asked is not False for asked in (state.should_stop, state.should_terminate)
    )


SILENCE: Final = Silence()
