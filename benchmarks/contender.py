"""Contenders: queues with their worker processes and clients, set up as their own documentation says.

A contender runs in its own environment (``benchmarks.side``), so this imports only what all of them have.
The servers' addresses are in the environment, under the names that threadsync uses.
"""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any, ClassVar, Final

from benchmarks.threads import SlackThread
from worker.local.child import Child

SETTINGS: Final = "STOCK_CELERY_SETTINGS"
"""Variable with our worker's settings, for stock Celery."""

_STOP_SECONDS: Final = 1


@dataclass(frozen=True)
class Sent:
    """A sent command: the key of its result, and the times at which it was due and was sent."""

    key: str
    due: float
    sent: float


class Contender(ABC):
    """A contender, used by ``prepare``, ``send``, ``start``, waiting until all are ``done``, ``stop``.

    ``distribution`` is its name on PyPI. Results arrive in Valkey's database
    ``results_database`` (None: in Postgres, as finished jobs), under keys that begin with ``results_prefix``.
    """

    distribution: ClassVar[str]
    results_database: ClassVar[int | None] = 1
    results_prefix: ClassVar[str] = ""
    stop_signal: ClassVar[Signals] = SIGTERM
    poll_seconds: ClassVar[float] = 0.01
    """Seconds between two looks at a backlog; longer where a look costs something."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[Child] = []

    @property
    def versions(self) -> str:
        """The contender's name and version, to be read."""
        return f"{self.distribution} {version(self.distribution)}"

    @abstractmethod
    def commands(self) -> Sequence[Sequence[str]]:
        """Return the command lines (usually one) of a worker group that may use two cores."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Set up what a client needs before its first message."""

    @abstractmethod
    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        """Send a command for each thread, one after the other; with a ``pace``, so many seconds apart."""

    @abstractmethod
    def done(self) -> int:
        """Return the number of this run's commands that have ended, with results stored."""

    @abstractmethod
    def ask(self, thread: SlackThread) -> Mapping[str, Any]:
        """Send a command and wait for its result, both by the contender's own client as it is by default."""

    def start(self) -> list[int]:
        """Start the worker group; return its main processes at once."""
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        log = self._folder / "worker.log"
        self._workers = [
            Child(command, log_path=log, env=env, cwd=self._folder) for command in self.commands()
        ]
        return [worker.pid for worker in self._workers]

    def fault(self) -> str | None:
        """Return the end of the worker's log if one of its main processes has ended."""
        dead = [worker for worker in self._workers if worker.poll() is not None]
        return dead[0].log_tail() if dead else None

    def stop(self) -> None:
        """End the worker group, soon by SIGKILL, as all work is done."""
        for worker in self._workers:
            if not worker.stop(self.stop_signal, _STOP_SECONDS):
                worker.kill()


class SyncContender(Contender):
    """A contender whose client blocks."""

    @abstractmethod
    def enqueue(self, thread: SlackThread) -> Any:
        """Send a command; return the contender's own handle."""

    @abstractmethod
    def key(self, handle: Any) -> str:
        """Return the key of the result."""

    @abstractmethod
    def result(self, handle: Any) -> Mapping[str, Any]:
        """Wait for a command's result."""

    def ask(self, thread: SlackThread) -> Mapping[str, Any]:
        return self.result(self.enqueue(thread))

    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        sent = []
        began = time.monotonic()
        for place, thread in enumerate(threads):
            due = began + place * pace if pace else time.monotonic()
            time.sleep(max(due - time.monotonic(), 0))
            handle = self.enqueue(thread)
            sent.append(Sent(self.key(handle), due, time.monotonic()))
        return sent


class AsyncContender(Contender):
    """A contender whose client is for asyncio."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.loop = asyncio.Runner()

    @abstractmethod
    async def enqueue(self, thread: SlackThread) -> Any:
        """Send a command; return the contender's own handle."""

    @abstractmethod
    def key(self, handle: Any) -> str:
        """Return the key of the result."""

    @abstractmethod
    async def result(self, handle: Any) -> Mapping[str, Any]:
        """Wait for a command's result."""

    def ask(self, thread: SlackThread) -> Mapping[str, Any]:
        return self.loop.run(self._ask(thread))

    async def _ask(self, thread: SlackThread) -> Mapping[str, Any]:
        return await self.result(await self.enqueue(thread))

    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        return self.loop.run(self._send(threads, pace))

    async def _send(self, threads: Sequence[SlackThread], pace: float | None) -> list[Sent]:
        sent = []
        began = time.monotonic()
        for place, thread in enumerate(threads):
            due = began + place * pace if pace else time.monotonic()
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            handle = await self.enqueue(thread)
            sent.append(Sent(self.key(handle), due, time.monotonic()))
        return sent
