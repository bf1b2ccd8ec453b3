"""Plans of the statements for many: each row is looked up by its key, whatever the planner believes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from tests.support.scale import bounded
from tests.support.servers import PostgresForTests, as_owner, ask
from threadsync.actors import SlackActor
from threadsync.command import Command
from threadsync.commands import GetOrCreate, MarkSynced, RequestSync, UpdateStatus
from threadsync.config import get_settings
from threadsync.syncs import Draft
from worker.db import SessionStore, pipeline
from worker.db.pipeline import PLAN_BY_KEY, Batch
from worker.db.pool import new_pool
from worker.db.sessions.statements import statement_of

# One row each for a person or a channel that was forgotten.
TINY: Final = {"forgotten_people", "forgotten_channels"}
KEYS: Final = {
    *("thread_sessions_thread_key", "syncs_pkey", "channel_aliases_pkey", "forgotten_channels_pkey"),
    *("sync_attempts_doubt_idx", "channel_context_pkey"),
}
IN_DOUBT: Final = "sync_attempts_doubt_idx"
"""The index of creates whose end is not known: there are few, so that it may be read as a whole."""
TABLES: Final = ("thread_sessions", "syncs", "channel_aliases", "channel_context")
FILL: Final = """
INSERT INTO thread_sessions (channel_id, thread_ts, user_id, status, jira_key)
SELECT 'C' || n % 20, n || '.000100', 'U1', CASE WHEN n % 2 = 0 THEN 'collecting' ELSE 'synced' END,
       CASE WHEN n % 2 = 1 THEN 'PROJ-' || n END
FROM generate_series(1, $rows) AS n;
INSERT INTO syncs (session_id, draft, drafted_at) SELECT id, '{"summary": "x"}', 1 FROM thread_sessions;
INSERT INTO channel_aliases (channel_id, home_id, newest_id)
SELECT 'M' || n, 'M' || n, 'M' || n FROM generate_series(1, $rows / 10) AS n;
INSERT INTO channel_context (channel_id, context_data)
SELECT 'C' || n, '{"threadsync": {"who": ["U1"]}}' FROM generate_series(0, $rows / 10) AS n;
"""
DRAFT: Final = Draft(summary="It is broken")


def commands(kind: type[Command[Any]], count: int) -> list[Command[Any]]:
    """Return commands for as many threads, which a filled table has in part."""
    # Of a person, whom the channel's settings may not let act.
    ann = SlackActor(user_id="U1", team_id="T1")
    threads: list[dict[str, Any]] = [
        {"channel_id": f"C{number % 20}", "thread_ts": f"{number}.000100", "actor": ann}
        for number in range(count)
    ]
    if kind is GetOrCreate:
        return [GetOrCreate(**thread, user_id="U1") for thread in threads]
    if kind is UpdateStatus:
        return [UpdateStatus(**thread, status="ready_to_sync") for thread in threads]
    if kind is RequestSync:
        return [RequestSync(**thread, draft=DRAFT, drafted_at="2.1") for thread in threads]
    return [MarkSynced(**thread, jira_key="PROJ-1") for thread in threads]


KINDS: Final[tuple[type[Command[Any]], ...]] = (GetOrCreate, UpdateStatus, RequestSync, MarkSynced)


def fill(url: str, rows: int) -> None:
    with psycopg.connect(as_owner(url), autocommit=True) as owner:
        # As in a month in which autovacuum has not come by yet.
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
        if rows:
            owner.execute(FILL.replace("$rows", str(rows)).encode())


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((0, False), id="empty"),
        pytest.param((20, False), id="small"),
        pytest.param((20, True), id="small-analyzed"),
        pytest.param((bounded(1_000_000, 20_000), False), id="large"),
        pytest.param((bounded(1_000_000, 20_000), True), id="large-analyzed"),
    ],
)
def filled(request: pytest.FixtureRequest, postgres: PostgresForTests) -> Iterator[tuple[str, int]]:
    """Yield a database, with statistics or without, and the number of its sessions."""
    rows, is_analyzed = request.param
    with postgres.database() as url:
        fill(url, rows)
        if is_analyzed:
            ask(as_owner(url), "ANALYZE")
        yield url, rows


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def reads_a_table(node: dict[str, Any]) -> bool:
    """Return True for a table that grows."""
    table = node.get("Relation Name")
    return table is not None and table not in TINY and node.get("Index Name") != IN_DOUBT


def plan_of(url: str, kind: type[Command[Any]], count: int) -> dict[str, Any]:
    """Return the plan by which the statement for many runs, prepared as by the store, with what it did."""
    [trip] = Batch([statement_of(command) for command in commands(kind, count)]).trips()
    (settings, _none), (sql, [given]) = trip.runs()
    names = {name: f"${number}" for number, name in enumerate(given, 1)}
    with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(settings)
        numbered = re.sub(r"%\((\w+)\)b", lambda match: names[match[1]], sql)
        connection.execute(f"PREPARE many AS {numbered}".encode())
        values = ", ".join(["%s"] * len(given))
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE many ({values})"
        answer = connection.execute(explain.encode(), list(given.values())).fetchone()
        # All of it was done, and is undone.
        connection.rollback()
    assert answer is not None
    plan: dict[str, Any] = answer[0][0]["Plan"]
    return plan


@pytest.fixture(autouse=True)
def _one_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one command be many, and a thousand be one statement."""
    monkeypatch.setattr(pipeline, "AT_ONCE", 1)
    monkeypatch.setattr(pipeline, "STATEMENTS_AT_ONCE", 1000)


