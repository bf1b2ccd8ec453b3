"""The console's lists: what changed last comes first, page by page, on tables of many rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from tests.support.scale import bounded
from tests.support.servers import PostgresForTests, as_owner
from threadsync.errors import InvalidCommand
from worker.db import SessionStore
from worker.db.overview import changed_sql
from worker.db.overview.changed import ChangedStore
from worker.db.pool import Pool

ROWS: Final = bounded(100_000, 20_000)
FILL: Final = """
INSERT INTO thread_sessions (channel_id, thread_ts, user_id, status, jira_key, updated_at)
SELECT 'C' || n % 20, n || '.000100', 'U1',
       CASE WHEN n % 1000 = 0 THEN 'collecting' WHEN n % 1000 = 1 THEN 'ready_to_sync' ELSE 'synced' END,
       CASE WHEN n % 1000 > 1 THEN 'PROJ-' || n END, now() - make_interval(secs => n * 7919 % 100000)
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO syncs (session_id, draft, drafted_at, state, site, jira_key, origin, done_at, next_attempt_at,
                   reason, parked, updated_at)
SELECT id, '{"summary": "x"}', 1, CASE WHEN status = 'synced' THEN 'done' ELSE 'blocked' END, 'jira-1',
       jira_key, CASE WHEN status = 'synced' THEN 'created' END, CASE WHEN status = 'synced' THEN now() END,
       NULL, CASE WHEN status = 'synced' THEN NULL ELSE 'no_access' END, status <> 'synced', updated_at
FROM thread_sessions;
INSERT INTO dead_letters (task_id, task_name, queue, arguments, error_type, error, attempts,
                          state, settled_at, actor, reason)
SELECT gen_random_uuid(), 'sessions.mark_synced', 'sessions', '{}', 'JiraKeyConflict', 'refused', 1,
       CASE WHEN n % 1000 = 0 THEN 'dead' ELSE 'retried' END,
       CASE WHEN n % 1000 > 0 THEN now() - make_interval(secs => n * 7919 % 100000) END,
       CASE WHEN n % 1000 > 0 THEN 'ann' END,
       CASE WHEN n % 1000 > 0 THEN 'mended' END
FROM generate_series(1, %(rows)s) AS n;
ANALYZE;
"""
LIMIT: Final = 51
PAGES: Final[dict[str, dict[str, Any]]] = {
    "SESSIONS": {},
    "SESSIONS_BY_STATUS": {"status": "ready_to_sync"},
    "SESSIONS_BY_CHANNEL": {"channel_id": "C1"},
    "SESSIONS_BY_CHANNEL_AND_STATUS": {"channel_id": "C1", "status": "ready_to_sync"},
    "SYNCS_BY_STATE": {"state": "blocked"},
    "DEAD_LETTERS_BY_STATE": {"state": "retried"},
}


@pytest.fixture(scope="module")
def many_url(postgres: PostgresForTests) -> Iterator[str]:
    with postgres.database() as url:
        with psycopg.connect(as_owner(url), autocommit=True) as connection:
            connection.execute(FILL.replace("%(rows)s", str(ROWS)).encode())
        yield url


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.bounded
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("place", ["infinity", "middle"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_few_rows(many_url: str, name: str, place: str, mode: str) -> None:
    """A page, the first or a later one, scans no table, and reads no more than a page of each status."""
    at = "infinity" if place == "infinity" else "now"
    params = {"id": "f" * 32, "limit": LIMIT, "at": at, **PAGES[name]}
    with psycopg.connect(many_url) as connection:
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        connection.execute("SET jit = off")
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + getattr(changed_sql, name)
        answer = connection.execute(explain.encode(), params, prepare=True).fetchone()
    assert answer is not None
    plan = list(nodes(answer[0][0]["Plan"]))
    scanned = {node["Relation Name"] for node in plan if "Seq" in node["Node Type"]}
    # Both are empty here.
    assert scanned <= {"channel_aliases", "sync_attempts"}, plan
    for node in plan:
        assert node["Actual Rows"] * node["Actual Loops"] <= 4 * LIMIT, node
        assert node.get("Rows Removed by Filter", 0) <= 4, node


def test_what_changes_comes_to_the_front(pool: Pool) -> None:
    """Each list begins with what changed last; pages follow each other without a gap or a repetition."""
    store, changed = SessionStore(pool), ChangedStore(pool)
    for number in range(1, 8):
        store.get_or_create_session(f"C{number % 2}", f"{number}.5", "U1")
    store.update_status("C0", "2.5", "ready_to_sync")
    store.mark_synced("C1", "1.5", "PROJ-1")

    def walked(channel: str | None = None, status: Any = None, limit: int = 2) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = changed.sessions(channel, status, limit, cursor)
            found += [session.thread_ts for session in page.rows]
            cursor = page.following
            if cursor is None:
                return found

    assert walked() == ["1.5", "2.5", "7.5", "6.5", "5.5", "4.5", "3.5"]
    assert walked("C1") == ["1.5", "7.5", "5.5", "3.5"]
    assert walked("C1", "collecting", 1) == ["7.5", "5.5", "3.5"]
    assert walked(status="synced") == ["1.5"]
    first = changed.sessions(None, None, 2)
    store.update_status("C1", "3.5", "ready_to_sync")
    second = changed.sessions(None, None, 2, first.following)
    assert [session.thread_ts for session in second.rows] == ["7.5", "6.5"]


def test_rows_of_one_moment_have_an_order(pool: Pool, database_url: str) -> None:
    """Rows that changed at the same moment, or at a moment that Python has not, are each listed once."""
    store, changed = SessionStore(pool), ChangedStore(pool)
    for number in range(5):
        store.get_or_create_session("C1", f"{number}.5", "U1")
    for at in ("2026-11-29 14:05:00+00", "infinity", "-infinity", "20000-01-01 00:00:00+00", "0044-03-15 BC"):
        with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
            connection.execute("UPDATE thread_sessions SET updated_at = %s", [at])
        found: list[str] = []
        cursor: str | None = None
        for _ in range(5):
            page = changed.sessions(None, None, 1, cursor)
            found += [session.thread_ts for session in page.rows]
            cursor = page.following
        assert (found, cursor) == (["4.5", "3.5", "2.5", "1.5", "0.5"], None), at


@pytest.mark.parametrize(
    "cursor", ["x", "01890a5d-ac96-774b-bcce-b302099a8057", "2026-11-29T14:05:00_x", "'; --_" + "f" * 32]
)
def test_a_foreign_cursor_is_refused(pool: Pool, cursor: str) -> None:
    """A cursor of another list, or of before lists were sorted by change, gets a sentence."""
    with pytest.raises(InvalidCommand, match="is no place in this list"):
        ChangedStore(pool).dead_letters("dead", 10, cursor)
