"""Sessions in both stores: reading and pages. The effects of commands are in tests/fundamentals."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.servers import ask
from threadsync.errors import JiraKeyConflict
from threadsync.sessions import SessionPage, ThreadSession
from worker.db import AsyncSessionStore

CHANNEL, THREAD = "C0123ABCD", "1700000000.000100"


def thread(number: int) -> str:
    return f"{1_700_000_000 + number}.000100"


async def make_sessions(store: AsyncSessionStore, count: int, channel: str = CHANNEL) -> list[UUID]:
    """Create sessions, and return their ids, newest first."""
    made = [await store.get_or_create_session(channel, thread(number), "U1") for number in range(count)]
    return [session.id for session in reversed(made)]


async def test_a_session_is_found_by_id_and_by_thread(any_store: AsyncSessionStore) -> None:
    """A session is found by its thread and by its id, as a UUID or as text."""
    created = await any_store.get_or_create_session(CHANNEL, THREAD, "U1")
    found = await any_store.get_session_by_thread(CHANNEL, THREAD)
    assert found == await any_store.get_session(created.id) == await any_store.get_session(str(created.id))
    assert found == ThreadSession(**created.model_dump(exclude={"outcome"}))


async def test_what_is_not_there_is_none(any_store: AsyncSessionStore) -> None:
    """Reading an unknown session returns None, and listing none returns an empty page."""
    assert await any_store.get_session(uuid4()) is None
    assert await any_store.get_session_by_thread(CHANNEL, THREAD) is None
    assert await any_store.list_sessions_by_channel(CHANNEL) == SessionPage(sessions=(), next_cursor=None)
    assert await any_store.list_sessions() == SessionPage(sessions=(), next_cursor=None)


async def test_times_are_aware_and_ids_are_ordered(any_store: AsyncSessionStore) -> None:
    """Times are in UTC, and ids are UUIDs of version 7 that sort by creation."""
    first = await any_store.get_or_create_session(CHANNEL, thread(1), "U1")
    second = await any_store.get_or_create_session(CHANNEL, thread(2), "U1")
    assert first.created_at.utcoffset() == timedelta(0)
    assert first.created_at == first.updated_at
    assert (first.id.version, second.id.version) == (7, 7)
    assert first.id < second.id


async def test_one_thread_ts_in_two_channels_is_two_sessions(any_store: AsyncSessionStore) -> None:
    """The same thread_ts in two channels makes two sessions."""
    one = await any_store.get_or_create_session("C1", THREAD, "U1")
    other = await any_store.get_or_create_session("C2", THREAD, "U1")
    assert (one.outcome, other.outcome) == ("created", "created")


async def test_another_user_does_not_take_over_a_session(any_store: AsyncSessionStore) -> None:
    """A session keeps the user who opened it."""
    await any_store.get_or_create_session(CHANNEL, THREAD, "U1")
    assert (await any_store.get_or_create_session(CHANNEL, THREAD, "U2")).user_id == "U1"


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
async def test_pages_are_complete(any_store: AsyncSessionStore, limit: int) -> None:
    """Following the cursors lists each session of the channel once, newest first."""
    expected = await make_sessions(any_store, 7)
    await make_sessions(any_store, 3, channel="C0OTHER")
    assert await follow(any_store, CHANNEL, limit=limit) == expected


async def test_a_cursor_is_stable(any_store: AsyncSessionStore) -> None:
    """Sessions that are opened or changed between two pages neither shift nor repeat the rest."""
    expected = await make_sessions(any_store, 6)
    page = await any_store.list_sessions_by_channel(CHANNEL, limit=2)
    await any_store.get_or_create_session(CHANNEL, "1800000000.000100", "U1")
    await any_store.update_status(CHANNEL, thread(0), "ready_to_sync")
    rest = await follow(any_store, CHANNEL, limit=2, cursor=page.next_cursor)
    assert [session.id for session in page.sessions] + rest == expected


async def test_pages_of_one_status(any_store: AsyncSessionStore) -> None:
    """A status filter holds across pages, in one channel and in all."""
    ids = await make_sessions(any_store, 6)
    for number in (0, 2, 4):
        await any_store.update_status(CHANNEL, thread(number), "ready_to_sync")
    ready = [ids[5], ids[3], ids[1]][::-1]
    assert await follow(any_store, CHANNEL, "ready_to_sync", limit=2) == ready
    assert await follow(any_store, None, "ready_to_sync", limit=2) == ready
    assert await follow(any_store, CHANNEL, "synced", limit=2) == []


async def test_pages_of_all_channels(any_store: AsyncSessionStore) -> None:
    """Pages of all channels are ordered newest first."""
    older = await make_sessions(any_store, 2, channel="C1")
    newer = await make_sessions(any_store, 3, channel="C2")
    assert await follow(any_store, None, limit=2) == newer + older


async def follow(
    store: AsyncSessionStore,
    channel: str | None,
    status: Any = None,
    *,
    limit: int,
    cursor: str | None = None,
) -> list[UUID]:
    """Return the ids on all pages from ``cursor`` on."""
    ids: list[UUID] = []
    while True:
        if channel is None:
            page = await store.list_sessions(status, limit, cursor)
        else:
            page = await store.list_sessions_by_channel(channel, status, limit, cursor)
        assert len(page.sessions) <= limit
        ids += [session.id for session in page.sessions]
        if page.next_cursor is None:
            return ids
        cursor = page.next_cursor


async def test_racing_commands_of_all_kinds_end_as_in_good_order(any_store: AsyncSessionStore) -> None:
    """Concurrent commands of all kinds leave each session synced with its own ticket."""

    async def commands(number: int) -> None:
        place, key = (CHANNEL, thread(number)), f"PROJ-{number + 1}"
        await any_store.get_or_create_session(*place, "U1")
        await asyncio.gather(
            *(any_store.update_status(*place, "ready_to_sync") for _ in range(3)),
            *(any_store.get_or_create_session(*place, "U1") for _ in range(3)),
            *(any_store.mark_synced(*place, key) for _ in range(3)),
            *(any_store.update_status(*place, "collecting") for _ in range(3)),
        )

    await asyncio.gather(*(commands(number) for number in range(10)))
    page = await any_store.list_sessions_by_channel(CHANNEL)
    rows = {session.thread_ts: (session.status, session.jira_key) for session in page.sessions}
    assert rows == {thread(number): ("synced", f"PROJ-{number + 1}") for number in range(10)}


async def test_a_conflict_writes_nothing(any_store: AsyncSessionStore, database_url: str) -> None:
    """A refused, repeated or stale command writes no new version of the row."""
    await any_store.get_or_create_session(CHANNEL, THREAD, "U1")
    await any_store.mark_synced(CHANNEL, THREAD, "PROJ-1")
    row = "SELECT row(ctid, thread_sessions)::text FROM thread_sessions"
    before = ask(database_url, row)
    with pytest.raises(JiraKeyConflict):
        await any_store.mark_synced(CHANNEL, THREAD, "PROJ-2")
    await any_store.mark_synced(CHANNEL, THREAD, "PROJ-1")
    await any_store.update_status(CHANNEL, THREAD, "ready_to_sync")
    await any_store.get_or_create_session(CHANNEL, THREAD, "U1")
    assert ask(database_url, row) == before
