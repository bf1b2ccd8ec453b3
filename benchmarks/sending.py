"""Clients beside each other: each sends some commands in turn, and no worker takes them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.entries import OURS_AT_ONCE, OURS_IN_ONE_CALL, Entry
from benchmarks.figures import rotated
from benchmarks.remote import ContenderFailed, Remote
from benchmarks.stage import Installation
from threadsync import SessionClient
from threadsync.queues import SESSIONS_QUEUE

_TURNS: Final = 6
_WARM_UP: Final = 50
_SECONDS: Final = 60
_TIMES_AS_MANY: Final = {OURS_AT_ONCE.name: 4, OURS_IN_ONE_CALL.name: 10}
"""Factors on the commands of those who send many at a time."""


def is_there(entry: Entry) -> bool:
    """Return True if this version's client can send so."""
    return entry is not OURS_IN_ONE_CALL or hasattr(SessionClient, "send_many")


class Turns:
    """Turns of clients on one installation; the first failure of a client is its last turn.

    ``queue`` is where the messages of ours and of stock Celery must be afterwards.
    """

    def __init__(
        self, entries: Sequence[Entry], installation: Installation, folder: Path, queue: str = SESSIONS_QUEUE
    ) -> None:
        self._entries = entries
        self._installation = installation
        self._folder = folder
        self._queue = queue
        self._rates: dict[str, list[float]] = defaultdict(list)
        self.faults: dict[str, str] = {}

    def run(self, count: int) -> None:
        """Let each client send ``count`` commands in each turn, or some times as many."""
        with ExitStack() as stack:
            env = self._installation.env
            # All start at once, and wait for requests.
            remotes = [
                (entry, stack.enter_context(Remote(entry, env, self._folder / entry.name)))
                for entry in self._entries
            ]
            for entry, remote in remotes:
                self._attempt(entry, remote, "prepare")
                self._attempt(entry, remote, "enqueue", first=0, count=_WARM_UP)
            for turn in range(_TURNS):
                for entry, remote in rotated(remotes, turn):
                    self._send(entry, remote, count * _TIMES_AS_MANY.get(entry.name, 1))

    def rate(self, entry: Entry) -> float:
        """Return commands a second, the median of the turns."""
        return statistics.median(self._rates[entry.name])

    def _send(self, entry: Entry, remote: Remote, count: int) -> None:
        before = self._queued()
        taken = self._attempt(entry, remote, "enqueue", first=self._installation.sessions, count=count)
        if taken is None:
            return
        self._rates[entry.name].append(count / taken)
        arrived = self._queued() - before
        if entry.environment is None and arrived != count:
            self.faults[entry.name] = f"{arrived} of {count} messages are in the queue"

    def _attempt(self, entry: Entry, remote: Remote, request: str, **arguments: Any) -> Any:
        """Ask, unless the client has failed before; return None if it fails."""
        if entry.name in self.faults:
            return None
        try:
            return remote.ask(request, _SECONDS, **arguments)
        except ContenderFailed as exc:
            self.faults[entry.name] = str(exc)
            return None

    def _queued(self) -> int:
        with redis.Redis.from_url(self._installation.broker_url) as broker:
            queued: Any = broker.llen(self._queue)
        return int(queued)
