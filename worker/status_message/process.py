"""The announcer of this process: made on first use, so always after a fork, and kept."""

from __future__ import annotations

from functools import lru_cache

from threadsync.config import get_settings
from worker.db.status_messages.store import StatusStore
from worker.db.syncs.store import SyncStore
from worker.status_message.announcer import Announcer
from worker.status_message.web_api import WebApi


@lru_cache(maxsize=1)
def announcer_of_this_process() -> Announcer | None:
    """Return the announcer; None when the settings have no token for Slack."""
    settings = get_settings()
    if settings.slack_bot_token is None or not settings.is_in_slack:
        return None
    connection = WebApi(settings.slack_bot_token.get_secret_value(), settings.slack_api_url)
    return Announcer(StatusStore(), SyncStore(), connection, settings.jira_url)
