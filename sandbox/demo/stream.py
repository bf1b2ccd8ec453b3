"""Send a story to the real endpoint as Slack does: concurrently, signed, and again after a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx

from sandbox.demo.story import Step
from sandbox.slack.requests import signed_request

_AT_ONCE: Final = 12
_SLACK_WAITS_SECONDS: Final = 3.0
_TRIES: Final = 4  # Slack sends an event again three times


@dataclass
class Tally:
    """Counts of the requests sent and redelivered, their seconds, and the failures."""

    requests: int = 0
    redelivered: int = 0
    doubles: int = 0
    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def send(
    steps: Sequence[Step], url: str, secret: str, on_answer: Callable[[], None], tally: Tally
) -> None:
    """Send every step to ``url``; call ``on_answer`` after each."""
    limit = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(timeout=_SLACK_WAITS_SECONDS) as http:

        async def one(step: Step) -> None:
            try:
                await _deliver(http, url, secret, step, tally)
            finally:
                limit.release()
            on_answer()

        async with asyncio.TaskGroup() as group:
            for step in steps:
                # Before the task is made, so that steps start in their order.
                await limit.acquire()
                group.create_task(one(step))


async def _deliver(http: httpx.AsyncClient, url: str, secret: str, step: Step, tally: Tally) -> None:
    tally.doubles += step.is_double
    for number in range(step.redelivery, step.redelivery + (_TRIES if step.is_event else 1)):
        request = signed_request(secret, step.payload)
        if number:
            request = request.redelivered(min(number, 3))
            tally.redelivered += 1
        tally.requests += 1
        began = time.monotonic()
        try:
            answer = await http.post(url, content=request.body, headers=dict(request.headers))
            fault = "" if answer.is_success else f"status {answer.status_code}"
        except httpx.TransportError as exc:
            fault = type(exc).__name__
        tally.seconds.append(time.monotonic() - began)
        if not fault:
            return
    tally.refused.append(fault)
