"""Work that nobody waits for."""

from __future__ import annotations

import asyncio

import structlog

from handlers.background import Background


async def test_work_in_flight_may_finish() -> None:
    """`close` waits for it, within its grace."""
    background, done = Background(), []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    background.start(work(), "work")
    await background.close()
    assert done == [1]
    assert len(background) == 0


async def test_work_that_takes_too_long_is_cancelled() -> None:
    """Nothing runs after `close`."""
    background = Background()
    background.start(asyncio.Event().wait(), "work")  # type: ignore[arg-type]
    await background.close(grace=0.01)
    assert len(background) == 0


async def test_too_much_work_is_dropped_and_logged() -> None:
    """A worker that is away must not fill our memory."""
    background = Background(most_at_once=2)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            background.start(asyncio.Event().wait(), "work")  # type: ignore[arg-type]
    assert len(background) == 2
    assert [item["event"] for item in logs] == ["background work dropped"]
    await background.close(grace=0)


async def test_a_failure_is_logged_and_no_more() -> None:
    """Neither the request nor other work hears of it."""
    background = Background()

    async def fail() -> None:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as logs:
        background.start(fail(), "work")
        await background.close()
    assert [item["event"] for item in logs] == ["background work failed"]
