"""Actors of commands: persons in Slack, and names that were claimed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from threadsync.types import SlackId

LONGEST_NAME: Final = 200
Via = Literal["console", "cli", "api"]

_Name = Annotated[
    str,
    StringConstraints(
        strict=True, min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$"
    ),
]
MOST_GROUPS: Final = 500


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_Groups = Annotated[tuple[SlackId, ...], BeforeValidator(_as_tuple), Field(max_length=MOST_GROUPS)]
_Address = Annotated[str, StringConstraints(strict=True, max_length=100, pattern=r"^[^\x00-\x20]+$")]


class _Actor(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class SlackActor(_Actor):
    """A person whom Slack named in a request that it signed. ``team_id`` is the person's own workspace.

    ``groups`` are the person's user groups, and ``member`` is False for a guest or a person from elsewhere;
    None where Slack has not told. A channel's ``who`` is held against both, and neither is stored.
    """

    user_id: SlackId
    team_id: SlackId
    groups: _Groups | None = None
    member: bool | None = None

    def __str__(self) -> str:
        return f"{self.user_id} of {self.team_id} in Slack"


class NamedActor(_Actor):
    """A name that was given on the command line, in the console or by a program: a claim, not a login."""

    name: _Name
    via: Via
    address: _Address | None = None

    def __str__(self) -> str:
        where = f"{self.via}, {self.address}" if self.address else self.via
        return f"{self.name} ({where})"


def _as_actor(value: Any) -> Any:
    """Decide the kind first, so that a fault is reported as one of that kind."""
    if isinstance(value, Mapping):
        kind = SlackActor if "user_id" in value else NamedActor
        return kind.model_validate(value)
    return value


AnyActor = SlackActor | NamedActor
Actor = Annotated[AnyActor, BeforeValidator(_as_actor)]


def as_json(actor: AnyActor | None) -> str | None:
    """Return the actor as it is stored."""
    return actor.model_dump_json(exclude_none=True, exclude={"groups", "member"}) if actor else None


def readable_actor(stored: Any) -> AnyActor | None:
    """Return the actor of a row; None if there is none, or one that another release or a person wrote."""
    try:
        value = _as_actor(stored)
    except ValidationError:
        return None
    return value if isinstance(value, SlackActor | NamedActor) else None


StoredActor = Annotated[AnyActor | None, BeforeValidator(readable_actor)]
"""The actor of a row; None where there is none that can be read."""


def slack_actor(
    user_id: str, team_id: str | None, groups: tuple[str, ...] | None = None, *, member: bool | None = None
) -> SlackActor | None:
    """Return the actor whom a payload names; None where its ids are invalid."""
    try:
        return SlackActor(
            user_id=user_id,
            team_id=team_id or "",
            groups=groups[:MOST_GROUPS] if groups is not None else None,
            member=member,
        )
    except ValidationError:
        return None


def named_actor(name: str, via: Via, address: str | None = None) -> NamedActor | None:
    """Return the claim of a name; None where the name is invalid, too long for instance."""
    try:
        return NamedActor(name=name, via=via, address=address)
    except ValidationError:
        return None


def name_of(actor: AnyActor) -> str:
    """Return the bare name or id, for columns and lists that have one word for it."""
    return actor.user_id if isinstance(actor, SlackActor) else actor.name
