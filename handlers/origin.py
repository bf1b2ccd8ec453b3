"""Read the origin of a payload: its installation, and the person who acts. Pure.

In Slack Connect the outer ``team_id`` can be the partner's. The installation's is
``view.app_installed_team_id`` of a form and ``authorizations[0].team_id`` of an event; the other kinds name
it as their team. This is how Bolt finds an installation, too (slack_bolt.request.internals).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.payload import object_in

Payload = Mapping[str, Any]


@dataclass(frozen=True)
class Installation:
    """The installation that a payload names, as far as it does."""

    team_id: str | None
    enterprise_id: str | None
    app_id: str | None


@dataclass(frozen=True)
class Person:
    """The person who acts. ``team_id`` is the person's own workspace or organisation, where Slack says it.

    ``is_shared``: in a place where people of other organisations are, too.
    """

    user_id: str
    team_id: str | None
    is_shared: bool


def installation_of(payload: Payload) -> Installation:
    """Read the installation that the payload names."""
    return Installation(_team_of(payload), _enterprise_of(payload), _text(payload, "api_app_id"))


def _team_of(payload: Payload) -> str | None:
    if team := _text(object_in(payload, "view"), "app_installed_team_id"):
        return team
    if authorization := _authorization(payload):
        # An organisation's installation has no team here, and the outer one may be a partner's.
        return _text(authorization, "team_id")
    return (
        _text(payload, "team")
        or _text(object_in(payload, "team"), "id")
        or _text(payload, "team_id")
        # With an installation for an organisation ``team`` is null.
        or _text(object_in(payload, "user"), "team_id")
        or _text(object_in(payload, "view"), "team_id")
    )


def _enterprise_of(payload: Payload) -> str | None:
    if authorization := _authorization(payload):
        return _text(authorization, "enterprise_id")
    return (
        _text(payload, "enterprise")
        or _text(object_in(payload, "enterprise"), "id")
        or _text(payload, "enterprise_id")
        or _text(object_in(payload, "team"), "enterprise_id")
    )


def person_of(payload: Payload) -> Person | None:
    """Read the person who acts; None if Slack names none."""
    event = object_in(payload, "event")
    if event:
        return _person(
            event.get("user"),
            # All three are of the author; in Slack Connect the first one is there.
            _text(event, "user_team") or _text(event, "source_team") or _text(event, "team"),
            is_shared=payload.get("is_ext_shared_channel") is True,
        )
    user = object_in(payload, "user")
    if user:
        team = _text(user, "team_id") or _text(object_in(payload, "team"), "id")
        return _person(user.get("id"), team, is_shared=team is None)
    team = _text(payload, "team_id")
    return _person(payload.get("user_id"), team, is_shared=team is None)


def _person(user_id: object, team_id: str | None, *, is_shared: bool) -> Person | None:
    return Person(user_id, team_id, is_shared) if isinstance(user_id, str) and user_id else None


def _authorization(payload: Payload) -> Payload | None:
    found = payload.get("authorizations")
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        return found[0]
    return None


def _text(part: Payload, name: str) -> str | None:
    value = part.get(name)
    return value if isinstance(value, str) and value else None
