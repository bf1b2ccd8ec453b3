"""Fairness of the queue at the console's door: a crowd keeps out only itself."""

from __future__ import annotations

import asyncio

import pytest

from console.door import Door, FairQueue

PASSWORD = "pälindromes-of-42-ostriches"


async def stays() -> bool:
    return False


async def has_left() -> bool:
    return True


class Queue:
    """Attempts that wait, with the order in which they were granted. No time passes before ``ends``."""

    def __init__(self, most: int = 100) -> None:
        self.queue = FairQueue(3600, most)
        self.granted: list[str] = []
        self.sent_away: list[str] = []
        self.tries: list[asyncio.Task[None]] = []

    async def comes(self, *names: str) -> None:
        """Add attempts; the line of each is its name without its number."""
        for name in names:
            self.tries.append(asyncio.create_task(self._try(name)))
            await asyncio.sleep(0)

    async def ends(self) -> list[str]:
        self.queue._seconds = 0
        self.queue._admit()
        return await self.ends_by_itself()

    async def ends_by_itself(self) -> list[str]:
        await asyncio.wait_for(asyncio.gather(*self.tries), 20)
        return self.granted

    async def _try(self, name: str) -> None:
        granted = await self.queue.wait(name.rstrip("0123456789"), has_left if "gone" in name else stays)
        (self.granted if granted else self.sent_away).append(name)


async def test_the_first_does_not_wait() -> None:
    """The first attempt does not wait, however long the pause between two attempts is."""
    queue = Queue()
    await queue.comes("a1")
    assert await queue.ends_by_itself() == ["a1"]


async def test_who_came_first_is_first() -> None:
    """Attempts are granted in the order in which they came, whatever their line."""
    queue = Queue()
    names = [*(f"crowd{number}" for number in range(1, 31)), "ada1", "bob1", "crowd31", "ada2"]
    await queue.comes(*names)
    assert await queue.ends() == names


async def test_where_there_is_no_room_the_longest_line_loses_its_last() -> None:
    """A full queue sends away the last attempt of the longest line, so a crowd keeps out only itself."""
    queue = Queue(most=10)
    await queue.comes(*(f"crowd{number}" for number in range(1, 16)))
    assert queue.queue.waiting == 10
    await queue.comes("ada1")
    assert queue.queue.waiting == 10
    assert "ada1" in await queue.ends()
    assert queue.sent_away == ["crowd12", "crowd13", "crowd14", "crowd15", "crowd11"]
    assert queue.queue.waiting == 0


async def test_those_who_left_take_no_turn() -> None:
    """Attempts whose client has left are passed over at once, without a pause."""
    queue = Queue()
    await queue.comes(*(f"gone{number}" for number in range(1, 90)), "ada1")
    assert await queue.ends_by_itself() == ["ada1"]
    assert len(queue.sent_away) == 89


async def test_one_that_is_cancelled_is_forgotten() -> None:
    """A cancelled attempt takes no place in the queue."""
    queue = Queue()
    await queue.comes("a1", "b1")
    assert queue.queue.waiting == 1
    queue.tries[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await queue.tries[1]
    assert queue.queue.waiting == 0


@pytest.mark.parametrize(
    ("password", "opens"),
    [
        (PASSWORD, True),
        # With a combining diaeresis, as some keyboards send it.
        ("pa\u0308lindromes-of-42-ostriches", True),
        (f" {PASSWORD}\n", True),
        (PASSWORD.upper(), False),
        (PASSWORD[:-1], False),
        (PASSWORD + "\x00", False),
        ("", False),
        ("\ud800", False),
        ("ä" * 100_000, False),
    ],
)
async def test_passwords(password: str, opens: bool) -> None:
    """A password opens the door however its characters were composed, and no other text does."""
    assert await Door(PASSWORD).opens(password, "192.0.2.1", stays) is opens


async def test_neighbours_of_an_ipv6_network_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours in an IPv6 network share a line, and IPv4 within IPv6 is the IPv4 address."""
    lines: list[str] = []

    async def wait(self: FairQueue, line: str, has_left: object) -> bool:
        lines.append(line)
        return True

    monkeypatch.setattr(FairQueue, "wait", wait)
    door = Door(PASSWORD)
    for address in (
        "2001:db8::1",
        "2001:db8::ffff",
        "2001:db8:0:1::1",
        "192.0.2.1",
        "::ffff:192.0.2.1",
        None,
    ):
        await door.opens("x", address, stays)
    assert lines == ["2001:db8::/64", "2001:db8::/64", "2001:db8:0:1::/64", "192.0.2.1", "192.0.2.1", "None"]
