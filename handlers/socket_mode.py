"""Socket Mode, which needs no public address: ``python -m handlers.socket_mode``.

The process connects to Slack with ``SLACK_APP_TOKEN``. Slack redelivers what it does not acknowledge. Its
heartbeat in the broker says for how long Slack is silent; after ``SLACK_SILENCE_SECONDS`` it ends with exit
code 1, so that its supervisor restarts it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Final

import structlog
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.adapter.socket_mode.internals import build_headers
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from handlers.requests import RECEIVED_AT
from handlers.slack_side import SlackSide, reveal
from handlers.socket_client import SocketClient
from threadsync import AsyncSessionClient
from threadsync.config import Settings, get_settings
from threadsync.errors import EnqueueFailed, InvalidSettings
from threadsync.liveness.heartbeats import REPORT_SECONDS
from worker.observe.logs import configure_logging
from worker.observe.tracing import start_tracing

log = structlog.get_logger(__name__)

_SERVICE: Final = "socket-mode"
_PING_SECONDS: Final = 10
_NAME: Final = f"{socket.gethostname()}:{os.getpid()}"

# At DEBUG the client logs what it receives.
_socket_log = logging.getLogger("slack_sdk.threadsync.socket_mode")
_socket_log.setLevel(logging.INFO)


async def run(settings: Settings, stop: asyncio.Event) -> bool:
    """Handle payloads from the socket until ``stop``; reconnect as needed.

    Return False if it ended because Slack was silent for too long.
    """
    settings.require("slack_app_token", "slack_bot_token", "broker_url")
    client = AsyncSessionClient(settings.broker_url, settings.result_backend_url)
    async with SlackSide(settings, client) as side:
        listening = SocketClient(
            reveal(settings.slack_app_token), _socket_log, side.slack.web, ping_interval=_PING_SECONDS
        )

        async def handle(socket: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
            began = time.time()
            answer = await dispatch(side.bolt, request, began)
            await send_async_response(socket, request, answer, began)

        listening.socket_mode_request_listeners.append(handle)
        # Connecting may take forever, and must not block a stop.
        connecting = asyncio.create_task(listening.connect())
        reporting = asyncio.create_task(_report(client, listening))
        try:
            return await _watch(listening, stop, settings.slack_silence_seconds)
        finally:
            log.info("socket mode stops")
            for task in (connecting, reporting):
                task.cancel()
            await asyncio.gather(connecting, reporting, return_exceptions=True)
            await listening.close()
            with suppress(EnqueueFailed):
                await client.tell_socket(_NAME, None)


async def dispatch(bolt: AsyncApp, request: SocketModeRequest, received_at: float) -> BoltResponse:
    """Pass a payload to Bolt, with its time of receipt: Bolt's middleware may take a second."""
    headers = {**(build_headers(request) or {}), RECEIVED_AT: f"{received_at:.6f}"}
    return await bolt.async_dispatch(
        AsyncBoltRequest(mode="socket_mode", body=request.payload, headers=headers)
    )


async def _watch(listening: SocketClient, stop: asyncio.Event, most_silence: float) -> bool:
    """Wait for ``stop`` and return True; return False once Slack has been silent for too long."""
    while not stop.is_set():
        left = most_silence - listening.silence
        if left <= 0:
            log.error("nothing came from slack; ending", seconds=round(listening.silence))
            return False
        try:
            async with asyncio.timeout(left):
                await stop.wait()
        except TimeoutError:
            continue
    return True


async def _report(client: AsyncSessionClient, listening: SocketClient) -> None:
    while True:
        try:
            await client.tell_socket(_NAME, listening.silence)
        except EnqueueFailed as exc:
            # Others report that the broker is away.
            log.debug("silence not reported", reason=str(exc))
        await asyncio.sleep(REPORT_SECONDS)


async def _run_until_signal(settings: Settings) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await run(settings, stop)


def main() -> int:
    """Run until SIGTERM or Ctrl-C. Return 0; 1 for bad settings, or when Slack was silent for too long."""
    try:
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        start_tracing(settings, _SERVICE)
        return 0 if asyncio.run(_run_until_signal(settings)) else 1
    except InvalidSettings as exc:
        sys.stderr.write(f"{exc}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
