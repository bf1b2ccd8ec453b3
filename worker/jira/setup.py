"""Dependencies of a sync's steps: the Jira that the settings name, the store, and a clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from threadsync.config import Settings, get_settings
from threadsync.marker import site_of
from worker.db.syncs.store import SyncStore
from worker.jira.answers import JiraAccount, OAuthClient
from worker.jira.client import JiraClient

LOOKUP_SECONDS: Final = 2.5
"""Longest time for which a step waits for Slack to tell who a person is."""


class Clock(Protocol):
    """Time as this process measures it; the module ``time`` is one."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A Jira, and the defaults of its tickets.

    Args:
        settle: seconds after a create's deadline within which its ticket may still come to light.
        at_once: most creates of one project in flight.
        names_requester: tickets name the person who asked as their reporter.
    """

    account: JiraAccount
    site: str
    project_key: str | None
    issue_type: str
    settle: float
    at_once: int
    names_requester: bool = False


def of_nobody(user_id: str) -> str | None:
    """Know nothing of a Slack user, as a worker that cannot look people up."""
    return None


@dataclass(frozen=True, slots=True)
class Setup:
    """Dependencies of a step.

    Args:
        jitter: returns 0 to 1, another number each time.
        account_of: returns the one Jira account of a Slack user: its id, or its name on Data Center; None
            where there is none or it cannot be found out now. May raise ``CallFailed``.
        name_of: returns the name of a Slack user; None where Slack tells none, or none now.
    """

    store: SyncStore
    jira: JiraClient
    target: Target
    jitter: Callable[[], float] = random.random
    clock: Clock = time
    account_of: Callable[[str], str | None] = of_nobody
    name_of: Callable[[str], str | None] = of_nobody


@lru_cache(maxsize=1)
def setup_of_this_process() -> Setup | None:
    """Connect to Jira on first use, so always after a fork; None when the settings name no Jira."""
    target = target_of(get_settings())
    return Setup(SyncStore(), JiraClient(target.account), target) if target else None


def target_of(settings: Settings) -> Target | None:
    """Read the target from the settings; None when they name no Jira."""
    token, secret = settings.jira_api_token, settings.jira_oauth_client_secret
    if not settings.jira_url or not (token or (secret and settings.jira_oauth_client_id)):
        return None
    oauth = None
    if secret and settings.jira_oauth_client_id:
        oauth = OAuthClient(
            settings.jira_oauth_client_id, secret.get_secret_value(), settings.jira_oauth_token_url
        )
    account = JiraAccount(
        url=settings.jira_url,
        email=settings.jira_email,
        token=token.get_secret_value() if token else "",
        deployment=settings.jira_deployment,
        timeout=settings.jira_timeout_seconds,
        cloud_id=settings.jira_cloud_id,
        gateway=settings.jira_api_gateway,
        oauth=oauth,
    )
    return Target(
        account,
        site_of(settings.jira_url),
        settings.jira_project_key,
        settings.jira_issue_type,
        settings.jira_settle_seconds,
        settings.jira_creates_at_once,
        settings.jira_reporter == "requester",
    )
