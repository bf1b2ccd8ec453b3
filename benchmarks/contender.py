"""What is compared: a queue with its worker processes and its client, each as its own documentation has it.

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

_STOP_SECONDS: Final = 2


@dataclass(frozen=True)
class Sent:
    """A command that was sent: where its result will be, when it was due and when the client had sent it."""

    key: str
    due: float
    sent: float


class Contender(ABC):
    """``prepare``, ``send``, ``start``, wait until ``done`` says all, ``stop``.

    ``distribution`` names what is compared on PyPI. Results arrive in Valkey's database
    ``results_database`` (None: in Postgres, as finished jobs), under keys that begin with ``results_prefix``.
    """

    distribution: ClassVar[str]
    results_database: ClassVar[int | None] = 1
    results_prefix: ClassVar[str] = ""
    stop_signal: ClassVar[Signals] = SIGTERM
    poll_seconds: ClassVar[float] = 0.01
    """Between two looks at a backlog; longer where a look costs something."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[Child] = []

    @property
    def versions(self) -> str:
        """For people: what is compared, in which version."""
        return f"{self.distribution} {version(self.distribution)}"

    @abstractmethod
    def commands(self) -> Sequence[Sequence[str]]:
        """The command lines of one worker group that may use two cores; usually one."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Set up what a client needs before its first message."""

    @abstractmethod
    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        """One command for each thread, one call after the other; with a ``pace``, so many seconds apart."""

    @abstractmethod
    def done(self) -> int:
        """How many commands of this run have ended, results kept."""

    @abstractmethod
    def last_result(self) -> Mapping[str, Any] | None:
        """What this contender's own client gets as the result of the last command; None if it keeps none."""

    def start(self) -> list[int]:
        """Start the worker group; returns its main processes at once."""
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        log = self._folder / "worker.log"
        self._workers = [
            Child(command, log_path=log, env=env, cwd=self._folder) for command in self.commands()
        ]
        return [worker.pid for worker in self._workers]

    def fault(self) -> str | None:
        """The end of the worker's log if one of its main processes has ended."""
        dead = [worker for worker in self._workers if worker.poll() is not None]
        return dead[0].log_tail() if dead else None

    def stop(self) -> None:
        """End the worker group: all work is done, so none gets long for it."""
        for worker in self._workers:
            if not worker.stop(self.stop_signal, _STOP_SECONDS):
                worker.kill()


class SyncContender(Contender):
    """One whose client blocks."""

    _last: Any = None

    @abstractmethod
    def enqueue(self, thread: SlackThread) -> Any:
        """Send one command; returns this contender's own handle."""

    @abstractmethod
    def key(self, handle: Any) -> str:
        """Where the result will be."""

    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        sent = []
        began = time.monotonic()
        for place, thread in enumerate(threads):
            due = began + place * pace if pace else time.monotonic()
            time.sleep(max(due - time.monotonic(), 0))
            self._last = self.enqueue(thread)
            sent.append(Sent(self.key(self._last), due, time.monotonic()))
        return sent


class AsyncContender(Contender):
    """One whose client is for asyncio."""

    _last: Any = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.loop = asyncio.Runner()

    @abstractmethod
    async def enqueue(self, thread: SlackThread) -> Any:
        """Send one command; returns this contender's own handle."""

    @abstractmethod
    def key(self, handle: Any) -> str:
        """Where the result will be."""

    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        return self.loop.run(self._send(threads, pace))

    async def _send(self, threads: Sequence[SlackThread], pace: float | None) -> list[Sent]:
        sent = []
        began = time.monotonic()
        for place, thread in enumerate(threads):
            due = began + place * pace if pace else time.monotonic()
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            self._last = await self.enqueue(thread)
            sent.append(Sent(self.key(self._last), due, time.monotonic()))
        return sent
