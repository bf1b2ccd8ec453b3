"""Where tickets go: the Jira that the settings name."""

from __future__ import annotations

from dataclasses import dataclass

from threadsync.config import Settings
from threadsync.marker import site_of
from worker.jira.answers import JiraAccount


@dataclass(frozen=True, slots=True)
class Target:
    """A Jira, and what tickets there are by default. ``settle`` is in seconds.

    ``at_once`` is how many creates of one project may be in flight.
    """

    account: JiraAccount
    site: str
    project_key: str | None
    issue_type: str
    settle: float
    at_once: int


def target_of(settings: Settings) -> Target | None:
    """None when the settings name no Jira."""
    if not settings.jira_url or not settings.jira_api_token:
        return None
    account = JiraAccount(
        url=settings.jira_url,
        email=settings.jira_email,
        token=settings.jira_api_token.get_secret_value(),
        deployment=settings.jira_deployment,
        timeout=settings.jira_timeout_seconds,
    )
    return Target(
        account,
        site_of(settings.jira_url),
        settings.jira_project_key,
        settings.jira_issue_type,
        settings.jira_settle_seconds,
        settings.jira_creates_at_once,
    )
