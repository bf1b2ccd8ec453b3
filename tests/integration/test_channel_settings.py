"""Channel settings in Postgres, and in the tickets that are made with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from sandbox.chaos.world import World
from sandbox.jira.accounts import BOT_ID
from sandbox.jira.faults import CommitThenDrop, DropBeforeCommit
from sandbox.jira.site import ScreenField
from threadsync.actors import NamedActor, SlackActor
from threadsync.channel_settings.directory import IssueType, Project
from threadsync.channel_settings.parsing import Change
from threadsync.channel_settings.patches import resetting, setting
from threadsync.channel_settings.values import NAMES, ChannelSettings, Reading
from threadsync.errors import InvalidCommand
from threadsync.syncs import Draft, MadeWith
from worker.db.channels.parts import SETTINGS
from worker.db.channels.store import ChannelSettingsStore
from worker.db.pool import Pool
from worker.operate.channel_settings import change as change_settings
from worker.operate.decisions import signature
from worker.operate.forgetting.act import forget_user

CHANNEL, ANN = "C0CHAOS", NamedActor(name="Ann", via="cli")


@pytest.fixture
def settings_store(pool: Pool) -> ChannelSettingsStore:
    return ChannelSettingsStore(pool)


@pytest.fixture
def world(pool: Pool) -> Iterator[World]:
    with closing(World(pool, "1700000000.000100", search_lag=0, settle=600, seed=1)) as world:
        world.site.projects |= {"OPS": "20001", "DEV": "20002"}
        world.site.screen |= {"customfield_1": ScreenField("customfield_1")}
        yield world


def fields_sent(world: World) -> list[dict[str, Any]]:
    """Note the fields of each create from now on."""
    sent: list[dict[str, Any]] = []

    def plan(endpoint: str, body: Any) -> None:
        if endpoint == "create":
            sent.append(body["fields"])

    world.site.plan = plan
    return sent


def ask(world: World, **members: Any) -> None:
    draft = Draft(summary="x", **members)
    world.sessions.request_sync(*world.thread, draft, "1700000000.000200")


def change(store: ChannelSettingsStore, patch: dict[str, Any]) -> None:
    store.change(CHANNEL, patch, actor=ANN, reason="asked for")


def test_a_ticket_is_made_with_the_channels_settings(
    world: World, settings_store: ChannelSettingsStore
) -> None:
    """Project, type, priority and labels are the channel's where the draft has none; the sync says so."""
    change(
        settings_store,
        setting({"project_key": "OPS", "issue_type": "Bug", "labels": ("a", "b"), "priority": "High"}),
    )
    sent = fields_sent(world)
    ask(world, labels=("b", "c"))
    world.work()
    assert [issue.key for issue in world.site.issues] == ["OPS-1"]
    (fields,) = sent
    assert (fields["issuetype"], fields["priority"]) == ({"name": "Bug"}, {"name": "High"})
    assert fields["labels"][:-1] == ["b", "c", "a"]
    assert world.state().made_with == MadeWith(
        project_key="OPS", project_from="channel", issue_type="Bug", issue_type_from="channel"
    )


def test_a_draft_comes_first(world: World, settings_store: ChannelSettingsStore) -> None:
    """A draft's own values come first, and the word for its type stays in the draft."""
    change(settings_store, setting({"project_key": "OPS", "issue_type": "Bug", "priority": "High"}))
    sent = fields_sent(world)
    ask(
        world,
        project_key="PROJ",
        issue_type="Task",
        priority="2",
        assignee=BOT_ID,
        fields={"customfield_1": "x"},
    )
    world.work()
    assert [issue.key for issue in world.site.issues] == ["PROJ-1"]
    (fields,) = sent
    assert (fields["issuetype"], fields["priority"]) == ({"name": "Task"}, {"id": "2"})
    assert (fields["assignee"], fields["customfield_1"]) == ({"accountId": BOT_ID}, "x")
    assert world.state().made_with == MadeWith(
        project_key="PROJ", project_from="draft", issue_type_from="draft"
    )


