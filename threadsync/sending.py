"""Publish within a deadline, and look results up, for both clients. No database driver.

Valkey and Redis are published to directly (``threadsync.broker.direct``); kombu, which publishes to all else
and asks all questions, is loaded only then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from threadsync.address import read_broker
from threadsync.broker.cluster import refuse_cluster_error
from threadsync.broker.deadline import LastReply, last_reply_of
from threadsync.broker.direct.sender import DirectSender, fits
from threadsync.broker.in_threads import InThreads
from threadsync.broker.options import broker_options
from threadsync.command import Command
from threadsync.config import load_settings
from threadsync.errors import EnqueueFailed, InvalidSettings
from threadsync.result_reading import read_meta, readably

if TYPE_CHECKING:
    from threadsync.broker.publishing import Publisher
    from threadsync.broker.results import Results

T = TypeVar("T")

_THREADS: Final = 8


class Broker:
    """Connections to the broker and to the result backend, made on first use. Safe for threads and forks.

    Args:
        apart: True for one thread and a record of its own of the broker's last reply, so that its questions
            can neither delay another client of the process nor make it more patient.
    """

    def __init__(
        self, broker_url: str | None = None, result_backend: str | None = None, *, apart: bool = False
    ) -> None:
        given = {"celery_broker_url": broker_url, "celery_result_backend": result_backend}
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        if settings.broker_url is None:
            raise InvalidSettings("CELERY_BROKER_URL is not set: commands have no broker to go to")
        self._options = broker_options(settings.broker_url, settings, "client")
        self._settings = settings
        self._results: Results | None = None
        self._lock = threading.Lock()
        reply = LastReply() if apart else last_reply_of(settings.broker_url)
        self._in_threads = InThreads(1 if apart else _THREADS, reply)
        address, options = read_broker(settings.broker_url), self._options["broker_transport_options"]
        self._direct = DirectSender(address, options, reply) if fits(address, options) else None

    def send(self, command: Command[Any], task_id: str | None = None) -> str:
        """Publish; return the task's id once the broker has the message. Raises ``EnqueueFailed``."""
        task_id = task_id or str(uuid4())
        if self._direct is not None:
            self._direct.send(command, task_id)
        else:
            self._in_threads.run(lambda: self._publisher.publish(command, task_id))
        return task_id

    async def send_async(self, command: Command[Any], task_id: str | None = None) -> str:
        """The same for asyncio."""
        task_id = task_id or str(uuid4())
        if self._direct is not None:
            await self._direct.send_async(command, task_id)
        else:
            await self._in_threads.run_async(lambda: self._publisher.publish(command, task_id))
        return task_id

    def send_many(self, commands: Sequence[Command[Any]]) -> list[str]:
        """Publish all; return their tasks' ids in order. Raises ``EnqueueFailed`` with how many are there."""
        task_ids = [str(uuid4()) for _ in commands]
        sendings = list(zip(commands, task_ids, strict=True))
        if self._direct is not None:
            self._direct.send_many(sendings)
            return task_ids
        for place, (command, task_id) in enumerate(sendings):
            try:
                self.send(command, task_id)
            except EnqueueFailed as exc:
                exc.confirmed = place
                raise
        return task_ids

    async def send_many_async(self, commands: Sequence[Command[Any]]) -> list[str]:
        """The same for asyncio."""
        task_ids = [str(uuid4()) for _ in commands]
        sendings = list(zip(commands, task_ids, strict=True))
        if self._direct is not None:
            await self._direct.send_many_async(sendings)
            return task_ids
        for place, (command, task_id) in enumerate(sendings):
            try:
                await self.send_async(command, task_id)
            except EnqueueFailed as exc:
                exc.confirmed = place
                raise
        return task_ids

    def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        if self._direct is not None:
            self._direct.ping()
        else:
            self._in_threads.run(self._connect)

    async def ping_async(self) -> None:
        """The same for asyncio."""
        if self._direct is not None:
            await self._direct.ping_async()
        else:
            await self._in_threads.run_async(self._connect)

    def ask(self, question: Callable[[Any], T]) -> T:
        """Ask over a channel of its own connection. Raises ``EnqueueFailed``."""
        return self._in_threads.run(lambda: self._asked(question))

    async def ask_async(self, question: Callable[[Any], T]) -> T:
        """The same for asyncio."""
        return await self._in_threads.run_async(lambda: self._asked(question))

    def result_of(self, task_id: str) -> tuple[bool, Any]:
        """Return True and the result if it is there. Raises what the worker raised, as an error of ours.

        One that cannot be read is ``UnreadableResult``.
        """
        from threadsync.broker.results import ResultsAway

        backend = self._backend()
        try:
            return read_meta(readably(lambda: backend.meta_of(task_id), "the result"))
        except ResultsAway as exc:
            refuse_cluster_error(exc.reason)
            return False, None  # the result may well be there: the caller decides how long to go on

    def forget_result(self, task_id: str) -> None:
        """Delete a result; nothing is raised while the backend is away."""
        from threadsync.broker.results import ResultsAway

        with suppress(ResultsAway):
            self._backend().forget(task_id)

    def result_within(self, task_id: str, seconds: float) -> tuple[bool, Any]:
        """Return as ``result_of`` as soon as the result is there; False after so many seconds."""
        from threadsync.waiting import wait

        return wait(self._backend(), task_id, seconds, lambda: self.result_of(task_id))

    async def result_within_async(self, task_id: str, seconds: float) -> tuple[bool, Any]:
        """The same for asyncio."""
        from threadsync.waiting import wait_async

        return await wait_async(self._backend(), task_id, seconds, lambda: self.result_of(task_id))

    def close(self) -> None:
        """Close what is open; a later call opens it again."""
        with self._lock:
            results, self._results = self._results, None
        self._in_threads.close()
        if self._direct is not None:
            self._direct.close()
        if results is not None:
            results.close()

    def close_in_loop(self) -> None:
        """Close what belongs to the event loop that runs; ``close`` closes the rest, and may take a while."""
        if self._direct is not None:
            self._direct.close_async()

    @cached_property
    def _publisher(self) -> Publisher:
        from threadsync.broker.publishing import Publisher

        return Publisher(self._options)

    def _backend(self) -> Results:
        """Return one backend for all threads, so that they share its connections."""
        from threadsync.broker.results import results_of

        with self._lock:
            if self._results is None:
                self._results = results_of(self._settings)
            return self._results

    def _connect(self) -> None:
        with self._publisher.connection() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            _ = connection.default_channel

    def _asked(self, question: Callable[[Any], T]) -> T:
        # Not from the pool, whose connection may have died while the broker is well.
        with self._publisher.connection() as connection:
            return question(connection.default_channel)
