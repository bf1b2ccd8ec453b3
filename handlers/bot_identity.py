"""The app's identity in Slack: its bot, and the workspace and app that payloads must name."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from handlers.background import Background
from handlers.slack_api import TROUBLE, SlackApi, describe_failure
from threadsync.config import Settings

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 30
USERS_READ: Final = "users:read"


@dataclass(frozen=True)
class Identity:
    """The result of auth.test, overridden by the settings. None: not known.

    ``is_told`` is false until the workspace is known. ``scopes`` are those of the token.
    """

    user_id: str | None = None
    bot_id: str | None = None
    team_id: str | None = None
    enterprise_id: str | None = None
    app_id: str | None = None
    scopes: frozenset[str] = frozenset()

    @property
    def is_told(self) -> bool:
        return self.team_id is not None

    @property
    def is_of_organisation(self) -> bool:
        """Return True if an organisation installed the app: its id replaces the workspace's."""
        return (self.team_id or "").startswith("E")


class BotIdentity:
    """Call auth.test in the background. Until its result our own messages are known by ``bot_id``.

    Args:
        settings: may name the workspace or the app. Without a token
            (``threadsync up``) there is no workspace to compare with: ``is_pinned`` is false.
    """

    def __init__(self, slack: SlackApi, background: Background, settings: Settings) -> None:
        self._slack = slack
        self._background = background
        self.is_pinned = settings.is_in_slack or settings.slack_team_id is not None
        self._identity = Identity(
            team_id=settings.slack_team_id, app_id=settings.slack_app_id or settings.app_of_token
        )
        self._is_in_slack = settings.is_in_slack
        self._pause = _FIRST_PAUSE_SECONDS
        self._ask_at = 0.0
        self._is_answered = asyncio.Event()
        self._is_tried = asyncio.Event()

    def current(self) -> Identity:
        """Return the known identity; while it is incomplete, ask again, at most once a minute."""
        if self._is_in_slack and not self._is_answered.is_set() and time.monotonic() >= self._ask_at:
            # Not again while a call is running, nor right after it.
            self._ask_at = time.monotonic() + _PATIENCE_SECONDS + self._pause
            self._background.start(self._ask(), "auth.test")
        return self._identity

    async def told(self, within: float) -> Identity:
        """Return the identity; wait ``within`` seconds for the first result if the workspace is not known."""
        if not self.current().is_told:
            await _until(self._is_answered, within)
        return self._identity

    async def begin(self, within: float) -> None:
        """Ask once, and wait ``within`` seconds for the result.

        Also if the settings name the workspace: scopes decide whether guests are recognised.
        """
        self.current()
        if self._is_in_slack:
            await _until(self._is_tried, within)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._slack.web.auth_test()
                identity = self._merged(answer, _scopes(answer.headers))
        except TROUBLE as exc:
            self._ask_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._is_tried.set()
            log.warning("slack identity unknown", error=describe_failure(exc))
            return
        self._identity = identity
        self._is_tried.set()
        if identity.team_id is not None:
            self._is_answered.set()
        log.info(
            "slack identity known",
            user_id=identity.user_id,
            bot_id=identity.bot_id,
            team_id=identity.team_id,
            app_id=identity.app_id,
        )
        if identity.app_id is None and USERS_READ in identity.scopes and identity.bot_id:
            await self._ask_for_app(identity.bot_id)

    async def _ask_for_app(self, bot_id: str) -> None:
        """Ask for the app's id. Nothing waits for it, as the signing secret belongs to one app already."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._slack.web.bots_info(bot=bot_id)
        except TROUBLE as exc:
            log.warning("slack app unknown", error=describe_failure(exc))
            return
        bot = answer.get("bot")
        app_id = _text(bot, "app_id") if isinstance(bot, dict) else None
        self._identity = Identity(**{**vars(self._identity), "app_id": app_id})
        log.info("slack app known", app_id=app_id)

    def _merged(self, answer: Any, scopes: frozenset[str]) -> Identity:
        known = self._identity
        told = _text(answer, "team_id")
        if known.team_id and told not in (None, known.team_id, _text(answer, "enterprise_id")):
            log.error("SLACK_TEAM_ID is another workspace than the token's", of_the_token=told)
        return Identity(
            user_id=_text(answer, "user_id"),
            bot_id=_text(answer, "bot_id"),
            team_id=known.team_id or told,
            enterprise_id=_text(answer, "enterprise_id"),
            app_id=known.app_id,
            scopes=scopes,
        )


async def _until(event: asyncio.Event, within: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()


def _scopes(headers: Any) -> frozenset[str]:
    told = next((value for name, value in (headers or {}).items() if name.lower() == "x-oauth-scopes"), "")
    return frozenset(scope.strip() for scope in str(told).split(",") if scope.strip())


def _text(answer: Any, name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) and value else None
