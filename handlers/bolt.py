"""The Bolt app: route payloads to listeners, and turn errors into HTTP statuses."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Protocol

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltUnhandledRequestError
from slack_bolt.response import BoltResponse

from handlers.bot_identity import BotIdentity
from handlers.gate import Gate
from handlers.slack_api import SlackApi
from threadsync.errors import EnqueueFailed, InvalidCommand

log = structlog.get_logger(__name__)

NO_RETRY: Final = {"x-slack-no-retry": "1"}
"""Keeps Slack from retrying: the same bytes would fail again."""

# Bolt's own warnings quote payloads.
_bolt_log: Final = logging.getLogger("slack_bolt.threadsync")
_bolt_log.setLevel(logging.ERROR)


class Registers(Protocol):
    """A group of Bolt's listeners."""

    def register(self, app: AsyncApp) -> None:
        """Attach every listener."""


def create_bolt_app(
    slack: SlackApi, identity: BotIdentity, gate: Gate, listeners: Iterable[Registers]
) -> AsyncApp:
    """Build Bolt without its verification: ``SlackEndpoint`` verifies the bytes; Socket Mode needs none."""

    async def authorize(
        enterprise_id: str | None, team_id: str | None, user_id: str | None
    ) -> AuthorizeResult:
        # Replaces Bolt's auth.test, which each event would wait for, and fail with when Slack's API is away.
        bot = identity.current()
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            user_id=user_id,
            bot_token=slack.token,
            bot_user_id=bot.user_id,
            bot_id=bot.bot_id,
        )

    app = AsyncApp(
        # Bolt sets the level of the logger of this name: not of our own loggers' parent.
        name=_bolt_log.name,
        logger=_bolt_log,
        # Otherwise Bolt responds 200 before the listener runs, and an event that cannot be enqueued is lost.
        process_before_response=True,
        raise_error_for_unhandled_request=True,
        request_verification_enabled=False,
        authorize=authorize,
        signing_secret="",
    )
    app.error(_status_of)
    app.middleware(gate.admit)
    for group in listeners:
        group.register(app)
    return app


async def _status_of(error: Exception) -> BoltResponse:
    """Choose the status: 5xx makes Slack deliver an event again; unhandled payloads must not return."""
    match error:
        case BoltUnhandledRequestError():
            return BoltResponse(status=200)
        case EnqueueFailed():
            log.warning("event not enqueued", reason=str(error))
            return BoltResponse(status=503)
        case InvalidCommand():
            log.warning("payload refused", reason=str(error))
            return BoltResponse(status=400, headers={**NO_RETRY})
        case _:
            log.error("listener failed", exc_info=error)
            return BoltResponse(status=500)
