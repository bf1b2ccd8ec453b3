"""Actors of commands: stored with the change, shown in the timeline, and optional in messages."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from console.timeline import timeline
from threadsync.actors import NamedActor, SlackActor, as_json, readable_actor
from threadsync.command import Command
from threadsync.commands import (
    ChannelMoved,
    GetOrCreate,
    Link,
    MarkSynced,
    MergeContext,
    RequestSync,
    Unlink,
    UpdateStatus,
)
from threadsync.errors import InvalidCommand
from threadsync.sync_commands import RetrySync
from threadsync.syncs import Draft
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool
from worker.db.sessions.statements import COMMANDS
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore
from worker.operate import decisions

CHANNEL, THREAD = "C0123ABCD", "1700000000.000100"
SLACK: Final = {"user_id": "U0456", "team_id": "T0123"}
ANN: Final = SlackActor(user_id="U0456", team_id="T0123")
OPENING: Final = {"channel_id": CHANNEL, "thread_ts": THREAD, "user_id": "U1"}
BOB: Final = NamedActor(name="Bob B.", via="console", address="10.0.0.7")


def test_each_step_keeps_its_actor(pool: Pool, store: SessionStore) -> None:
    """Each step of a session keeps its first actor; a repetition by another actor changes nothing."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U0456", ANN)
    store.get_or_create_session(CHANNEL, THREAD, "U0999", BOB)
    store.update_status(CHANNEL, THREAD, "ready_to_sync", BOB)
    store.update_status(CHANNEL, THREAD, "ready_to_sync", ANN)
    store.request_sync(CHANNEL, THREAD, Draft(summary="One"), "1700000001.000100", BOB)
    store.request_sync(CHANNEL, THREAD, Draft(summary="Two"), "1700000002.000100", ANN)
    store.request_sync(CHANNEL, THREAD, Draft(summary="Old"), "1700000000.000100", BOB)
    store.mark_synced(CHANNEL, THREAD, "PROJ-1", BOB)
    store.mark_synced(CHANNEL, THREAD, "PROJ-1", ANN)
    actors = OverviewStore(pool).actors(session.id)
    assert (actors.opened_by, actors.ready_by, actors.drafted_by, actors.synced_by) == (ANN, BOB, ANN, BOB)
    ready_at, synced_at = OverviewStore(pool).steps(session.id)
    current = store.get_session(session.id)
    assert current is not None
    events = timeline(current, ready_at, synced_at, SyncStore(pool).get(session.id), actors=actors)
    said = {event.what: (event.why, str(event.by)) for event in events}
    assert said["Session opened"] == ("", "U0456 of T0123 in Slack")
    assert said["Ready to sync"] == ("", "Bob B. (console, 10.0.0.7)")
    assert said["Ticket requested"] == ("latest draft", "U0456 of T0123 in Slack")


def test_a_channels_patch_and_move_keep_their_actor(pool: Pool, store: SessionStore) -> None:
    """A channel's patch keeps the first actor of its command id, and a move keeps its actor at the old id."""
    command_id = uuid4()
    store.merge_channel_context(CHANNEL, {"topic": "one"}, command_id, ANN)
    store.merge_channel_context(CHANNEL, {"topic": "one"}, command_id, BOB)
    store.channel_moved(CHANNEL, "C0NEW", BOB)
    store.channel_moved(CHANNEL, "C0NEW", ANN)
    store.merge_channel_context(CHANNEL, {"topic": "of a program"}, uuid4())
    told = [(item.action, item.by, item.task_name) for item in OverviewStore(pool).decisions(10)]
    assert told == [
        ("move_channel", str(BOB), f"{CHANNEL}: to C0NEW"),
        ("patch_channel", str(ANN), CHANNEL),
    ]
    with pool.connection() as connection:
        patch = connection.execute(
            "SELECT applied_by FROM channel_context_commands WHERE command_id = %s", [command_id]
        ).fetchone()
        moved = connection.execute("SELECT channel_id, moved_by FROM channel_aliases").fetchall()
    assert patch == {"applied_by": SLACK}
    assert {row["channel_id"]: row["moved_by"] for row in moved} == {
        CHANNEL: json.loads(as_json(BOB) or ""),
        "C0NEW": None,
    }


