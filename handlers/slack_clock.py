"""Notice a wrong clock by the timestamps that Slack signs.

A web process has no other clock to look at before it answers, and one that is five minutes off refuses
everything. Slack's timestamp is in whole seconds, and a request may have been in transit: of a clock that is
ahead only the quickest of several requests is evidence, of one that is behind each one from the future is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

import structlog

from threadsync.broker.clocks import SKEW_SECONDS

log = structlog.get_logger(__name__)

_REQUESTS: Final = 5
_SAID_EVERY_SECONDS: Final = 600.0
_WHOLE_SECONDS: Final = 1.0
_KNOWN: Final = "clock is not Slack's"
_DOUBTED: Final = "clock may not be Slack's"
_FIX: Final = "set it by NTP; at 300 s every request is refused"
_FIX_OR_REPLAY: Final = "if no request of Slack's is taken, set it by NTP; else an old one was sent again"


class SlackClock:
    """A watch of this machine's clock by correctly signed requests. It only warns."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ahead: deque[float] = deque(maxlen=_REQUESTS)
        self._monotonic = monotonic
        self._said_at: dict[str, float] = {}

    def heard(self, timestamp: float, now: float) -> None:
        """Take in a signed request's timestamp, and log a warning if the clock is off."""
        self._ahead.append(now - timestamp)
        seconds = self.skew
        if abs(seconds) > SKEW_SECONDS and self._may_say(_KNOWN):
            log.warning(_KNOWN, ahead_seconds=round(seconds, 1), fix=_FIX)

    def doubted(self, timestamp: float, now: float) -> None:
        """Log a warning for a timestamp so far off that its request was refused unverified."""
        if self._may_say(_DOUBTED):
            ahead = round(now - timestamp, 1)
            log.warning(_DOUBTED, ahead_seconds=ahead, fix=_FIX_OR_REPLAY)

    @property
    def skew(self) -> float:
        """Seconds, at least, that our clock is ahead of Slack's; behind is negative, 0.0 unknown."""
        if not self._ahead:
            return 0.0
        least = min(self._ahead)
        if least < 0:
            return least
        if len(self._ahead) < _REQUESTS:
            return 0.0
        return max(0.0, least - _WHOLE_SECONDS)

    def _may_say(self, warning: str) -> bool:
        """Limit each warning by itself: a stranger can cause the second, and must not silence the first."""
        now = self._monotonic()
        if now - self._said_at.get(warning, -inf) < _SAID_EVERY_SECONDS:
            return False
        self._said_at[warning] = now
        return True
