"""The parts that receive payloads and reply, for HTTP and Socket Mode alike."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr

from handlers.acting import Acting
from handlers.background import Background
from handlers.bolt import create_bolt_app
from handlers.bot_identity import BotIdentity
from handlers.channel_config import ChannelConfig
from handlers.follow_ups import FollowUps
from handlers.form.flow import FormFlow
from handlers.form.lookups import Lookups
from handlers.form_listeners import FormListeners
from handlers.gate import Gate
from handlers.jira_directory import LookedUp
from handlers.listeners import Listeners
from handlers.members import Members
from handlers.slack_api import SlackApi
from threadsync import AsyncSessionClient
from threadsync.config import Settings

_BEGIN_SECONDS: Final = 0.5
"""Longest wait for auth.test before the first payload."""


class SlackSide:
    """``bolt`` takes payloads at any time; replies are sent inside ``async with``.

    Its end lets replies in flight finish within seconds, and closes the client.
    """

    def __init__(self, settings: Settings, client: AsyncSessionClient) -> None:
        self._client = client
        self.slack = SlackApi(reveal(settings.slack_bot_token), settings.slack_api_url)
        self.background = Background()
        self._identity = BotIdentity(self.slack, self.background, settings)
        follow_ups = FollowUps(self.slack, self.background, client, makes_tickets=bool(settings.jira_url))
        self.gate = Gate(self._identity, follow_ups)
        members = Members(self.slack, self._identity, settings.who_may_act)
        lookups = Lookups(client, self.background)
        form = FormFlow(self.slack, lookups, self._identity)
        config = ChannelConfig(client, LookedUp(lookups), settings.jira_project_key)
        acting = Acting(client, follow_ups, members)
        listeners = (Listeners(acting, settings.jira_url, config), FormListeners(acting, form))
        self.bolt = create_bolt_app(self.slack, self._identity, self.gate, listeners)

    async def __aenter__(self) -> Self:
        await self.slack.open()
        await self._identity.begin(_BEGIN_SECONDS)
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
    """Return a secret's value; empty when it is not set."""
    return secret.get_secret_value() if secret else ""
