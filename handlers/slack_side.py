"""All that listens to Slack and talks back, whichever way the payloads come in."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from pydantic import SecretStr

from handlers.background import Background
from handlers.bolt import create_bolt_app
from handlers.bot_identity import BotIdentity
from handlers.follow_ups import FollowUps
from handlers.listeners import Listeners
from handlers.slack_api import SlackApi
from tasks.client import AsyncSessionClient
from worker.config import Settings


class SlackSide:
    """``bolt`` takes payloads at any time; replies go out between ``async with`` and its end.

    The end lets replies in flight finish, within seconds, and closes the client too.
    """

    def __init__(self, settings: Settings, client: AsyncSessionClient) -> None:
        self._client = client
        self.slack = SlackApi(reveal(settings.slack_bot_token), settings.slack_api_url)
        self.background = Background()
        identity = BotIdentity(self.slack, self.background)
        follow_ups = FollowUps(self.slack, self.background, client, makes_tickets=bool(settings.jira_url))
        self.bolt = create_bolt_app(self.slack, identity, Listeners(client, follow_ups, settings.jira_url))

    async def __aenter__(self) -> Self:
        await self.slack.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.background.close()
        finally:
            await self.slack.close()
            await self._client.close()


def reveal(secret: SecretStr | None) -> str:
    """A secret's value; empty when it is not set, which ``Settings.require`` rules out beforehand."""
    return secret.get_secret_value() if secret else ""
