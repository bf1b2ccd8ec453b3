"""Handles of commands that were enqueued: they wait for the result, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Generic

from threadsync.command import Command, R
from threadsync.errors import ResultTimeout
from threadsync.result_reading import typed

if TYPE_CHECKING:
    from threadsync.sending import Broker

_FIRST_PAUSE: Final = 0.004
_LONGEST_PAUSE: Final = 1.0


def _pauses() -> Iterator[float]:
    """Yield the seconds between two looks for a result, which is seen at most a quarter later than possible.

    Most results are there within milliseconds. A thousand that are late must not keep the broker busy.
    """
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.25, _LONGEST_PAUSE)


class _Handle(Generic[R]):
    def __init__(self, broker: Broker, command: Command[R], task_id: str) -> None:
        self._broker = broker
        self.command = command
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.command.name} {self.task_id}>"

    def _look(self) -> tuple[bool, Any]:
        return self._broker.result_of(self.task_id)

    def _typed(self, value: Any) -> R:
        return typed(self.command.result, value, self.command.name)  # type: ignore[no-any-return]

    def _timed_out(self, timeout: float) -> ResultTimeout:
        return ResultTimeout(f"no result of {self.command.name} within {timeout:g} s (task {self.task_id})")


class Handle(_Handle[R]):
    """A command that was enqueued. ``task_id`` finds it in Flower and in the logs."""

    def get(self, timeout: float = 10) -> R:
        """Return the result, at most ``timeout`` seconds from now.

        Raises ``ResultTimeout``, or what the worker raised: ``InvalidCommand``, ``SessionNotFound``,
        ``JiraKeyConflict``, ``PoisonCommand``, ``CommandFailed``; ``UnreadableResult`` if there is something
        else in its place.
        """
        deadline = time.monotonic() + timeout
        for pause in _pauses():
            ready, value = self._look()
            if ready:
                return self._typed(value)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(pause, left))
        raise self._timed_out(timeout)


class AsyncHandle(_Handle[R]):
    """``Handle`` for asyncio."""

    async def get(self, timeout: float = 10) -> R:  # noqa: ASYNC109 - as Celery's results have it
        """Return the result, at most ``timeout`` seconds from now. Raises as ``Handle.get`` does."""
        deadline = time.monotonic() + timeout
        for pause in _pauses():
            ready, value = await asyncio.to_thread(self._look)
            if ready:
                return self._typed(value)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(min(pause, left))
        raise self._timed_out(timeout)
