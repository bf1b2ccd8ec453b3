"""The table of docs/understand/architecture.md: the effect of each command on a session in each state."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import pytest

from threadsync.actors import SlackActor
from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from threadsync.sessions import SessionResult, ThreadSession
from threadsync.syncs import Draft
from worker.db import AsyncSessionStore

CHANNEL, THREAD = "C0123ABCD", "1700000000.000100"
ANN: Final = SlackActor(user_id="U0456", team_id="T0123")
STATES: Final = ("absent", "collecting", "ready_to_sync", "synced")

TABLE: Final = {
    # a session that is      absent           collecting   ready_to_sync  synced
    "get_or_create": ("created", "unchanged", "unchanged", "unchanged"),
    "update_status(collecting)": (SessionNotFound, "unchanged", "stale", "stale"),
    "update_status(ready_to_sync)": (SessionNotFound, "applied", "unchanged", "stale"),
    "update_status(synced)": (InvalidCommand, InvalidCommand, InvalidCommand, InvalidCommand),
    "mark_synced(PROJ-1)": (SessionNotFound, "applied", "applied", "unchanged"),
    "mark_synced(PROJ-2)": (SessionNotFound, "applied", "applied", JiraKeyConflict),
    "request_sync(draft)": (SessionNotFound, "applied", "applied", "unchanged"),
    "link(PROJ-1)": (SessionNotFound, "applied", "applied", "unchanged"),
    "link(PROJ-2)": (SessionNotFound, "applied", "applied", JiraKeyConflict),
    "unlink(PROJ-1)": (SessionNotFound, "stale", "stale", "applied"),
    "unlink(PROJ-2)": (SessionNotFound, "stale", "stale", "stale"),
}
STATUS_AFTER: Final = {
    "get_or_create": "collecting",
    "update_status(ready_to_sync)": "ready_to_sync",
    "mark_synced(PROJ-1)": "synced",
    "mark_synced(PROJ-2)": "synced",
    "request_sync(draft)": "ready_to_sync",
    "link(PROJ-1)": "synced",
    "link(PROJ-2)": "synced",
    "unlink(PROJ-1)": "collecting",
}
CELLS: Final = [
    pytest.param(state, command, expected, id=f"{command}-{state}")
    for command, cells in TABLE.items()
    for state, expected in zip(STATES, cells, strict=True)
]


async def bring_to(store: AsyncSessionStore, state: str) -> ThreadSession | None:
    if state != "absent":
        await store.get_or_create_session(CHANNEL, THREAD, "U0456")
    if state == "ready_to_sync":
        await store.update_status(CHANNEL, THREAD, "ready_to_sync")
    if state == "synced":
        await store.mark_synced(CHANNEL, THREAD, "PROJ-1")
    return await store.get_session_by_thread(CHANNEL, THREAD)


async def run(store: AsyncSessionStore, command: str) -> SessionResult:
    name, _, argument = command.rstrip(")").partition("(")
    if name == "get_or_create":
        return await store.get_or_create_session(CHANNEL, THREAD, "U0456")
    if name == "mark_synced":
        return await store.mark_synced(CHANNEL, THREAD, argument)
    if name == "request_sync":
        return await store.request_sync(CHANNEL, THREAD, Draft(summary="It is broken"), "1700000001.000100")
    if name == "link":
        return await store.link(CHANNEL, THREAD, argument, ANN, uuid4())
    if name == "unlink":
        return await store.unlink(CHANNEL, THREAD, argument, ANN, "another one is meant", uuid4())
    return await store.update_status(CHANNEL, THREAD, argument)  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "command", "expected"), CELLS)
async def test_a_cell_of_the_table(
    any_way: AsyncSessionStore, state: str, command: str, expected: str | type[Exception]
) -> None:
    """Only `created` and `applied` change the row; any other outcome leaves even `updated_at` as it was."""
    before = await bring_to(any_way, state)
    if isinstance(expected, str):
        result = await run(any_way, command)
        assert result.outcome == expected
    else:
        with pytest.raises(expected):
            await run(any_way, command)
    after = await any_way.get_session_by_thread(CHANNEL, THREAD)
    if expected in {"created", "applied"}:
        assert after is not None
        assert after.status == STATUS_AFTER[command]
        # A session that was ready has its request in a table of its own.
        is_as_it_was = before is not None and before.status == after.status
        assert before is None or is_as_it_was or after.updated_at > before.updated_at
    else:
        assert after == before


async def test_the_result_is_the_row(any_way: AsyncSessionStore) -> None:
    """A command returns the row as it left it, so that no client has to read it again."""
    created = await any_way.get_or_create_session(CHANNEL, THREAD, "U0456")
    synced = await any_way.mark_synced(CHANNEL, THREAD, "PROJ-1")
    row = await any_way.get_session_by_thread(CHANNEL, THREAD)
    assert row is not None
    assert synced.model_dump(exclude={"outcome"}) == row.model_dump()
    assert (row.id, row.created_at, row.user_id) == (created.id, created.created_at, "U0456")


async def test_a_refused_key_names_both_tickets(any_way: AsyncSessionStore) -> None:
    """`JiraKeyConflict` says which ticket the session has and which one was refused."""
    await bring_to(any_way, "synced")
    with pytest.raises(JiraKeyConflict) as refusal:
        await any_way.mark_synced(CHANNEL, THREAD, "PROJ-2")
    assert (refusal.value.jira_key, refusal.value.refused_key) == ("PROJ-1", "PROJ-2")
