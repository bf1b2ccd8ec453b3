"""Limit log lines that strangers can cause: a flood of requests must not fill a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_MOST_A_SECOND: Final = 50


class LineLimit(logging.Filter):
    """Allow so many lines of a kind a second, and log how many were left out once there are fewer again.

    As a filter of a logger it lets errors pass, uncounted.
    """

    def __init__(
        self, kind: str, most: int = _MOST_A_SECOND, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._kind = kind
        self._most = most
        self._monotonic = monotonic
        self._began = monotonic()
        self._said = self._left_out = 0

    def may_say(self) -> bool:
        """Return True for the first lines of each second."""
        now = self._monotonic()
        if now - self._began >= 1:
            left_out, self._began, self._said, self._left_out = self._left_out, now, 0, 0
            if left_out:
                log.warning("log lines left out", kind=self._kind, lines=left_out)
        self._said += 1
        if self._said <= self._most:
            return True
        self._left_out += 1
        return False

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or self.may_say()
