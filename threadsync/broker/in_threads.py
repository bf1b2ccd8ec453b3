"""Carry out calls to a broker in threads, within a deadline.

Only so is a deadline kept whatever a library does: a peer that is silent, a resolver that hangs, a connection
pool that others have emptied.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

from threadsync.broker.deadline import Call, LastReply, Moment, now
from threadsync.broker.refusals import as_ours, ran_out_of_time
from threadsync.errors import EnqueueFailed, ThreadsyncError

T = TypeVar("T")


class InThreads:
    """A few threads for calls to one broker. Safe for threads and forks."""

    def __init__(self, most_threads: int, reply: LastReply) -> None:
        self._most_threads = most_threads
        self._reply = reply
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._owner = 0

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns. Raises ``EnqueueFailed``."""
        call = self._submit(work)
        while not call.future.done():
            # Only the wait raises this; a time-out of the work itself is an `EnqueueFailed`.
            with suppress(TimeoutError):
                return call.result(call.patience())
        return call.result()

    async def run_async(self, work: Callable[[], T]) -> T:
        """The same for asyncio."""
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

    def close(self) -> None:
        """End the threads; a later call starts new ones."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

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
            if self._threads is None or self._owner != os.getpid():
                self._threads = ThreadPoolExecutor(
                    self._most_threads, thread_name_prefix="threadsync-enqueue"
                )
                self._owner = os.getpid()
            call.future = self._threads.submit(run)
        return call

    def _may_try_again(self, call: Call[T], tried: Moment, error: EnqueueFailed) -> bool:
        """Return True if the call only waited too long for its reply, while others had theirs.

        The broker's own processor is busy then. Commands may be sent again.
        """
        return ran_out_of_time(error) and self._reply.at > tried and not call.is_given_up


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except ThreadsyncError:
        raise
    # A broker's client may raise whatever it likes: py-amqp raises AttributeError on a lost connection.
    except Exception as exc:
        raise as_ours(exc) from exc
