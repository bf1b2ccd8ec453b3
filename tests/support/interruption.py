"""A time limit as Celery has it: an exception that a signal raises, wherever the process is just then."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from billiard.exceptions import SoftTimeLimitExceeded


@contextmanager
def out_of_time_after(seconds: float) -> Iterator[None]:
    """Raise ``SoftTimeLimitExceeded`` in the block, which is to wait for something then."""

    def raise_it(*_: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGUSR1, raise_it)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR1, before)
