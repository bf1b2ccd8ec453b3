"""The feed of the page: every change of Slack, Jira, switches and workers, as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from sandbox.slack.changes import Change, ChangeLog

_HEARTBEAT_SECONDS: Final = 15.0
"""Longest silence: a browser then notices that the server is gone."""


async def feed(
    log: ChangeLog, after: int, shown: Callable[[Change], Any], ending: asyncio.Event
) -> AsyncIterator[str]:
    """Yield events from change ``after`` on until ``ending`` is set.

    A reader that is too far behind gets the one event ``reset``, and must read everything anew.
    """
    loop, wake = asyncio.get_running_loop(), asyncio.Event()

    def heard() -> None:
        # A change may come from any thread, also when the loop has just ended.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(wake.set)

    stop = log.listen(heard)
    try:
        yield "retry: 1000\n\n"
        while not ending.is_set():
            wake.clear()
            changes = log.after(after)
            if changes is None:
                yield "event: reset\ndata: {}\n\n"
                return
            for change in changes:
                after = change.number
                yield _event(change, shown(change))
            if not changes and not await _woken(wake, ending):
                yield ": nothing new\n\n"
    finally:
        stop()


def _event(change: Change, data: Any) -> str:
    text = json.dumps({"number": change.number, "kind": change.kind, "data": data})
    return f"id: {change.number}\nevent: change\ndata: {text}\n\n"


async def _woken(wake: asyncio.Event, ending: asyncio.Event) -> bool:
    waits = [asyncio.create_task(event.wait()) for event in (wake, ending)]
    try:
        done, _ = await asyncio.wait(waits, timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    return bool(done)
