"""Background work of the web process, which outlasts its request."""

from __future__ import annotations

import asyncio

import structlog

from handlers.background import LIMITS, Background


async def test_work_in_flight_may_finish() -> None:
    """`close` waits for work in flight, within its grace."""
    background, done = Background(), []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    background.start(work(), "work")
    await background.close()
    assert done == [1]
    assert len(background) == 0


async def test_work_that_takes_too_long_is_cancelled() -> None:
    """Work that outlasts the grace of `close` is cancelled."""
    background = Background()
    background.start(asyncio.Event().wait(), "work")  # type: ignore[arg-type]
    await background.close(grace=0.01)
    assert len(background) == 0


async def test_too_much_work_is_dropped_and_logged() -> None:
    """Work beyond the limit is dropped and logged, so that it does not fill the memory."""
    background = Background({**LIMITS, "ours": (2, 2)})
    with structlog.testing.capture_logs() as logs:
        begun = [background.start(asyncio.Event().wait(), "work") for _ in range(3)]  # type: ignore[arg-type]
    assert begun == [True, True, False]
    assert len(background) == 2
    assert [item["event"] for item in logs] == ["background work dropped"]
    await background.close(grace=0)


async def test_a_failure_is_logged_and_no_more() -> None:
    """A failure of background work is logged, and reaches neither the request nor other work."""
    background = Background()

    async def fail() -> None:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as logs:
        background.start(fail(), "work")
        await background.close()
    assert [item["event"] for item in logs] == ["background work failed"]


async def test_one_user_takes_no_other_users_place() -> None:
    """One user has a bounded share of a room; finished work makes room, and no user is remembered."""
    background = Background({**LIMITS, "clicks": (5, 2)})
    over = asyncio.Event()

    def click(user: str) -> bool:
        return background.start(over.wait(), "work", "clicks", user)  # type: ignore[arg-type]

    assert [click("U1") for _ in range(4)] == [True, True, False, False]
    assert [click("U2"), click("U2"), click("U3")] == [True, True, True]
    assert click("U4") is False, "the room is full"
    assert background.has_place("events", "U1")
    over.set()
    await background.close()
    assert background.has_place("clicks", "U1")
    assert not background._count
