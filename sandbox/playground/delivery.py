"""Send signed requests to the Slack endpoint, as Slack does: events again after a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import httpx

from sandbox.slack.requests import Payload, RetryReason, signed_request

SLACK_WAITS_SECONDS: Final = 3.0
PAUSES: Final = (0.0, 60.0, 300.0)
"""Seconds before Slack delivers an event for the second, third and fourth time."""


@dataclass(frozen=True)
class Delivered:
    """One request and what became of it. ``status`` is None without a response; ``fault`` says why."""

    kind: str
    status: int | None
    fault: str
    seconds: float
    retry: int = 0
    body: Any = None

    @property
    def is_accepted(self) -> bool:
        """True for a 2xx within Slack's time."""
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """Show the request on the page; the response's body is no part of it."""
        shown = asdict(self)
        del shown["body"]
        return {**shown, "seconds": round(self.seconds, 3), "is_accepted": self.is_accepted}


class Delivery:
    """Sender of signed requests to one endpoint.

    Args:
        url: of the endpoint.
        told: called with each request that was sent.
        pauses: seconds before each further delivery of an event.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        http: httpx.AsyncClient,
        told: Callable[[Delivered], None],
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._url = url
        self._secret = secret
        self._http = http
        self._told = told
        self._pauses = pauses
        self._events: set[asyncio.Task[None]] = set()

    async def once(self, payload: Payload) -> Delivered:
        """Send what Slack does not repeat: a click, a form, a command."""
        return await self._send(payload, 0, None)

    def events(self, *payloads: Payload) -> None:
        """Send events in the background, each until it is accepted or was sent four times."""
        for payload in payloads:
            task = asyncio.get_running_loop().create_task(self._until_accepted(payload))
            self._events.add(task)
            task.add_done_callback(self._events.discard)

    async def close(self) -> None:
        """Drop the deliveries that are still to come."""
        for task in tuple(self._events):
            task.cancel()
        await asyncio.gather(*self._events, return_exceptions=True)

    async def _until_accepted(self, payload: Payload) -> None:
        done = await self._send(payload, 0, None)
        for number, pause in enumerate(self._pauses, 1):
            if done.is_accepted:
                return
            await asyncio.sleep(pause)
            done = await self._send(payload, number, _reason(done))

    async def _send(self, payload: Payload, number: int, reason: RetryReason | None) -> Delivered:
        request = signed_request(self._secret, payload)
        if reason:
            request = request.redelivered(number, reason)
        began = time.monotonic()
        status, fault, body = None, "", None
        try:
            answer = await self._http.post(
                self._url,
                content=request.body,
                headers=dict(request.headers),
                timeout=SLACK_WAITS_SECONDS,
            )
            status, body = answer.status_code, _body(answer)
        except httpx.TimeoutException:
            fault = "no response within 3 s"
        except httpx.TransportError as exc:
            fault = f"no response: {type(exc).__name__}"
        done = Delivered(_kind(payload), status, fault, time.monotonic() - began, number, body)
        self._told(done)
        return done


def _reason(done: Delivered) -> RetryReason:
    if done.status is not None:
        return "http_error"
    return "http_timeout" if "within" in done.fault else "connection_failed"


def _kind(payload: Payload) -> str:
    """Name a request for people: ``app_mention``, ``block_actions``, ``/ticket`` and so on."""
    if "command" in payload:
        return str(payload["command"])
    return str(payload["event"]["type"] if "event" in payload else payload["type"])


def _body(answer: httpx.Response) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        return {"text": answer.text}
