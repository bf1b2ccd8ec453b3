"""Changes of a workspace in their order, for a page that shows it. Safe for threads; no I/O."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

MOST_KEPT: Final = 5_000


@dataclass(frozen=True)
class Change:
    """One change; ``number`` begins with 1 and grows by one. ``data`` is JSON."""

    number: int
    kind: str
    data: Any


class ChangeLog:
    """The newest changes. A reader that has fallen behind the oldest kept one must read all anew."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Change] = deque(maxlen=most)
        self._last = 0
        self._listeners: list[Callable[[], object]] = []

    @property
    def last(self) -> int:
        """The number of the last change; 0 before the first."""
        with self._lock:
            return self._last

    def add(self, kind: str, data: Any) -> None:
        """Add a change, and call every listener."""
        with self._lock:
            self._last += 1
            self._kept.append(Change(self._last, kind, data))
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def after(self, number: int) -> list[Change] | None:
        """Return the changes after ``number``; None if some are not kept, or it is from another log."""
        with self._lock:
            if number > self._last or number < self._last - len(self._kept):
                return None
            return [change for change in self._kept if change.number > number]

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call ``listener`` after each change, in the thread that makes it; return what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return end