_THREAD: Final = {"channel_id": CHANNEL, "thread_ts": THREAD}
CHANGES: Final[tuple[Command[Any], ...]] = (
    GetOrCreate(**_THREAD, user_id="U1", actor=NamedActor(name="one", via="api")),
    UpdateStatus(**_THREAD, status="ready_to_sync", actor=NamedActor(name="two", via="api")),
    RequestSync(
        **_THREAD,
        draft=Draft(summary="x"),
        drafted_at="1700000001.000100",
        actor=NamedActor(name="three", via="api"),
    ),
    MarkSynced(**_THREAD, jira_key="PROJ-1", actor=NamedActor(name="four", via="api")),
    Unlink(
        **_THREAD,
        jira_key="PROJ-1",
        actor=NamedActor(name="five", via="api"),
        reason="x",
        command_id=uuid4(),
    ),
    Link(**_THREAD, jira_key="PROJ-2", actor=NamedActor(name="six", via="api"), command_id=uuid4()),
    MergeContext(
        channel_id=CHANNEL, patch={"a": 1}, command_id=uuid4(), actor=NamedActor(name="seven", via="api")
    ),
    ChannelMoved(channel_id=CHANNEL, new_channel_id="C0NEW", actor=NamedActor(name="eight", via="api")),
)


def test_every_change_has_its_actor_in_the_trail(pool: Pool, store: SessionStore) -> None:
    """Each command that changes something is told with its actor: steps of sessions, and all else."""
    changing = {item for item in COMMANDS if "actor" in item.model_fields}
    assert {type(command) for command in CHANGES} == changing
    for command in CHANGES:
        store.run(command)
        session = store.get_session_by_thread(CHANNEL, THREAD)
        assert session is not None
        steps = OverviewStore(pool).actors(session.id)
        told = [item.by for item in OverviewStore(pool).decisions(20)]
        told += map(str, (steps.opened_by, steps.ready_by, steps.drafted_by, steps.synced_by))
        assert str(getattr(command, "actor", None)) in told


def test_decisions_are_claims_of_where_they_were_made(pool: Pool, store: SessionStore) -> None:
    """A decision is recorded as the name and the place it was made at, never as a Slack user."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U0456")
    store.request_sync(CHANNEL, THREAD, Draft(summary="One"), "1700000001.000100")
    by_cli = decisions.signature("U0456", "wrong", "cli")
    by_console = decisions.signature("ada", "really", "console", "10.0.0.7")
    decisions.give_up(pool, session, by_cli)
    decisions.retry(pool, session, by_console)
    decisions.link(pool, session, "PROJ-1", by_cli)
    linked = store.get_session(session.id)
    assert linked is not None
    decisions.unlink(pool, linked, by_console, "PROJ-1")
    told = [(item.action, item.by, item.jira_key) for item in reversed(OverviewStore(pool).decisions(10))]
    assert told == [
        ("give_up", "U0456 (cli)", None),
        ("retry", "ada (console, 10.0.0.7)", None),
        ("link", "U0456 (cli)", "PROJ-1"),
        ("unlink", "ada (console, 10.0.0.7)", "PROJ-1"),
    ]
    assert [(item.action, item.by, item.jira_key) for item in SyncStore(pool).actions(session.id)] == told


def test_a_retry_that_comes_again_undoes_no_decision(pool: Pool, store: SessionStore) -> None:
    """A retry that is delivered twice is applied once, so a sync given up since then stays given up."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U0456")
    store.request_sync(CHANNEL, THREAD, Draft(summary="One"), "1700000001.000100")
    syncs, pressed, again = SyncStore(pool), uuid4(), uuid4()
    by_cli = decisions.signature("ada", "not wanted", "cli")

    def retried(act: UUID) -> str:
        return syncs.retry_once(session.id, actor="U0456", reason="pressed", acted_by=ANN, command_id=act)

    decisions.give_up(pool, session, by_cli)
    assert retried(pressed) == "applied"
    decisions.give_up(pool, session, by_cli)
    assert retried(pressed) == "unchanged"
    assert [item.action for item in syncs.actions(session.id)] == ["give_up", "retry", "give_up"]
    assert retried(again) == "applied"


