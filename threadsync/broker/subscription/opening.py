"""Open a connection to the results in a thread of its own, because a resolver or a peer may hang."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

Connect = Callable[[], Any]
"""Makes a connection of redis-py's that has logged in and speaks RESP3."""


_spread = random.Random()  # noqa: S311 - hides nothing; the program's own numbers stay as they are


class Opening:
    """One attempt to open a connection.

    Args:
        pause: seconds to wait before it, about.
        done: is told how it ended, in the attempt's thread: the connection, or the error.
    """

    def __init__(self, connect: Connect, pause: float, done: Callable[[Opening, Any], None]) -> None:
        self._connect = connect
        self._pause = pause
        self._done = done
        self._is_over = threading.Event()
        threading.Thread(target=self._run, name="threadsync-results", daemon=True).start()

    def end(self) -> None:
        """Do not begin, if it is not too late."""
        self._is_over.set()

    def _run(self) -> None:
        # Not all processes of a site at the same time.
        if self._pause and self._is_over.wait(self._pause * _spread.uniform(0.75, 1.25)):
            return
        try:
            found = self._connect()
        # Whatever it is, such as a credential provider's.
        except Exception as exc:  # noqa: BLE001
            found = exc
        self._done(self, found)