def test_without_settings_of_a_channel_the_installations_count(world: World) -> None:
    """Without settings of the channel a ticket is made with those of the installation."""
    ask(world)
    world.work()
    assert world.state().made_with == MadeWith(
        project_key="PROJ", project_from="settings", issue_type="Task", issue_type_from="settings"
    )


def test_junk_in_a_context_fails_no_ticket(world: World, settings_store: ChannelSettingsStore) -> None:
    """A value of another shape counts as absent, and the valid one beside it stands."""
    for junk in ({"project_key": 7, "issue_type": "Bug", "labels": "x", "who": {}}, "junk", [1]):
        world.sessions.merge_channel_context(CHANNEL, {"threadsync": junk}, uuid4())
    world.sessions.merge_channel_context(
        CHANNEL, {"threadsync": {"issue_type": "Bug", "project_key": ["OPS"]}}, uuid4()
    )
    ask(world)
    world.work()
    (issue,) = world.site.issues
    assert (issue.key, issue.issue_type) == ("PROJ-1", "Bug")
    assert [fault.where for fault in settings_store.get(CHANNEL).faults] == ["threadsync.project_key"]


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_create_in_doubt_keeps_its_project(
    world: World, settings_store: ChannelSettingsStore, is_committed: bool
) -> None:
    """A ticket that was perhaps made is looked for where it was to be made, whatever is set meanwhile."""
    change(settings_store, setting({"project_key": "OPS"}))
    world.site.fail("create", CommitThenDrop() if is_committed else DropBeforeCommit())
    ask(world)
    world.work()
    assert world.state().state == "unknown"
    change(settings_store, setting({"project_key": "DEV"}))
    for _ in range(400):
        world.clock.advance(5)
        world.work()
    assert world.state().state == "done"
    assert [issue.key for issue in world.site.issues] == ["OPS-1" if is_committed else "DEV-1"]


def test_a_ticket_confirms_what_it_was_made_with(world: World, settings_store: ChannelSettingsStore) -> None:
    """A ticket that is made with an unverified setting removes the mark, of that setting alone."""
    change(
        settings_store, setting({"project_key": "OPS", "issue_type": "Bug"}, ["project_key", "issue_type"])
    )
    ask(world, issue_type="Task")
    world.work()
    assert settings_store.get(CHANNEL).settings == ChannelSettings(
        "OPS", "Bug", unverified=frozenset({"issue_type"})
    )


def test_another_value_is_not_confirmed(world: World, settings_store: ChannelSettingsStore) -> None:
    """The mark of a value that was set while the ticket was in doubt stays."""
    change(settings_store, setting({"project_key": "OPS"}, ["project_key"]))
    world.site.fail("create", CommitThenDrop())
    ask(world)
    world.work()
    change(settings_store, setting({"project_key": "DEV"}, ["project_key"]))
    for _ in range(10):
        world.clock.advance(5)
        world.work()
    assert world.state().jira_key == "OPS-1"
    assert settings_store.get(CHANNEL).settings.unverified == {"project_key"}


def test_each_act_is_recorded_once_without_its_values(settings_store: ChannelSettingsStore) -> None:
    """An act is recorded with actor, reason and the names of the settings, once for each command."""
    act = uuid4()
    for _ in range(2):
        settings_store.change(
            CHANNEL,
            setting({"labels": ("canary",), "include": "text"}),
            actor=ANN,
            reason="a",
            command_id=act,
        )
    settings_store.change(
        CHANNEL, resetting("labels"), actor=SlackActor(user_id="U1", team_id="T1"), reason=None
    )
    settings_store.change(CHANNEL, resetting(), actor=None, reason="b")
    acts = [(each.settings, each.actor, each.reason) for each in reversed(settings_store.acts(CHANNEL))]
    assert acts == [
        (("labels", "include"), ANN, "a"),
        (("labels",), SlackActor(user_id="U1", team_id="T1"), None),
        ((), None, "b"),
    ]
    assert settings_store.get(CHANNEL) == Reading(ChannelSettings())


