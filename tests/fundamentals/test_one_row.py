"""One thread, one row, one ticket: clients that come at the same time get the same session."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.support.servers import ask
from threadsync.errors import JiraKeyConflict
from worker.db import SessionStore
from worker.db.pool import new_pool

T = TypeVar("T")
CHANNEL, THREAD = "C0123ABCD", "1700000000.000100"
CROWD = 100


def all_at_once(database_url: str, action: Callable[[SessionStore, int], T]) -> list[T]:
    """Let a hundred callers, each with its own connection, act at the same moment; return their results."""
    barrier = threading.Barrier(CROWD)
    with new_pool(database_url, min_size=CROWD, max_size=CROWD) as pool:
        pool.wait()
        store = SessionStore(pool)

        def call(number: int) -> T:
            barrier.wait()
            return action(store, number)

        with ThreadPoolExecutor(CROWD) as threads:
            return list(threads.map(call, range(CROWD)))


def test_a_hundred_at_once_make_one_session(database_url: str) -> None:
    """One client gets `created`, the others `unchanged`; there is one row and no error."""
    results = all_at_once(
        database_url, lambda store, _: store.get_or_create_session(CHANNEL, THREAD, "U0456")
    )
    assert Counter(result.outcome for result in results) == {"created": 1, "unchanged": CROWD - 1}
    assert len({result.id for result in results}) == 1
    assert ask(database_url, "SELECT count(*) FROM thread_sessions") == 1


def test_a_hundred_tickets_at_once_are_one_ticket(database_url: str) -> None:
    """The first key is written; every other key is a conflict and changes nothing."""

    def link(store: SessionStore, number: int) -> str:
        try:
            return store.mark_synced(CHANNEL, THREAD, f"PROJ-{number + 1}").jira_key or ""
        except JiraKeyConflict as conflict:
            return conflict.jira_key

    with new_pool(database_url) as pool:
        SessionStore(pool).get_or_create_session(CHANNEL, THREAD, "U0456")
    keys = all_at_once(database_url, link)
    assert set(keys) == {ask(database_url, "SELECT jira_key FROM thread_sessions")}
