"""The reading of Slack in this process: made on first use, so always after a fork, and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from threadsync.config import Settings, get_settings
from worker.jira.setup import Clock
from worker.status_message.web_api import WebApi
from worker.thread.lookup import Names
from worker.thread.slack import Access, Calls, SlackReader


@dataclass(frozen=True, slots=True)
class SlackSide:
    """Connection to Slack, and the names that were looked up. Without a token there is no connection."""

    calls: Calls | None
    access: Access
    names: Names = field(default_factory=Names)

    def reader(self, clock: Clock) -> SlackReader | None:
        """Return a reader for one claim; None without a token."""
        return SlackReader(self.calls, self.access, clock.monotonic) if self.calls else None


@lru_cache(maxsize=1)
def slack_of_this_process() -> SlackSide:
    """Return what the settings name."""
    settings = get_settings()
    token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else ""
    return SlackSide(web_api_of(settings), Access(token, settings.slack_api_url))


def web_api_of(settings: Settings, timeout: float = 10.0) -> WebApi | None:
    """Return a client of Slack's Web API; None without a token, or with the local one.

    Args:
        timeout: of a whole call, in seconds.
    """
    token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else ""
    return WebApi(token, settings.slack_api_url, timeout) if token and settings.is_in_slack else None