def test_other_members_are_neither_touched_nor_shown(
    pool: Pool, world: World, settings_store: ChannelSettingsStore
) -> None:
    """Other programs' members stay as they are; a patch of theirs is no act on settings."""
    world.sessions.merge_channel_context(CHANNEL, {"topic": "release"}, uuid4())
    assert settings_store.acts(CHANNEL) == ()
    change(settings_store, setting({"include": "files"}))
    change(settings_store, resetting())
    context = world.sessions.get_channel_context(CHANNEL)
    assert context is not None
    assert context.context_data == {"topic": "release"}
    assert context.version == 3
    assert settings_store.configured(10) == []


class Jira:
    """A Jira with two projects and a type."""

    def projects(self, query: str) -> list[Project]:
        return [each for each in (Project("DEV", "Code"), Project("OPS", "Work")) if query in each.key]

    def issue_types(self, project_key: str) -> list[IssueType]:
        return [IssueType("1", "Bug")]


@pytest.mark.usefixtures("process_env")
def test_an_operator_is_told_what_there_is(pool: Pool, settings_store: ChannelSettingsStore) -> None:
    """What Jira does not have is not saved, and the sentence lists what there is."""
    by = signature("ann", "asked for", "cli")
    there = "There are: DEV (Code), OPS (Work)."
    with pytest.raises(InvalidCommand, match=re.escape(there)):
        change_settings(pool, CHANNEL, Change({"project_key": "NEW"}), by, Jira())
    with pytest.raises(
        InvalidCommand, match=re.escape("'Task' in OPS, or I may not see it. There are: Bug.")
    ):
        change_settings(pool, CHANNEL, Change({"project_key": "OPS", "issue_type": "Task"}), by, Jira())
    assert settings_store.get(CHANNEL) == Reading(ChannelSettings())
    assert settings_store.acts(CHANNEL) == ()
    known = Change({"project_key": "OPS", "issue_type": "bug"})
    found, said = change_settings(pool, CHANNEL, known, by, Jira())
    assert found == ChannelSettings("OPS", "Bug")
    assert said == "Set: project_key = OPS; issue_type = Bug."


def test_a_move_takes_settings_and_their_acts_along(
    world: World, settings_store: ChannelSettingsStore
) -> None:
    """Settings and acts of both ids are found under each of them afterwards."""
    settings_store.change("C0NEW", setting({"priority": "High"}), actor=ANN, reason="new")
    settings_store.change(CHANNEL, setting({"include": "text"}), actor=ANN, reason="old")
    world.sessions.channel_moved(CHANNEL, "C0NEW", ANN)
    for channel in (CHANNEL, "C0NEW"):
        assert settings_store.get(channel).settings == ChannelSettings(priority="High", include="text")
        assert [act.reason for act in settings_store.acts(channel)] == ["old", "new"]


def test_a_forgotten_person_opens_no_channel(
    pool: Pool, world: World, settings_store: ChannelSettingsStore
) -> None:
    """A list that named a person who was forgotten still keeps out who is not in it."""
    settings_store.change(CHANNEL, setting({"who": ("U0GONE",)}), actor=ANN, reason="asked for")
    forget_user(pool, "U0GONE", (), signature("ann", "wanted", "cli"))
    assert settings_store.get(CHANNEL).settings.who == ("forgotten",)
    bob = SlackActor(user_id="U0BOB", team_id="T1")
    assert world.sessions.get_or_create_session(CHANNEL, "1.1", "U0BOB", bob).outcome == "refused"


def test_the_names_of_the_settings_are_those_of_the_contract() -> None:
    """The statement and the contract have the same names."""
    assert f"'{{{','.join(NAMES)}}}'::text[]" == SETTINGS
