"""Socket Mode's connection: slack_sdk's client, with a new address for each attempt, and a silence timer.

slack_sdk asks Slack for an address once, and retries it forever when the WebSocket is refused; an address
works for seconds. It also measures by the wall clock, and does not report silence.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import WSMsgType
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from handlers.slack_api import TROUBLE, describe_failure

log = structlog.get_logger(__name__)

_ATTEMPT_SECONDS: Final = 15
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
"""Longest pause: ``apps.connections.open`` may be asked a few times a minute."""

_LONGEST_THROTTLE_SECONDS: Final = 60.0
_HEARD: Final = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)


class SocketClient(SocketModeClient):
    """The client. Its ``silence`` is for a watchdog."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heard_at = time.monotonic()
        self._first_session = self.aiohttp_client_session

    @property
    def silence(self) -> float:
        """Return the seconds since anything came from Slack: an event, a ping or a pong."""
        return time.monotonic() - self._heard_at

    def heard(self) -> None:
        """Reset the silence."""
        self._heard_at = time.monotonic()

    async def connect(self) -> None:
        """Connect until a session is open or the client is closed; each attempt has a new address."""
        pause = _FIRST_PAUSE_SECONDS
        while not self.closed:
            try:
                async with asyncio.timeout(_ATTEMPT_SECONDS):
                    await self._abandon()
                    await self._open(await self._new_address())
            except _Throttled as exc:
                log.warning("slack gives no address yet", seconds=exc.seconds)
                await asyncio.sleep(exc.seconds)
            except TROUBLE as exc:
                # Its text may have the address, which is a secret.
                log.warning("Failed to connect", error=_describe(exc), seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Reconnect, unless that was done meanwhile."""
        async with self.connect_operation_lock:
            if force or not await self.is_connected():
                await self.connect()

    async def close(self) -> None:
        """End the session, and a second one that slack_sdk may have opened in vain."""
        await super().close()  # type: ignore[no-untyped-call]
        await self._first_session.close()

    async def _new_address(self) -> str:
        try:
            answer = await self.web_client.apps_connections_open(app_token=self.app_token)
        except SlackApiError as exc:
            if describe_failure(exc) == "ratelimited":
                raise _Throttled(_seconds(exc.response.headers.get("Retry-After"))) from exc
            raise
        return str(answer["url"])

    async def _abandon(self) -> None:
        """Close the old session first: Slack counts how many are open."""
        self.auto_reconnect_enabled = False
        if self.current_session is not None:
            with suppress(aiohttp.ClientError, OSError):
                await self.current_session.close()

    async def _open(self, url: str) -> None:
        if self.aiohttp_client_session is self._first_session or self.aiohttp_client_session.closed:
            self.aiohttp_client_session = aiohttp.ClientSession(
                ws_response_class=_response_class(self),
                timeout=aiohttp.ClientTimeout(total=None, connect=_ATTEMPT_SECONDS),
            )
        session = await self.aiohttp_client_session.ws_connect(
            url,
            autoping=False,
            heartbeat=self.ping_interval,
            proxy=self.proxy,
            ssl=self.web_client.ssl if self.web_client.ssl is not None else True,
        )
        self.wss_uri = url
        self.current_session = session
        self.auto_reconnect_enabled = self.default_auto_reconnect_enabled
        self.stale = False
        self.last_ping_pong_time = None
        log.info("socket is open")
        await session.ping(f"sdk-ping-pong:{time.time()}".encode())
        for task in (self.current_session_monitor, self.message_receiver):
            if task is not None:
                task.cancel()
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())
        self.message_receiver = asyncio.ensure_future(self.receive_messages())


class _Throttled(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _seconds(text: str | None) -> float:
    told = float(text) if text is not None and text.isascii() and text.isdecimal() else 30.0
    return min(max(told, 1.0), _LONGEST_THROTTLE_SECONDS)


def _describe(exc: Exception) -> str:
    return f"HTTP {exc.status}" if isinstance(exc, aiohttp.WSServerHandshakeError) else describe_failure(exc)


def _response_class(client: SocketClient) -> type[aiohttp.ClientWebSocketResponse]:
    """Make a WebSocket class that reports messages to the client."""

    class Reporting(aiohttp.ClientWebSocketResponse):
        async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:  # noqa: ASYNC109 - aiohttp's
            message = await super().receive(timeout)
            if message.type in _HEARD:
                client.heard()
            return message

    return Reporting
