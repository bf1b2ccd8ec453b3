"""A stack that runs against the sandbox Slack and Jira: when it may, and with which settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

Kind = Literal["new", "sandbox", "connected", "unmarked"]
"""What a data directory was used for. An unmarked one has data, and is of an earlier release."""

SANDBOX_EMAIL: Final = "bot@example.com"
SANDBOX_PROJECT: Final = "PLAY"

# Not the names of our settings: a process with those would take them for a real Slack and Jira.
SECRET_VARIABLE: Final = "PLAYGROUND_SIGNING_SECRET"  # noqa: S105 - a variable's name
SLACK_TOKEN_VARIABLE: Final = "PLAYGROUND_SLACK_TOKEN"  # noqa: S105
JIRA_TOKEN_VARIABLE: Final = "PLAYGROUND_JIRA_TOKEN"  # noqa: S105

_PREFIXES: Final = ("SLACK_", "JIRA_")
_SERVERS: Final = ("DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL", "CELERY_RESULT_BACKEND")


def real_settings(env: Mapping[str, str]) -> list[str]:
    """Return the names of variables that lead to a Slack, a Jira, a Postgres or a broker of somebody's.

    With one of them no sandbox is used: real threads would get its tickets, or its threads real ones.
    """
    return sorted(name for name, value in env.items() if value.strip() and _is_real(name.upper()))


def uses_sandbox(kind: Kind, real: Sequence[str]) -> bool:
    """Return True if a stack on a data directory of this kind runs against the sandboxes.

    Args:
        real: names of the variables that lead to real services.
    """
    return not real and kind in ("new", "sandbox")


def sandbox_settings(
    *, slack_api_url: str, slack_token: str, jira_url: str, jira_token: str, project: str = SANDBOX_PROJECT
) -> dict[str, str]:
    """Return the settings with which processes use the sandbox Slack and Jira."""
    return {
        "SLACK_API_URL": slack_api_url,
        "SLACK_BOT_TOKEN": slack_token,
        "JIRA_URL": jira_url,
        "JIRA_EMAIL": SANDBOX_EMAIL,
        "JIRA_API_TOKEN": jira_token,
        "JIRA_PROJECT_KEY": project,
        # A real Jira needs longer; this one shows every ticket within that time.
        "JIRA_SETTLE_SECONDS": "4",
        "JIRA_TIMEOUT_SECONDS": "2",
    }


def _is_real(name: str) -> bool:
    return name.startswith(_PREFIXES) or name.removesuffix("_FILE") in _SERVERS
