"""Wait for a result: by a subscription where there is one, else by looking again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from threadsync.broker.results import Results, decoded
from threadsync.result_reading import read_meta, readably

if TYPE_CHECKING:
    from threadsync.broker.subscription.waiters import News

_FIRST_PAUSE: Final = 0.004
_LONGEST_PAUSE: Final = 1.0

Look = Callable[[], tuple[bool, Any]]
"""Returns True and the result if it is there. Raises what the worker raised."""


def wait(results: Results, task_id: str, seconds: float, look: Look) -> tuple[bool, Any]:
    """Return True and the result as soon as it is there; False after so many seconds."""
    deadline = time.monotonic() + seconds
    subscriptions = results.subscriptions
    if subscriptions is None or subscriptions.is_refused or seconds <= 0:
        return _poll(look, deadline)

    def judge(news: News) -> tuple[bool, Any]:
        if isinstance(news, bytes):
            return _read(news)
        return _poll(look, deadline) if news.is_lasting else look()

    return subscriptions.wait(results.key_of(task_id), deadline, judge)


async def wait_async(results: Results, task_id: str, seconds: float, look: Look) -> tuple[bool, Any]:
    """The same for asyncio; what blocks is done in a thread."""
    deadline = time.monotonic() + seconds
    subscriptions = results.subscriptions
    if subscriptions is None or subscriptions.is_refused or seconds <= 0:
        return await _poll_async(look, deadline)

    async def judge(news: News) -> tuple[bool, Any]:
        if isinstance(news, bytes):
            return _read(news)
        return await (_poll_async(look, deadline) if news.is_lasting else asyncio.to_thread(look))

    return await subscriptions.wait_async(results.key_of(task_id), deadline, judge)


def _read(stored: bytes) -> tuple[bool, Any]:
    return read_meta(readably(lambda: decoded(stored), "the result"))


def _poll(look: Look, deadline: float) -> tuple[bool, Any]:
    for pause in _pauses():
        ready, value = look()
        left = deadline - time.monotonic()
        if ready or left <= 0:
            return ready, value
        time.sleep(min(pause, left))
    raise AssertionError("the pauses have no end")


async def _poll_async(look: Look, deadline: float) -> tuple[bool, Any]:
    for pause in _pauses():
        ready, value = await asyncio.to_thread(look)
        left = deadline - time.monotonic()
        if ready or left <= 0:
            return ready, value
        await asyncio.sleep(min(pause, left))
    raise AssertionError("the pauses have no end")


def _pauses() -> Iterator[float]:
    """Yield the seconds between two looks for a result, which is seen at most a quarter later than possible.

    Most results are there within milliseconds. A thousand that are late must not keep the broker busy.
    """
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.25, _LONGEST_PAUSE)
