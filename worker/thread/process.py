"""The reading of Slack in this process: made on first use, so always after a fork, and kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

from threadsync.config import get_settings
from worker.jira.setup import LOOKUP_SECONDS, Clock, Setup, setup_of_this_process
from worker.status_message.web_api import web_api_of
from worker.thread.lookup import Names
from worker.thread.requesters import Requesters
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


@lru_cache(maxsize=1)
def slack_for_lookups() -> Calls | None:
    """Return a client of Slack for questions that somebody waits for; None without a token."""
    return web_api_of(get_settings(), LOOKUP_SECONDS)


@lru_cache(maxsize=1)
def syncing_setup_of_this_process() -> Setup | None:
    """Return the dependencies of syncs, which name the person who asked; None without a Jira."""
    setup = setup_of_this_process()
    if setup is None:
        return None
    people = Requesters(setup, slack_for_lookups())
    return replace(setup, account_of=people.account_of, name_of=people.name_of)
