"""Who we are in Slack, so that our own messages are not taken for a user's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import structlog

from handlers.background import Background
from handlers.slack_api import TROUBLE, SlackApi, describe_failure

log = structlog.get_logger(__name__)

_ASK_AGAIN_SECONDS: Final = 60
_PATIENCE_SECONDS: Final = 30


@dataclass(frozen=True)
class Bot:
    """Our two ids: as a user, and as an author of messages."""

    user_id: str | None
    bot_id: str | None


class BotIdentity:
    """One call of auth.test, in the background: no event waits for it, and none fails with it.

    Until the answer is there our own messages are still known by the ``bot_id`` that they carry.
    """

    def __init__(self, slack: SlackApi, background: Background) -> None:
        self._slack = slack
        self._background = background
        self._bot: Bot | None = None
        self._ask_at = 0.0

    def current(self) -> Bot:
        """Our ids, or what is known of them; asks when nothing is known, at most once a minute."""
        if self._bot is None and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS
            self._background.start(self._ask(), "auth.test")
        return self._bot or Bot(None, None)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._slack.web.auth_test()
        except TROUBLE as exc:
            log.warning("slack identity unknown", error=describe_failure(exc))
            return
        self._bot = Bot(answer.get("user_id"), answer.get("bot_id"))
        log.info("slack identity known", user_id=self._bot.user_id, bot_id=self._bot.bot_id)
