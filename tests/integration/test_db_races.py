"""Forced races, in which every command has reached the row before any of them may write it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.servers import ask
from tests.support.waiting import wait_until
from threadsync.errors import JiraKeyConflict
from threadsync.syncs import Draft
from worker.db import AsyncSessionStore

CHANNEL, THREAD = "C0123ABCD", "1700000000.000100"
LOCK_THE_ROW = "SELECT FROM thread_sessions FOR UPDATE"
OPEN_THE_SESSION = (
    f"INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES ('{CHANNEL}', '{THREAD}', 'U1')"  # noqa: S608
)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@asynccontextmanager
async def obstacle(url: str, statement: LiteralString) -> AsyncIterator[psycopg.Connection]:
    """Open a transaction that holds up every write, with this statement."""
    connection = psycopg.connect(url)
    try:
        connection.execute(statement)
        yield connection
    finally:
        connection.close()


async def race(
    url: str, connection: psycopg.Connection, commands: list[Coroutine[Any, Any, Any]], end: str = "COMMIT"
) -> list[Any]:
    """Run the commands, end the obstacle's transaction once all wait for it, and return their results."""
    running = [asyncio.create_task(command) for command in commands]
    await asyncio.to_thread(
        wait_until, lambda: ask(url, WAITING) == len(commands), "all commands wait for the lock"
    )
    connection.execute(end.encode())
    return await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture
async def session(any_way: AsyncSessionStore) -> None:
    await any_way.get_or_create_session(CHANNEL, THREAD, "U1")


@pytest.mark.usefixtures("session")
async def test_racing_keys(any_way: AsyncSessionStore, database_url: str) -> None:
    """One of five different tickets is written; the other commands are refused with the winner's key."""
    async with obstacle(database_url, LOCK_THE_ROW) as lock:
        commands = [any_way.mark_synced(CHANNEL, THREAD, f"PROJ-{n}") for n in range(1, 6)]
        results = await race(database_url, lock, commands)
    winner = ask(database_url, "SELECT jira_key FROM thread_sessions")
    refused = [result for result in results if isinstance(result, JiraKeyConflict)]
    applied = [result for result in results if not isinstance(result, Exception)]
    assert [(result.outcome, result.jira_key) for result in applied] == [("applied", winner)]
    assert [refusal.jira_key for refusal in refused] == [winner] * 4


@pytest.mark.usefixtures("session")
async def test_racing_repetitions(any_way: AsyncSessionStore, database_url: str) -> None:
    """One of five equal links is applied, the others are unchanged, and all return the same `updated_at`."""
    async with obstacle(database_url, LOCK_THE_ROW) as lock:
        commands = [any_way.mark_synced(CHANNEL, THREAD, "PROJ-1") for _ in range(5)]
        results = await race(database_url, lock, commands)
    assert Counter(result.outcome for result in results) == {"applied": 1, "unchanged": 4}
    assert len({result.updated_at for result in results}) == 1


@pytest.mark.usefixtures("session")
async def test_racing_status_updates(any_way: AsyncSessionStore, database_url: str) -> None:
    """One of five equal status updates is applied, the others are unchanged."""
    async with obstacle(database_url, LOCK_THE_ROW) as lock:
        commands = [any_way.update_status(CHANNEL, THREAD, "ready_to_sync") for _ in range(5)]
        results = await race(database_url, lock, commands)
    assert Counter(result.outcome for result in results) == {"applied": 1, "unchanged": 4}


@pytest.mark.usefixtures("session")
async def test_a_status_update_that_comes_late(any_way: AsyncSessionStore, database_url: str) -> None:
    """A status update that waited for a session to be synced is stale, and the row stays synced."""
    synced = f"UPDATE thread_sessions SET status = 'synced', jira_key = 'PROJ-1' WHERE thread_ts = '{THREAD}'"  # noqa: S608
    async with obstacle(database_url, synced) as update:
        commands = [any_way.update_status(CHANNEL, THREAD, "ready_to_sync") for _ in range(3)]
        results = await race(database_url, update, commands)
    assert [(result.outcome, result.status, result.jira_key) for result in results] == [
        ("stale", "synced", "PROJ-1")
    ] * 3


@pytest.mark.usefixtures("session")
async def test_racing_ticket_and_status(any_way: AsyncSessionStore, database_url: str) -> None:
    """A link that races with status updates is applied, and the session ends synced."""
    async with obstacle(database_url, LOCK_THE_ROW) as lock:
        commands = [
            any_way.update_status(CHANNEL, THREAD, "ready_to_sync"),
            any_way.mark_synced(CHANNEL, THREAD, "PROJ-1"),
            any_way.update_status(CHANNEL, THREAD, "ready_to_sync"),
        ]
        results = await race(database_url, lock, commands)
    assert results[1].outcome == "applied"
    assert {results[0].outcome, results[2].outcome} <= {"applied", "unchanged", "stale"}
    assert ask(database_url, "SELECT status FROM thread_sessions") == "synced"


async def test_opening_loses_to_another(any_way: AsyncSessionStore, database_url: str) -> None:
    """Openings that wait for another's session get that session as `unchanged`."""
    async with obstacle(database_url, OPEN_THE_SESSION) as insert:
        commands = [any_way.get_or_create_session(CHANNEL, THREAD, "U2") for _ in range(5)]
        results = await race(database_url, insert, commands)
    assert [(result.outcome, result.user_id) for result in results] == [("unchanged", "U1")] * 5
    assert ask(database_url, "SELECT count(*) FROM thread_sessions") == 1


async def test_opening_after_another_gave_up(any_way: AsyncSessionStore, database_url: str) -> None:
    """One of five openings creates the session when the one that they waited for is rolled back."""
    async with obstacle(database_url, OPEN_THE_SESSION) as insert:
        commands = [any_way.get_or_create_session(CHANNEL, THREAD, "U2") for _ in range(5)]
        results = await race(database_url, insert, commands, end="ROLLBACK")
    assert Counter(result.outcome for result in results) == {"created": 1, "unchanged": 4}
    assert len({result.id for result in results}) == 1


@pytest.mark.usefixtures("session")
async def test_a_key_that_is_unlinked_meanwhile(any_way: AsyncSessionStore, database_url: str) -> None:
    """A ticket that a person unlinks while it is reported is stale, and the session stays without it."""
    unlinked = "UPDATE thread_sessions SET left_keys = '{PROJ-1}'"
    async with obstacle(database_url, unlinked) as update:
        commands = [any_way.mark_synced(CHANNEL, THREAD, "PROJ-1") for _ in range(3)]
        results = await race(database_url, update, commands)
    assert [(result.outcome, result.jira_key) for result in results] == [("stale", None)] * 3


@pytest.mark.usefixtures("session")
async def test_racing_drafts(any_way: AsyncSessionStore, database_url: str) -> None:
    """Of five drafts that wait for one row, each is applied or stale, and the latest one stays."""
    async with obstacle(database_url, LOCK_THE_ROW) as lock:
        commands = [
            any_way.request_sync(CHANNEL, THREAD, Draft(summary=f"draft {n}"), f"1700000000.{n}")
            for n in range(1, 6)
        ]
        results = await race(database_url, lock, commands)
    assert {result.outcome for result in results} <= {"applied", "stale"}
    assert ask(database_url, "SELECT draft ->> 'summary' FROM syncs") == "draft 5"
