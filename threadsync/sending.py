"""Publish within a deadline, and look results up, for both clients. No database driver."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final, TypeVar
from uuid import uuid4

import redis

from threadsync.broker.deadline import Call, LastReply, Moment, last_reply_of, now
from threadsync.broker.errors import reason_of
from threadsync.broker.options import broker_options
from threadsync.broker.producer import refuse_cluster_error
from threadsync.broker.publishing import Publisher
from threadsync.broker.results import Results, ResultsAway, results_of
from threadsync.command import Command
from threadsync.config import load_settings
from threadsync.errors import EnqueueFailed, InvalidSettings, ThreadsyncError
from threadsync.result_reading import read_meta, readably

T = TypeVar("T")

_THREADS: Final = 8


class Broker:
    """Connections to the broker and to the result backend, made on first use. Safe for threads and forks.

    Publishing runs in threads of its own, because only so is a deadline kept whatever the network does:
    a peer that is silent, a resolver that hangs, a connection pool that others have emptied.

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
        self._publisher = Publisher(broker_options(settings.broker_url, settings, "client"))
        self._settings = settings
        self._results: Results | None = None
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._threads_owner = 0
        self._reply = LastReply() if apart else last_reply_of(settings.broker_url)
        self._most_threads = 1 if apart else _THREADS

    def send(self, command: Command[Any], task_id: str | None = None) -> str:
        """Publish; return the task's id once the broker has the message. Raises ``EnqueueFailed``."""
        return self._within_deadline(lambda: self._publish(command, task_id or str(uuid4())))

    async def send_async(self, command: Command[Any], task_id: str | None = None) -> str:
        """The same for asyncio."""
        return await self._within_deadline_async(lambda: self._publish(command, task_id or str(uuid4())))

    def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        self._within_deadline(self._connect)

    async def ping_async(self) -> None:
        """The same for asyncio."""
        await self._within_deadline_async(self._connect)

    def ask(self, question: Callable[[Any], T]) -> T:
        """Ask over a channel of its own connection. Raises ``EnqueueFailed``."""
        return self._within_deadline(lambda: self._asked(question))

    async def ask_async(self, question: Callable[[Any], T]) -> T:
        """The same for asyncio."""
        return await self._within_deadline_async(lambda: self._asked(question))

    def result_of(self, task_id: str) -> tuple[bool, Any]:
        """Return True and the result if it is there. Raises what the worker raised, as an error of ours.

        One that cannot be read is ``UnreadableResult``.
        """
        backend = self._backend()
        try:
            return read_meta(readably(lambda: backend.meta_of(task_id), "the result"))
        except ResultsAway as exc:
            refuse_cluster_error(exc.reason)
            return False, None  # the result may well be there: the caller decides how long to go on

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
            threads, self._threads = self._threads, None
            results, self._results = self._results, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        if results is not None:
            results.close()

    def _backend(self) -> Results:
        """Return one backend for all threads, so that they share its connections."""
        with self._lock:
            if self._results is None:
                self._results = results_of(self._settings)
            return self._results

    def _publish(self, command: Command[Any], task_id: str) -> str:
        self._publisher.publish(command, task_id)
        return task_id

    def _connect(self) -> None:
        with self._publisher.connection() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            _ = connection.default_channel

    def _asked(self, question: Callable[[Any], T]) -> T:
        # Not from the pool, whose connection may have died while the broker is well.
        with self._publisher.connection() as connection:
            return question(connection.default_channel)

    def _within_deadline(self, work: Callable[[], T]) -> T:
        call = self._submit(work)
        while not call.future.done():
            # Only the wait raises this; a time-out of the work itself is an `EnqueueFailed`.
            with suppress(TimeoutError):
                return call.result(call.patience())
        return call.result()

    async def _within_deadline_async(self, work: Callable[[], T]) -> T:
        call = self._submit(work)
        waiter = asyncio.wrap_future(call.future)
        try:
            # The call's own future: the waiter hears of it only when the loop comes round to that.
            while not call.future.done():
                await asyncio.wait({waiter}, timeout=call.patience())
        finally:
            call.is_given_up = True
            waiter.cancel()
        return call.result()

    def _submit(self, work: Callable[[], T]) -> Call[T]:
        context = copy_context()
        call: Call[T] = Call(self._reply)

        def run() -> T:
            call.begun = tried = now()
            while True:
                try:
                    # In the caller's context, which holds its trace.
                    result = context.run(_translated, work)
                except EnqueueFailed as exc:
                    if not self._may_try_again(call, tried, exc):
                        raise
                    tried = now()
                else:
                    self._reply.at = now()
                    return result

        with self._lock:
            if self._threads is None or self._threads_owner != os.getpid():
                self._threads = ThreadPoolExecutor(
                    self._most_threads, thread_name_prefix="threadsync-enqueue"
                )
                self._threads_owner = os.getpid()
            call.future = self._threads.submit(run)
        return call

    def _may_try_again(self, call: Call[T], tried: Moment, error: EnqueueFailed) -> bool:
        """Return True if the call only waited too long for its reply, while others had theirs.

        The broker's own processor is busy then. Commands may be sent again.
        """
        return _ran_out_of_time(error) and self._reply.at > tried and not call.is_given_up


def _ran_out_of_time(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, TimeoutError | redis.TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except ThreadsyncError:
        raise
    # A broker's client may raise whatever it likes: py-amqp raises AttributeError on a lost connection.
    except Exception as exc:
        refuse_cluster_error(exc)
        reason = reason_of(exc) or "the broker did not take the message"
        raise EnqueueFailed(f"{reason}: {type(exc).__name__}: {exc}") from exc
