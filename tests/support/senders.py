"""Senders under load, which note what was acknowledged to them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from threadsync import SessionClient
from threadsync.errors import EnqueueFailed


class Senders:
    """Threads that send until ``total`` commands are acknowledged, and keep their thread_ts."""

    def __init__(self, broker_url: str, total: int, threads: int = 4) -> None:
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.surprises: list[BaseException] = []
        # Results are nobody's concern here, and their server is away.
        self._client = SessionClient(broker_url, "redis://127.0.0.1:1/0")
        self._total = total
        self._numbers = iter(range(1, 1_000_000))
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"sender-{n}") for n in range(threads)]

    @property
    def is_done(self) -> bool:
        return len(self.acknowledged) >= self._total

    def join(self, timeout: float) -> None:
        """Return when all is acknowledged."""
        for thread in self._threads:
            thread.join(timeout)
        assert self.is_done, f"{len(self.acknowledged)} of {self._total}, {self.refused} refused"

    def _run(self) -> None:
        while not self.is_done and not self._stopped.is_set():
            with self._lock:
                thread_ts = f"1700000000.{next(self._numbers):06}"
            try:
                self._client.get_or_create("C1", thread_ts, "U1")
            except EnqueueFailed:
                self.refused += 1
                # As people would: not at once.
                self._stopped.wait(0.02)
            except BaseException as exc:  # noqa: BLE001 - anything else is what is looked for
                self.surprises.append(exc)
            else:
                self.acknowledged.add(thread_ts)

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._client.close()


def thread_ts_of(body: list[Any]) -> str:
    """Return the thread of a message's body, as Celery sends it: [args, kwargs, embed]."""
    kwargs: Mapping[str, str] = body[1]
    return kwargs["thread_ts"]
