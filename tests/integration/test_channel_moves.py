"""Moves of a channel to another id, which keep its sessions, its context and one ticket per thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.slack.server import SlackSandbox
from tests.support.channel_moves import IDS, THREADS, USER, History, Step, steps
from tests.support.servers import as_owner, ask
from tests.support.status_story import CHANNEL as STORY_CHANNEL
from tests.support.status_story import THREAD as STORY_THREAD
from tests.support.status_story import Story
from tests.support.waiting import wait_until
from threadsync.channel_settings.resolution import Defaults, Sourced
from threadsync.errors import InvalidCommand
from threadsync.syncs import Draft
from worker.db import AsyncSessionStore, SessionStore
from worker.db.pool import Pool, new_pool
from worker.db.syncs.claim import Begun
from worker.db.syncs.store import SyncStore

OLD, NEW, NEWER, NEWEST = IDS
THREAD, OTHER = THREADS
DRAFT = Draft(summary="It is broken")
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def owner_pool(database_url: str) -> Iterator[Pool]:
    """Open a pool as the tables' owner, which may empty tables as a worker may not."""
    with new_pool(as_owner(database_url), max_size=2) as pool:
        yield pool


async def test_either_id_leads_to_the_same_rows(any_store: AsyncSessionStore) -> None:
    """Both ids of a moved channel lead to the same sessions and context; a repeated move changes nothing."""
    session = await any_store.get_or_create_session(OLD, THREAD, USER)
    await any_store.merge_channel_context(OLD, {"topic": "release", "a": 1}, uuid4())
    move = await any_store.channel_moved(OLD, NEW)
    assert (move.outcome, move.home_id, move.newest_id, move.sessions) == ("applied", OLD, NEW, 0)
    assert (await any_store.channel_moved(OLD, NEW)).outcome == "unchanged"
    again = await any_store.get_or_create_session(NEW, THREAD, "U0OTHER")
    assert (again.id, again.channel_id, again.outcome) == (session.id, OLD, "unchanged")
    opened = await any_store.get_or_create_session(NEW, OTHER, USER)
    assert (await any_store.get_or_create_session(OLD, OTHER, USER)).id == opened.id
    assert (await any_store.update_status(NEW, THREAD, "ready_to_sync")).outcome == "applied"
    assert (await any_store.request_sync(NEW, THREAD, DRAFT, "1700000001.000100")).id == session.id
    assert (await any_store.mark_synced(NEW, THREAD, "PROJ-1")).id == session.id
    for channel in (OLD, NEW):
        page = await any_store.list_sessions_by_channel(channel)
        assert {item.id for item in page.sessions} == {session.id, opened.id}
        synced = await any_store.list_sessions_by_channel(channel, "synced")
        assert [item.id for item in synced.sessions] == [session.id]
    command = uuid4()
    await any_store.merge_channel_context(NEW, {"b": 2}, command)
    assert (await any_store.merge_channel_context(OLD, {"b": 3}, command)).outcome == "unchanged"
    context = await any_store.get_channel_context(NEW)
    assert context is not None
    assert context.context_data == {"topic": "release", "a": 1, "b": 2}
    with pytest.raises(InvalidCommand, match="new_channel_id"):
        await any_store.channel_moved(OLD, OLD)


def test_a_row_that_was_opened_under_the_new_id_alone_keeps_it(store: SessionStore) -> None:
    """A session opened under the new id before the move is known keeps that id and is found by both."""
    session = store.get_or_create_session(NEW, THREAD, USER)
    assert store.channel_moved(OLD, NEW).home_id == NEW
    again = store.get_or_create_session(OLD, THREAD, USER)
    assert (again.id, again.channel_id) == (session.id, NEW)


def test_contexts_of_both_ids_are_one(store: SessionStore) -> None:
    """The contexts of both ids become one: the newer value of a shared member wins, and no patch repeats."""
    command = uuid4()
    store.merge_channel_context(OLD, {"a": 1, "both": "old"}, uuid4())
    store.merge_channel_context(NEW, {"b": 2, "both": "new"}, command)
    store.channel_moved(OLD, NEW)
    assert store.merge_channel_context(OLD, {"b": 9}, command).outcome == "unchanged"
    for channel in (OLD, NEW):
        context = store.get_channel_context(channel)
        assert context is not None
        assert (context.context_data, context.version) == ({"a": 1, "b": 2, "both": "new"}, 2)


