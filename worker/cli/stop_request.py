"""Ctrl-C and stop signals, as flags that loops can check."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `make` and some shells pass one Ctrl-C on twice.
_SECOND_ONE_SECONDS = 1.0


class StopRequest:
    """While entered, SIGINT, SIGTERM and SIGHUP raise nothing and are recorded here.

    The handler takes no lock and raises no exception: either could hit the main thread between starting a
    process and noting its pid. Enter it in the main thread.
    """

    def __init__(self) -> None:
        self._first = 0.0
        self._again = False
        self._former: dict[signal.Signals, Any] = {}

    def wanted(self) -> bool:
        """Return True once a stop was requested."""
        return self._first > 0

    def urgent(self) -> bool:
        """Return True once it was requested again: stop without grace."""
        return self._again

    def __enter__(self) -> StopRequest:
        for number in _SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._first:
            self._first = now
        elif now - self._first > _SECOND_ONE_SECONDS:
            self._again = True
