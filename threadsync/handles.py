"""Handles of commands that were enqueued: they wait for the result, for threads and for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

from threadsync.command import Command, R
from threadsync.errors import ResultTimeout
from threadsync.result_reading import typed

if TYPE_CHECKING:
    from threadsync.sending import Broker


class _Handle(Generic[R]):
    def __init__(self, broker: Broker, command: Command[R], task_id: str) -> None:
        self._broker = broker
        self.command = command
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.command.name} {self.task_id}>"

    def _finish(self, ready: bool, value: Any, timeout: float) -> R:
        if not ready:
            raise ResultTimeout(
                f"no result of {self.command.name} within {timeout:g} s (task {self.task_id})"
            )
        return typed(self.command.result, value, self.command.name)  # type: ignore[no-any-return]


class Handle(_Handle[R]):
    """A command that was enqueued. ``task_id`` finds it in Flower and in the logs."""

    def get(self, timeout: float = 10) -> R:
        """Return the result, at most ``timeout`` seconds from now.

        Raises ``ResultTimeout``, or what the worker raised: ``InvalidCommand``, ``SessionNotFound``,
        ``JiraKeyConflict``, ``PoisonCommand``, ``CommandFailed``; ``UnreadableResult`` if there is something
        else in its place.
        """
        ready, value = self._broker.result_within(self.task_id, timeout)
        return self._finish(ready, value, timeout)

    def forget(self) -> None:
        """Delete the result, if it is there; without the result backend it ends by itself later."""
        self._broker.forget_result(self.task_id)


class AsyncHandle(_Handle[R]):
    """``Handle`` for asyncio."""

    async def get(self, timeout: float = 10) -> R:  # noqa: ASYNC109 - as Celery's results have it
        """Return the result, at most ``timeout`` seconds from now. Raises as ``Handle.get`` does."""
        ready, value = await self._broker.result_within_async(self.task_id, timeout)
        return self._finish(ready, value, timeout)

    async def forget(self) -> None:
        """Delete the result, if it is there; without the result backend it ends by itself later."""
        await asyncio.to_thread(self._broker.forget_result, self.task_id)