@pytest.mark.parametrize(
    "moves",
    [
        [(OLD, NEW), (NEW, NEWER), (NEWER, NEWEST)],
        [(NEWER, NEWEST), (NEW, NEWER), (OLD, NEW)],
        [(OLD, NEW), (NEWER, NEWEST), (NEW, NEWER)],
        [(NEW, NEWER), (OLD, NEW), (NEWER, NEWEST), (OLD, NEW)],
    ],
)
def test_news_of_a_chain_come_in_any_order(store: SessionStore, moves: list[tuple[str, str]]) -> None:
    """Moves of a chain lead to one session and to the newest id, in whatever order they arrive."""
    session = store.get_or_create_session(OLD, THREAD, USER)
    for old, new in moves:
        move = store.channel_moved(old, new)
    assert {store.get_or_create_session(name, THREAD, USER).id for name in IDS} == {session.id}
    assert move.outcome == ("applied" if len(moves) == 3 else "unchanged")
    assert store.channel_moved(*moves[0]).newest_id == NEWEST


def test_a_channel_that_comes_back_to_an_old_id(store: SessionStore) -> None:
    """A channel that moves back to an old id is known by the id of its last move."""
    store.channel_moved(OLD, NEW)
    assert store.channel_moved(NEW, OLD).newest_id == OLD
    assert store.channel_moved(OLD, NEW).newest_id == NEW
    assert store.channel_moved(NEW, NEWER).newest_id == NEWER


def test_of_two_sessions_of_a_thread_the_one_with_the_key_stays(store: SessionStore, pool: Pool) -> None:
    """The session with a ticket stays when a thread has two; the other one's sync fails as moved."""
    for old_is_linked, thread in ((True, THREAD), (False, OTHER)):
        old = store.get_or_create_session(OLD, thread, USER)
        new = store.get_or_create_session(NEW, thread, USER)
        linked, asked = (old, new) if old_is_linked else (new, old)
        store.mark_synced(linked.channel_id, thread, "PROJ-1")
        store.request_sync(asked.channel_id, thread, DRAFT, "1700000001.000100")
    assert store.channel_moved(OLD, NEW).sessions == 2
    for channel in (OLD, NEW):
        for thread in THREADS:
            session = store.get_session_by_thread(channel, thread)
            assert session is not None
            assert session.jira_key == "PROJ-1"
    assert {sync.state for sync in SyncStore(pool).list_syncs()} == {"failed"}
    for sync in SyncStore(pool).list_syncs():
        assert sync.reason == "moved"
        assert not SyncStore(pool).retry(sync.session_id, actor="ann", reason="try")


def test_two_keys_are_for_a_person(store: SessionStore, pool: Pool) -> None:
    """Two tickets for one thread make a review with both keys; the session keeps one."""
    for channel, key in ((OLD, "PROJ-1"), (NEW, "PROJ-2")):
        store.get_or_create_session(channel, THREAD, USER)
        store.mark_synced(channel, THREAD, key)
    store.channel_moved(OLD, NEW)
    session = store.get_session_by_thread(NEW, THREAD)
    assert session is not None
    sync = SyncStore(pool).get_state(session.id)
    assert sync is not None
    assert (session.jira_key, sync.state, sync.reason) == ("PROJ-1", "review", "two_tickets")
    assert sync.duplicates == ("PROJ-2",)


def begin(pool: Pool, channel: str) -> tuple[Any, Begun | None]:
    """Claim the sync of the thread's session under this id, and begin its create."""
    session = SessionStore(pool).get_session_by_thread(channel, THREAD)
    assert session is not None
    syncs = SyncStore(pool)
    claim = syncs.claim(session.id, site="jira.example", lease=60)
    assert claim is not None
    return claim, _begin(pool, claim)


def _begin(pool: Pool, claim: Any) -> Begun | None:
    return SyncStore(pool).begin_create(
        claim,
        site="jira.example",
        project_key="PROJ",
        defaults=Defaults(Sourced("PROJ", "settings"), Sourced("Task", "settings")),
        baseline=1,
        at_once=9,
        deadline=20,
        turn=20,
        lease=60,
    )


