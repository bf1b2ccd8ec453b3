"""The areas of each role: a container has only the settings of its own process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from worker.doctor.finding import Finding, skipped

if TYPE_CHECKING:
    # The command line imports roles for its options, and Celery only for what needs it.
    from worker.operate.rights.broker_users import BrokerUser

Role = Literal["sessions", "syncs", "lookups", "beat", "web", "flower", "metrics", "migrate"]

_AREAS: Final[Mapping[Role, frozenset[str]]] = {
    "sessions": frozenset({"settings", "broker", "database", "installation", "running"}),
    "syncs": frozenset(
        {"settings", "broker", "database", "installation", "channels", "running", "slack", "jira"}
    ),
    "lookups": frozenset({"settings", "broker", "database", "installation", "running", "slack", "jira"}),
    "beat": frozenset({"settings", "broker", "running"}),
    "web": frozenset({"settings", "broker", "database", "installation", "running", "slack"}),
    "flower": frozenset({"settings", "broker", "flower"}),
    "metrics": frozenset({"settings", "broker", "database", "installation", "running"}),
    "migrate": frozenset({"settings", "database"}),
}
_NEEDED: Final[Mapping[Role, tuple[str, ...]]] = {
    "beat": ("CELERY_BROKER_URL",),
    "flower": ("CELERY_BROKER_URL",),
    "web": ("CELERY_BROKER_URL",),
    "migrate": ("DATABASE_URL",),
}
_EVERYTHING: Final = ("DATABASE_URL", "CELERY_BROKER_URL")

_OF_PAYLOADS: Final = frozenset(
    {"slack: signing secret", "slack: app token", "slack: workspace", "slack: app", "slack: people"}
)
"""Checks of what the web process does with Slack's payloads."""

_NOT_CHECKED: Final[Mapping[Role, frozenset[str]]] = {
    "syncs": _OF_PAYLOADS,
    "lookups": _OF_PAYLOADS | {"slack: messages"},
    # The owner of the tables, and a reader, are meant to have other rights than a worker.
    "migrate": frozenset({"database: privileges", "database: role"}),
    "metrics": frozenset({"database: privileges", "database: role"}),
}


def broker_user(role: Role | None) -> BrokerUser | None:
    """Return the broker's user that a process of the role should be; None where that is not known."""
    match role:
        case None | "migrate":
            return None
        case "web" | "beat" | "flower" | "metrics":
            return role
        case _:
            return "worker"


def concerns(role: Role | None, area: str) -> bool:
    """Return True if the area is the role's; without a role every area is."""
    return role is None or area in _AREAS[role]


def needed_settings(role: Role | None) -> tuple[str, ...]:
    """Return the settings without which a process of the role does not start."""
    return _NEEDED.get(role, _EVERYTHING) if role else _EVERYTHING


def for_role(role: Role | None, findings: Iterable[Finding]) -> list[Finding]:
    """Skip the findings that are another role's."""
    others = _NOT_CHECKED.get(role, frozenset()) if role else frozenset()
    if role not in (None, "web"):
        # Served by the web process alone.
        others |= {"console password"}
    return [
        skipped(found.check, f"not for the role {role}") if found.check in others else found
        for found in findings
    ]