def test_unlink_says_what_it_met(pool: Pool, store: SessionStore) -> None:
    """Unlink is refused with a sentence when the session has no ticket or another than the operator saw."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U0456")
    by = decisions.signature("ada", "really", "cli")
    with pytest.raises(InvalidCommand, match="has no ticket to unlink"):
        decisions.unlink(pool, session, by)
    store.mark_synced(CHANNEL, THREAD, "PROJ-2")
    with pytest.raises(InvalidCommand, match="has PROJ-2, not PROJ-1"):
        decisions.unlink(pool, session, by, "proj-1")
    assert (store.get_session(session.id) or session).jira_key == "PROJ-2"


@pytest.mark.parametrize(
    "stored",
    [None, 5, [], "ada", {}, {"name": ""}, {"user_id": "U1"}, {"name": "ada", "via": "mail"}, {"name": None}],
)
def test_a_row_of_another_making_is_shown_as_unknown(pool: Pool, store: SessionStore, stored: Any) -> None:
    """A stored actor that cannot be read is shown as unknown and hides no session or decision."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U0456", ANN)
    with pool.connection() as connection:
        connection.execute("UPDATE thread_sessions SET opened_by = %s", [Jsonb(stored)])
    assert readable_actor(stored) is None
    assert OverviewStore(pool).actors(session.id).opened_by is None
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO session_acts (command_id, session_id, act, jira_key, outcome, actor) "
            "VALUES (%s, %s, 'link', 'PROJ-1', 'applied', %s)",
            [uuid4(), session.id, Jsonb(stored)],
        )
    (decision,) = OverviewStore(pool).decisions(10)
    assert (decision.action, decision.acted_by) == ("link", None)


@pytest.mark.parametrize(
    "actor",
    [
        "ada",
        5,
        [],
        {},
        {"user_id": "U0456"},
        {"user_id": "U0456", "team_id": "T 1"},
        {"user_id": ["U0456"], "team_id": "T1"},
        {"name": "ada"},
        {"name": " ", "via": "cli"},
        {"name": "a\x00", "via": "cli"},
        {"name": "a" * 201, "via": "cli"},
        {"name": "ada", "via": "slack"},
        {"name": "ada", "via": "cli", "address": "10.0.0.7\nforged"},
    ],
)
def test_an_actor_that_is_none_is_refused(actor: Any) -> None:
    """A command with a malformed actor is refused as InvalidCommand."""
    with pytest.raises(InvalidCommand, match="actor"):
        GetOrCreate.from_message(
            [], {"channel_id": CHANNEL, "thread_ts": THREAD, "user_id": "U1", "actor": actor}
        )


def test_an_actor_travels_as_it_is_and_may_be_missing() -> None:
    """A command keeps its actor, ignores the actor's unknown fields, and stays valid without one."""
    thread = {"channel_id": CHANNEL, "thread_ts": THREAD, "user_id": "U1"}
    command = GetOrCreate.from_message([], {**thread, "actor": {**SLACK, "email": "a@b.example"}})
    assert command.arguments() == {**thread, "actor": SLACK}
    told = {**SLACK, "groups": ["S1"], "member": False}
    assert GetOrCreate.from_message([], {**thread, "actor": told}).arguments() == {**thread, "actor": told}
    assert GetOrCreate.from_message([], thread).arguments() == thread
    patch = {"channel_id": CHANNEL, "patch": {"a": None}, "command_id": str(uuid4())}
    assert MergeContext.from_message([], patch).arguments() == patch
    changing = {item.name for item in COMMANDS if "actor" in item.model_fields}
    assert changing == {item.name for item in COMMANDS} - {
        "sessions.get",
        "sessions.list_by_channel",
        "channels.get_context",
    }


@pytest.mark.parametrize(
    ("actor", "acted_by"),
    [("U0456", NamedActor(name="U0456", via="api")), (SLACK, ANN), ({"name": "ada", "via": "api"}, None)],
)
def test_a_retry_of_the_release_before_has_a_bare_name(actor: Any, acted_by: Any) -> None:
    """A retry sent by the previous release with a bare name as its actor counts as that name via the API."""
    command = RetrySync.from_message([], {"session_id": str(uuid4()), "actor": actor, "reason": "again"})
    assert command.acted_by == (acted_by or NamedActor(name="ada", via="api"))


def test_an_older_workers_rows_have_no_actor(database_url: str, pool: Pool, store: SessionStore) -> None:
    """A decision recorded by an older worker, without an actor, is shown by its bare name."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U0456")
    store.request_sync(CHANNEL, THREAD, Draft(summary="One"), "1700000001.000100")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sync_actions (session_id, action, actor, reason) VALUES (%s, 'retry', 'ada', 'x')",
            [session.id],
        )
    assert [(item.actor, item.by) for item in SyncStore(pool).actions(session.id)] == [("ada", "ada")]
