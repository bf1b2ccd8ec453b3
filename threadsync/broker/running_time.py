"""A clock of the time in which this process could run, for deadlines of starved processes.

A thread for it, because waiters that each measure their own lateness cost what they measure: looking ten
times a second, 500 of them took twice the processor time for a burst, and where the process had a tenth of a
processor, half of its calls failed.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import Final

TICK_SECONDS: Final = 0.005
_LATE_SECONDS: Final = 0.015
"""Time between two ticks after which our threads could not run: the other side was not silent."""

_IDLE_SECONDS: Final = 1.0


class RunningTime:
    """Seconds in which this process could run. Safe for threads and forks.

    A thread that sleeps for 5 ms and wakes up after 50 shows that the others could not run either. The clock
    stands while none asks for ``now()``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._asked = 0.0
        self._owner = 0
        os.register_at_fork(after_in_child=self._lock._at_fork_reinit)  # type: ignore[attr-defined]

    def last(self) -> float:
        """Return the time of the last tick; starts nothing, so it costs nothing."""
        return self._seconds

    def now(self) -> float:
        """Return the time, and let the clock go on for a second."""
        with self._lock:
            self._asked = monotonic()
            if self._owner != os.getpid():
                threading.Thread(target=self._run, name="threadsync-running-time", daemon=True).start()
                self._owner = os.getpid()
        return self._seconds

    def _run(self) -> None:
        pause = threading.Event()
        before = monotonic()
        while self._wanted():
            pause.wait(TICK_SECONDS)
            at = monotonic()
            self._seconds += counted(at - before)
            before = at

    def _wanted(self) -> bool:
        with self._lock:
            wanted = monotonic() - self._asked < _IDLE_SECONDS
            if not wanted:
                self._owner = 0
        return wanted


def counted(passed: float) -> float:
    """Return the part of the time between two ticks that counts: the later the second, the less."""
    return passed if passed <= _LATE_SECONDS else _LATE_SECONDS * _LATE_SECONDS / passed


RUNNING: Final = RunningTime()
"""Clock of the whole process: all its threads run, or none does."""
