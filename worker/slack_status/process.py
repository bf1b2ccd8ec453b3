"""This process's announcer: made on first use, so always after a fork, and kept."""

from __future__ import annotations

from functools import lru_cache

from worker.config import get_settings
from worker.db.status_store import StatusStore
from worker.db.sync_store import SyncStore
from worker.slack_status.announcer import Announcer
from worker.slack_status.connection import Connection


@lru_cache(maxsize=1)
def announcer_of_this_process() -> Announcer | None:
    """None when the settings have no token for Slack."""
    settings = get_settings()
    if settings.slack_bot_token is None or not settings.is_in_slack:
        return None
    connection = Connection(settings.slack_bot_token.get_secret_value(), settings.slack_api_url)
    return Announcer(StatusStore(), SyncStore(), connection, settings.jira_url)
