"""Socket Mode, the way in without a public address: ``python -m handlers.socket_mode``.

The process dials out to Slack with ``SLACK_APP_TOKEN``. What it does not acknowledge, Slack delivers again.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler

from handlers.slack_side import SlackSide, reveal
from tasks.client import AsyncSessionClient
from worker.config import Settings, get_settings
from worker.errors import InvalidSettings
from worker.logs import configure_logging

log = structlog.get_logger(__name__)

# At DEBUG the client logs what it receives.
_socket_log = logging.getLogger("slack_sdk.threadsync.socket_mode")
_socket_log.setLevel(logging.INFO)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Handle what comes over the socket until ``stop``; reconnects by itself."""
    settings.require("slack_app_token", "slack_bot_token", "broker_url")
    client = AsyncSessionClient(settings.broker_url, settings.result_backend_url)
    async with SlackSide(settings, client) as side:
        handler = AsyncSocketModeHandler(
            side.bolt,
            reveal(settings.slack_app_token),
            logger=_socket_log,
            web_client=side.slack.web,
        )
        # Connecting goes on until Slack answers, so it must not keep us from stopping.
        connecting = asyncio.create_task(handler.connect_async())  # type: ignore[no-untyped-call]
        try:
            await stop.wait()
        finally:
            log.info("socket mode stops")
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await handler.close_async()  # type: ignore[no-untyped-call]


async def _run_until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> int:
    """Run until SIGTERM or Ctrl-C; the exit code is 0 then, 1 when the settings are not usable."""
    try:
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        asyncio.run(_run_until_signal(settings))
    except InvalidSettings as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
