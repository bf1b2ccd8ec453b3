"""The installation and the person of a payload, as Bolt reads them. Pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slack_bolt.request.internals import extract_enterprise_id, extract_team_id

from handlers.bot_identity import Identity
from handlers.gate import stranger
from handlers.members import says_member
from handlers.origin import Installation, installation_of, person_of
from sandbox.slack.requests import (
    app_mention,
    button_click,
    message_shortcut,
    slash_command,
    view_submission,
)

VIEW = {"blocks": [], "private_metadata": "{}"}
OURS = Identity(team_id="T0OURS", enterprise_id="E0OURS", app_id="A0OURS")
KINDS: dict[str, dict[str, Any]] = {
    "event": app_mention("C0123", "U0456", "hello", ts="1700000000.000100"),
    "command": slash_command("status", "C0123", "U0456"),
    "action": button_click("a", "v", "C0123", "U0456", message_ts="1.1"),
    "shortcut": message_shortcut("a", "C0123", "U0456", ts="1.1"),
    "view": view_submission(VIEW, {}, "U0456"),
}
AUTHORIZED = {"enterprise_id": "E0OURS", "team_id": "T0OURS", "user_id": "U0BOT", "is_bot": True}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"team_id": "T0PARTNER"},
        {"team": None, "view": None},
        {"team": "T0TEXT"},
        {"team": {"id": "T0ORG", "enterprise_id": "E0ORG"}},
        {"enterprise": {"id": "E0ORG", "name": "Org"}, "is_enterprise_install": True, "team": None},
        {"enterprise_id": "E0ORG", "team_id": None},
        {"authorizations": [AUTHORIZED], "team": None},
        {"authorizations": []},
        {"view": {"app_installed_team_id": "T0OURS", "team_id": "T0PARTNER"}},
        {"view": {"app_installed_team_id": None, "team_id": "T0PARTNER"}, "team": None},
    ],
    ids=str,
)
def test_the_team_is_the_one_that_bolt_finds(kind: str, change: dict[str, Any]) -> None:
    """The team is the one by which Bolt looks up its installation."""
    if kind == "event":
        # Bolt would take an outer `team` of an event, which Slack does not send.
        change = {name: value for name, value in change.items() if name != "team"}
    payload = {**KINDS[kind], **change}
    found = installation_of(payload)
    assert found.team_id == extract_team_id(payload)
    if not ("authorizations" in payload and "enterprise" in payload):
        assert found.enterprise_id == (extract_enterprise_id(payload) or None)


@pytest.mark.parametrize(
    ("installation", "reason"),
    [
        (Installation("T0OURS", None, "A0OURS"), None),
        (Installation("T0OURS", "E0OURS", None), None),
        (Installation("T0OURS", None, "A0OTHER"), "app"),
        (Installation("T0OTHER", None, "A0OURS"), "team"),
        # Another workspace of our own organisation is another workspace.
        (Installation("T0OTHER", "E0OURS", "A0OURS"), "team"),
        (Installation(None, "E0OURS", "A0OURS"), None),
        (Installation(None, "E0OTHER", "A0OURS"), "team"),
        (Installation(None, None, None), "team"),
    ],
)
def test_a_stranger_is_told_by_team_then_by_app(installation: Installation, reason: str | None) -> None:
    """A payload of another team or another app is a stranger's, and so is one that names no team."""
    assert stranger(installation, OURS) == reason


def test_an_organisation_that_is_pinned_stands_for_its_workspaces() -> None:
    """An organisation's id in SLACK_TEAM_ID stands for all of its workspaces."""
    organisation = Identity(team_id="E0OURS")
    assert stranger(Installation("T0ANY", "E0OURS", None), organisation) is None
    assert stranger(Installation("T0ANY", "E0OTHER", None), organisation) == "team"


@pytest.mark.parametrize("kind", KINDS)
def test_the_people_of_an_organisation_may_act(kind: str) -> None:
    """The people of a pinned organisation count as members, except in shared places."""
    organisation, payload = Identity(team_id="E0OURS", enterprise_id="E0OURS"), dict(KINDS[kind])
    payload |= {"enterprise": {"id": "E0OURS"}, "enterprise_id": "E0OURS", "is_enterprise_install": True}
    if kind == "event":
        payload["authorizations"] = [{**AUTHORIZED, "team_id": None}]
    person = person_of(payload)
    assert person is not None
    assert stranger(installation_of(payload), organisation) is None
    assert says_member(person, organisation, payload)
    assert not says_member(replace(person, is_shared=True), organisation, payload)
    assert not says_member(person, Identity(team_id="E0OTHER"), payload)
    assert not says_member(person, OURS, payload)
    if kind != "event":
        assert not says_member(replace(person, team_id="T0PARTNER"), organisation, payload)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_its_person(kind: str) -> None:
    """Every kind of payload names its person, with the id and the person's own workspace."""
    person = person_of(KINDS[kind])
    assert person is not None
    assert (person.user_id, person.team_id) == ("U0456", "T0SANDBOX")


@pytest.mark.parametrize("name", ["user_team", "source_team"])
def test_a_partners_person_is_known_by_the_persons_own_team(name: str) -> None:
    """A person of a partner in Slack Connect is known by that person's own team."""
    payload = app_mention("C0123", "U0456", "hello", ts="1700000000.000100")
    person = person_of({**payload, "event": {**payload["event"], name: "T0PARTNER"}})
    assert person is not None
    assert person.team_id == "T0PARTNER"


@pytest.mark.parametrize("junk", [None, 5, [], {}, "", {"id": 5}, {"id": ["U1"]}, True])
def test_junk_in_place_of_a_person_is_none(junk: Any) -> None:
    """Junk in place of a person or a team is read as none."""
    assert person_of({"type": "block_actions", "user": junk}) is None
    assert person_of({"event": {"user": junk if not isinstance(junk, dict) else 1}}) is None
    assert installation_of({"team": junk, "authorizations": junk, "view": junk}).team_id is None
