"""The people and channels of the playground, those of the demo's story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.demo.story import CHANNELS, PEOPLE
from sandbox.jira.accounts import Account
from sandbox.jira.showcase import showcase
from sandbox.jira.site import JiraSite
from sandbox.slack.requests import BOT_USER_ID, TEAM_ID
from sandbox.slack.workspace import SlackWorkspace

GUEST: Final = "U0GUS"
PARTNER: Final = "U0PIA"
_PARTNERS_TEAM: Final = "T0PARTNER"


@dataclass(frozen=True)
class Person:
    """Somebody as whom the page acts. ``note`` says what is special about the person."""

    id: str
    name: str
    team_id: str = TEAM_ID
    note: str = ""
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Channel:
    """A channel of the playground."""

    id: str
    name: str


@dataclass(frozen=True)
class Group:
    """A user group of the playground; ``users`` are the ids of its members."""

    id: str
    name: str
    users: tuple[str, ...]


PEOPLE_HERE: Final = (
    *(Person(user, user.removeprefix("U0").title()) for user in PEOPLE[:3]),
    Person(GUEST, "Gus", note="guest", facts={"is_restricted": True}),
    Person(PARTNER, "Pia", _PARTNERS_TEAM, note="partner organisation"),
)
CHANNELS_HERE: Final = tuple(Channel(channel, channel.removeprefix("C0").lower()) for channel in CHANNELS)
GROUPS_HERE: Final = (Group("S0HELPDESK", "helpdesk", tuple(PEOPLE[:2])),)
BOT: Final = Person(BOT_USER_ID, "threadsync")


def people_the_workspace(workspace: SlackWorkspace) -> None:
    """Tell the workspace who and what is there, so that the Web API answers the same."""
    workspace.channels = [channel.id for channel in CHANNELS_HERE]
    workspace.channel_facts |= {channel.id: {"name": channel.name} for channel in CHANNELS_HERE}
    workspace.groups |= {group.id: group.users for group in GROUPS_HERE}
    for person in (*PEOPLE_HERE, BOT):
        names = {"name": person.name.lower(), "real_name": person.name, "team_id": person.team_id}
        profile = {"display_name": person.name}
        workspace.people[person.id] = {**names, "profile": profile, **(person.facts or {})}


def people_the_jira(site: JiraSite) -> None:
    """Add projects with many kinds of fields, and an account for each member of the workspace."""
    showcase(site)
    for person in PEOPLE_HERE:
        if not person.note:
            name, address = person.name.lower(), f"{person.id.lower()}@example.com"
            site.accounts.put(Account(f"playground-{name}", name, address, person.name))
