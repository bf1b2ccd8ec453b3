"""Observers of the times at which results arrive, the same for all contenders.

How a contender's own client waits is not compared: some ask every half second by default.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Final

import psycopg
import redis

_LOOK_SECONDS: Final = 0.002
_WAIT_SECONDS: Final = 0.02


class Arrivals(ABC):
    """Observer of the time (``time.monotonic``) at which each key arrives, from entering to leaving."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._observe, name="arrivals", daemon=True)

    def wait_for(self, keys: Collection[str], timeout: float) -> Mapping[str, float]:
        """Wait for keys, and return the time of each; after the time-out some may be missing."""
        deadline = time.monotonic() + timeout
        while not self._seen.keys() >= set(keys) and time.monotonic() < deadline:
            time.sleep(_WAIT_SECONDS)
        return {key: self._seen[key] for key in keys if key in self._seen}

    def __enter__(self) -> Arrivals:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the observer of results did not start within 10 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _note(self, key: str) -> None:
        # Some contenders write a key several times.
        self._seen.setdefault(key, time.monotonic())

    @abstractmethod
    def _observe(self) -> None:
        """Set ``_ready``, then note keys until ``_ended``."""


class ResultKeys(Arrivals):
    """Observer of keys in Valkey, by its notifications: https://valkey.io/topics/notifications/."""

    def __init__(self, broker_url: str, database: int, prefix: str) -> None:
        super().__init__()
        self._url = broker_url
        self._channel = f"__keyspace@{database}__:"
        self._pattern = f"{self._channel}{prefix}*"

    def _observe(self) -> None:
        with redis.Redis.from_url(self._url) as client, client.pubsub() as subscription:
            # K: by key; $ and l: writes to strings and to lists.
            client.config_set("notify-keyspace-events", "K$l")
            subscription.psubscribe(self._pattern)
            while not self._ended.is_set():
                event = subscription.get_message(timeout=0.1)
                if event and event["type"] == "psubscribe":
                    self._ready.set()
                elif event:
                    self._note(event["channel"].decode().removeprefix(self._channel))
            client.config_set("notify-keyspace-events", "")


class FinishedJobs(Arrivals):
    """Observer of jobs that Procrastinate has marked as succeeded, a few milliseconds late at most."""

    # Numbers are drawn before the row is visible, so an earlier one may come after a later one.
    _QUERY: Final = """
    SELECT id, job_id FROM procrastinate_events WHERE id > %s - 200 AND id > %s AND type = 'succeeded'
    """

    def __init__(self, database_url: str) -> None:
        super().__init__()
        self._url = database_url

    def _observe(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute("SELECT coalesce(max(id), 0) FROM procrastinate_events").fetchone()
            newest = before = int(row[0]) if row else 0
            self._ready.set()
            while not self._ended.wait(_LOOK_SECONDS):
                for number, job in connection.execute(self._QUERY, [newest, before]).fetchall():
                    newest = max(newest, number)
                    self._note(str(job))