@pytest.mark.bounded
@pytest.mark.parametrize("count", [1, 128, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_each_row_is_looked_up_by_its_key(
    filled: tuple[str, int], kind: type[Command[Any]], count: int
) -> None:
    """No statement for many scans a table, or compares each of its rows with each other one."""
    url, rows = filled
    for node in nodes(plan_of(url, kind, count)):
        if "Scan" in node["Node Type"] and reads_a_table(node):
            assert "Seq" not in node["Node Type"]
            assert "Index Cond" in node
            # In a small table any index leads to the row; it is planned anew once the table is large.
            assert node["Index Name"] in KEYS or rows < 100
        if node["Node Type"] == "Nested Loop":
            _outer, inner = node["Plans"]
            assert inner["Node Type"] != "CTE Scan"


def _read(url: str) -> int:
    """Return the rows of tables and entries of indexes that were read so far."""
    return int(
        str(
            ask(
                url,
                "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = ANY (%s)) "
                "+ (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = ANY (%s))",
                list(TABLES),
                list(TABLES),
            )
        )
    )


@pytest.mark.parametrize("is_analyzed", [False, True])
@pytest.mark.parametrize("prepared", ["true", "false"])
def test_a_connection_keeps_no_plan_that_scans(
    database_url: str, monkeypatch: pytest.MonkeyPatch, prepared: str, is_analyzed: bool
) -> None:
    """A connection that began on empty tables reads none of them once they are large."""
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", prepared)
    get_settings.cache_clear()
    fill(database_url, 0)
    if is_analyzed:
        # They are known to be empty then, and not only believed to be small.
        ask(as_owner(database_url), "ANALYZE")
    with new_pool(database_url, max_size=1) as pool:
        store = SessionStore(pool)
        for _ in range(7):
            for kind in KINDS[1:]:
                store.run_many(commands(kind, 20))
            store.run_many([GetOrCreate(channel_id="C1", thread_ts="1.1", user_id="U1")])
        ask(
            as_owner(database_url),
            "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) "
            "SELECT 'C' || n % 20, n || '.000100', 'U1' FROM generate_series(1000, 30000) AS n",
        )
        before = _read(database_url)
        for kind in KINDS:
            store.run_many(commands(kind, 1000))
    # Closed, a connection has reported what it read: a row for each lookup, and some of these are repeated.
    assert _read(database_url) - before < 20 * 1000


def test_plans_by_key_end_with_the_transaction(store: SessionStore, database_url: str) -> None:
    """What is asked of the planner ends with the statement for many."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.pipeline():
            connection.execute(PLAN_BY_KEY)
            inside = connection.execute("SHOW enable_seqscan").fetchone()
        assert inside == ("off",)
        assert connection.execute("SHOW enable_seqscan").fetchone() == ("on",)
