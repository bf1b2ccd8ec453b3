"""Session commands commute: any order, any repetition, the same row."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from threadsync.errors import SessionNotFound
from threadsync.syncs import Draft
from worker.db import SessionStore

COMMANDS: Final[dict[str, Callable[[SessionStore, str, str], Any]]] = {
    "open": lambda store, channel, thread: store.get_or_create_session(channel, thread, "U0456"),
    "collect": lambda store, channel, thread: store.update_status(channel, thread, "collecting"),
    "ready": lambda store, channel, thread: store.update_status(channel, thread, "ready_to_sync"),
    "ask": lambda store, channel, thread: store.request_sync(
        channel, thread, Draft(summary="It is broken"), "1700000001.000100"
    ),
    "link": lambda store, channel, thread: store.mark_synced(channel, thread, "PROJ-1"),
}
threads = (f"{1_700_000_000 + number}.000100" for number in itertools.count())


def deliver(store: SessionStore, commands: Iterable[str]) -> dict[str, Any]:
    """Return the row after these commands. As in a worker, one that finds no session goes to the end."""
    thread, waiting = next(threads), deque(commands)
    while waiting:
        command = waiting.popleft()
        try:
            COMMANDS[command](store, "C0123ABCD", thread)
        except SessionNotFound:
            waiting.append(command)
    session = store.get_session_by_thread("C0123ABCD", thread)
    assert session is not None
    return session.model_dump(include={"channel_id", "user_id", "status", "jira_key"})


@given(delivered=st.lists(st.sampled_from(list(COMMANDS)), max_size=10), opened_at=st.integers(0, 10))
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_order_and_any_repetition_give_the_same_row(
    store: SessionStore, delivered: list[str], opened_at: int
) -> None:
    """Shuffled and repeated commands leave the row that each command once, in good order, leaves."""
    delivered.insert(opened_at, "open")
    in_good_order = [command for command in COMMANDS if command in delivered]
    assert deliver(store, delivered) == deliver(store, in_good_order)
