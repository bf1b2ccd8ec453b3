"""The switches for faults of the sandbox Jira and Slack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from sandbox.jira.faults import CommitThenDrop, Fault, Plan, Refuse, Throttle
from sandbox.jira.site import JiraSite
from sandbox.slack.server import SlackSandbox

Switch = Literal["jira_loses_answers", "jira_is_away", "jira_is_busy", "jira_refuses_token", "slack_is_away"]
SWITCHES: Final[tuple[Switch, ...]] = get_args(Switch)

LABELS: Final[Mapping[Switch, tuple[str, str]]] = {
    "jira_loses_answers": ("Jira loses the answer", "It makes the ticket, and hangs up."),
    "jira_is_away": ("Jira is away", "No call gets a response."),
    "jira_is_busy": ("Jira says 429", "Every call is to come again in 2 s."),
    "jira_refuses_token": ("Jira refuses the token", "Every call gets a 401."),
    "slack_is_away": ("Slack's API is away", "No message can be posted or changed."),
}
"""What the page says of each switch: its label and what it does."""

_BUSY: Final = Throttle(2.0)
_REFUSED: Final = Refuse(401, ("Client must be authenticated to access this resource.",))


class Switches:
    """All switches, off at first."""

    def __init__(self, slack: SlackSandbox, jira: JiraSite) -> None:
        self._slack = slack
        self._jira = jira
        self._on: set[Switch] = set()

    def turn(self, switch: Switch, *, on: bool) -> None:
        """Turn one switch on or off."""
        (self._on.add if on else self._on.discard)(switch)
        self._jira.is_down = "jira_is_away" in self._on
        self._slack.is_down = "slack_is_away" in self._on
        self._jira.plan = plan_of(frozenset(self._on))

    def as_json(self) -> list[dict[str, Any]]:
        """Show each switch on the page."""
        return [
            {"name": name, "label": label, "what": what, "on": name in self._on}
            for name, (label, what) in LABELS.items()
        ]


def plan_of(on: frozenset[Switch]) -> Plan | None:
    """Return the faults of Jira's calls with these switches on; a refusal goes before a lost answer. Pure."""

    def plan(endpoint: str, body: Any) -> Fault | None:
        if "jira_refuses_token" in on:
            return _REFUSED
        if "jira_is_busy" in on:
            return _BUSY
        return CommitThenDrop() if endpoint == "create" and "jira_loses_answers" in on else None

    return plan if on & {"jira_refuses_token", "jira_is_busy", "jira_loses_answers"} else None
