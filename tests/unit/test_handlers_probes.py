"""Cost of readiness probes: the same however many clients ask."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.requests import Request

from handlers.probes import Probes
from tests.support.slack_app import RecordingClient
from threadsync.liveness.state import Heartbeats

ASKED = Request({"type": "http", "headers": []})


class CountingClient(RecordingClient):
    """A client that counts its looks, and responds when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def heartbeats(self) -> Heartbeats | None:
        self.looks += 1
        await self.may_answer.wait()
        return await super().heartbeats()


async def test_all_who_ask_within_a_second_share_a_look() -> None:
    """All probes within a second share one look; a later probe takes another and reports changes."""
    now = 0.0
    client = CountingClient()
    probes = Probes(client, monotonic=lambda: now)
    client.may_answer.clear()
    asking = [asyncio.create_task(probes.readiness(ASKED)) for _ in range(200)]
    await asyncio.sleep(0)
    client.may_answer.set()
    assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
    now = 0.9
    client.down = True
    assert (await probes.readiness(ASKED)).status_code == 200
    assert client.looks == 1
    now = 1.0
    assert (await probes.readiness(ASKED)).status_code == 503
    assert client.looks == 2


async def test_one_that_hangs_up_takes_no_answer_from_the_others() -> None:
    """A probe that hangs up does not end the look that others wait for."""
    client = CountingClient()
    probes = Probes(client)
    client.may_answer.clear()
    first, second = (asyncio.create_task(probes.readiness(ASKED)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    client.may_answer.set()
    assert (await second).status_code == 200
    assert client.looks == 1


async def test_a_look_that_takes_long_is_still_one() -> None:
    """A look that takes long is shared by all who ask meanwhile."""
    now = 0.0
    client = CountingClient()
    probes = Probes(client, monotonic=lambda: now)
    client.may_answer.clear()
    first = asyncio.create_task(probes.readiness(ASKED))
    await asyncio.sleep(0)
    now = 5.0
    second = asyncio.create_task(probes.readiness(ASKED))
    await asyncio.sleep(0)
    client.may_answer.set()
    assert [(await first).status_code, (await second).status_code] == [200, 200]
    assert client.looks == 1