@pytest.mark.parametrize("creating", [OLD, NEW])
def test_the_session_with_a_create_stays(store: SessionStore, pool: Pool, creating: str) -> None:
    """The session whose create has begun stays, takes over the newer draft, and the other creates nothing."""
    ids = {}
    for channel, second in ((OLD, 1), (NEW, 2)):
        ids[channel] = store.get_or_create_session(channel, THREAD, USER).id
        store.request_sync(channel, THREAD, Draft(summary=channel), f"170000000{second}.000000")
    _, begun = begin(pool, creating)
    assert begun is not None
    other = NEW if creating == OLD else OLD
    claim = SyncStore(pool).claim(ids[other], site="jira.example", lease=60)
    store.channel_moved(OLD, NEW)
    assert store.get_or_create_session(OLD, THREAD, USER).id == ids[creating]
    assert store.get_or_create_session(NEW, THREAD, USER).id == ids[creating]
    sync = SyncStore(pool).get(ids[creating])
    assert sync is not None
    assert (sync.sync.state, sync.draft.summary) == ("inflight", NEW)
    assert _begin(pool, claim) is None, "the other one was about to create, and may not"


def test_two_creates_are_for_a_person(store: SessionStore, pool: Pool) -> None:
    """Two creates for one thread make a review, and neither is sent again."""
    for channel in (OLD, NEW):
        store.get_or_create_session(channel, THREAD, USER)
        store.request_sync(channel, THREAD, DRAFT, "1700000001.000000")
        assert begin(pool, channel)[1] is not None
    store.channel_moved(OLD, NEW)
    assert {(sync.state, sync.reason) for sync in SyncStore(pool).list_syncs()} == {("review", "two_tickets")}


def test_a_session_that_is_being_opened_is_seen_by_the_move(
    store: SessionStore, pool: Pool, database_url: str
) -> None:
    """A move waits for a session that is being opened under the new id, and later openings wait for it."""
    old = store.get_or_create_session(OLD, THREAD, USER)
    with psycopg.connect(database_url) as under_way, ThreadPoolExecutor(3) as threads:
        under_way.execute(
            "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES (%s, %s, %s)",
            [NEW, THREAD, USER],
        )
        move = threads.submit(store.channel_moved, OLD, NEW)
        wait_until(lambda: ask(database_url, WAITING) == 1, "the move waits for it")
        opened = threads.submit(store.get_or_create_session, NEW, OTHER, USER)
        wait_until(lambda: ask(database_url, WAITING) == 2, "the next one waits for the move")
        under_way.commit()
        assert move.result(10).sessions == 1
        assert opened.result(10).channel_id == OLD
    assert store.get_or_create_session(NEW, THREAD, USER).id == old.id
    assert store.get_or_create_session(OLD, OTHER, USER).id == opened.result().id


def test_moves_while_sessions_are_opened_and_asked_for(store: SessionStore, pool: Pool) -> None:
    """Concurrent moves, openings and requests end with one session and one pending sync per thread."""
    names = [f"{1_700_000_000 + number}.000100" for number in range(40)]
    barrier = threading.Barrier(5)

    def open_all(channel: str) -> None:
        barrier.wait()
        for thread in names:
            store.get_or_create_session(channel, thread, USER)
            store.request_sync(channel, thread, DRAFT, "1700000001.000000")

    def move(old: str, new: str) -> None:
        barrier.wait()
        store.channel_moved(old, new)

    with ThreadPoolExecutor(5) as threads:
        work = [threads.submit(open_all, channel) for channel in (OLD, NEW, NEWER)]
        work += [threads.submit(move, NEW, NEWER), threads.submit(move, OLD, NEW)]
        for each in work:
            each.result(60)
    found = {
        (store.get_or_create_session(channel, thread, USER).id, thread)
        for channel in IDS[:3]
        for thread in names
    }
    assert len(found) == len(names)
    syncs = [sync for sync in SyncStore(pool).list_syncs(limit=200) if sync.state == "pending"]
    assert {(sync.session_id, sync.thread_ts) for sync in syncs} == found


@given(history=st.lists(steps(), max_size=14))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_history_in_any_order(owner_pool: Pool, history: list[Step]) -> None:
    """Any order of moves and openings, circles and repetitions included, ends with one session per thread."""
    story = History(owner_pool)
    story.clear()
    story.deliver(history)
    story.check()


def test_slack_is_called_by_the_newest_id(pool: Pool) -> None:
    """The status message is posted to the channel's newest id."""
    with SlackSandbox() as slack:
        slack.workspace.add(STORY_CHANNEL, USER, "help!", ts=STORY_THREAD)
        story = Story(pool, slack)
        SessionStore(pool).channel_moved(STORY_CHANNEL, "C0LATER")
        assert story.announce() == "shown"
        assert [call.arguments["channel"] for call in slack.calls("chat.postMessage")] == ["C0LATER"]
