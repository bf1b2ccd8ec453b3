"""Bodies in flight: their number, size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from handlers.body_gate import MAX_BODY_BYTES, SMALL_BYTES, BodyGate, BodyRefused

LARGE = {"content-length": str(SMALL_BYTES + 1)}
SMALL = {"content-length": str(SMALL_BYTES)}
CHUNKED = {"transfer-encoding": "chunked"}


class Clock:
    """A monotonic clock that stands."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sender:
    """A client that sends only when it is told to."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.asked = 0
        self._pieces: asyncio.Queue[Message] = asyncio.Queue()
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "headers": pairs}, self._receive)

    def send(self, piece: bytes, *, more: bool = False) -> None:
        self._pieces.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def hang_up(self) -> None:
        self._pieces.put_nowait({"type": "http.disconnect"})

    async def _receive(self) -> Message:
        self.asked += 1
        return await self._pieces.get()


async def begun(gate: BodyGate, sender: Sender) -> asyncio.Task[bytes]:
    task = asyncio.create_task(gate.read(sender.request))
    while not sender.asked and not task.done():  # noqa: ASYNC110 - what it waits for sets no event
        await asyncio.sleep(0)
    return task


async def status_of(task: asyncio.Task[bytes]) -> int:
    with pytest.raises(BodyRefused) as caught:
        await task
    return caught.value.status


@pytest.mark.parametrize("headers", [SMALL, LARGE, CHUNKED, {}])
async def test_a_body_is_read_whole(headers: dict[str, str]) -> None:
    """A body is read whole, in pieces, with or without an announced length."""
    sender = Sender(headers)
    task = await begun(BodyGate(), sender)
    sender.send(b"one ", more=True)
    sender.send(b"two")
    assert await task == b"one two"


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 400, "-1", "1e3", "\u00b2", ""])
async def test_a_length_beyond_the_limit_is_not_read(length: str) -> None:
    """A body whose announced length is too large or no number is not read."""
    request = Request({"type": "http", "headers": [(b"content-length", length.encode("latin-1"))]})
    with pytest.raises(BodyRefused) as caught:
        await BodyGate().read(request)
    assert caught.value.status == 413


async def test_a_body_without_a_length_is_read_up_to_the_limit() -> None:
    """A body without a length is read up to the limit, and no further."""
    sender = Sender(CHUNKED)
    task = await begun(BodyGate(), sender)
    for _ in range(MAX_BODY_BYTES // 65_536 + 5):
        sender.send(b"x" * 65_536, more=True)
    assert await status_of(task) == 413
    assert sender.asked == MAX_BODY_BYTES // 65_536 + 1


@pytest.mark.parametrize("headers", [LARGE, CHUNKED])
async def test_so_many_large_bodies_at_once(headers: dict[str, str]) -> None:
    """A large body without a place gets a 503 unread; a small one needs none, and an end makes room."""
    gate = BodyGate(2, Clock())
    senders = [Sender(headers) for _ in range(2)]
    tasks = [await begun(gate, sender) for sender in senders]
    late = Sender(headers)
    assert await status_of(await begun(gate, late)) == 503
    assert late.asked == 0
    small = Sender(SMALL)
    small.send(b"{}")
    assert await gate.read(small.request) == b"{}"
    for sender in senders:
        sender.send(b"done")
    assert await asyncio.gather(*tasks) == [b"done", b"done"]
    late.send(b"now")
    assert await gate.read(late.request) == b"now"


async def test_a_slow_body_gives_up_its_place() -> None:
    """A slow body gives up its place after a second if another waits for it; the others go on."""
    clock = Clock()
    gate = BodyGate(2, clock)
    slow, other, late = (Sender(LARGE) for _ in range(3))
    first = await begun(gate, slow)
    clock.now = 0.9
    second = await begun(gate, other)
    clock.now = 1.1
    third = await begun(gate, late)
    assert await status_of(first) == 408
    other.send(b"other")
    late.send(b"late")
    assert (await second, await third) == (b"other", b"late")


async def test_a_body_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not end gets a 408, and one whose client hangs up a 400."""
    monkeypatch.setattr("handlers.body_gate.BODY_SECONDS", 0.05)
    gate: Any = BodyGate(1)
    for headers in (SMALL, LARGE, CHUNKED):
        assert await status_of(await begun(gate, Sender(headers))) == 408
        sender = Sender(headers)
        sender.hang_up()
        assert await status_of(await begun(gate, sender)) == 400
