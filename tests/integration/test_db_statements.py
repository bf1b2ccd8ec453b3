"""Every statement on the real database, prepared and with a plan that stays cheap on big tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg.sql import SQL

from tests.support.scale import bounded
from tests.support.servers import PostgresForTests, as_owner, ask
from worker.db.channels import sql as channel_queries
from worker.db.dead_letters import sql as dead_letter_queries
from worker.db.overview import changed_sql
from worker.db.overview import sql as overview_queries
from worker.db.reporters import sql as reporter_queries
from worker.db.session_parts import ACT
from worker.db.sessions import many_sql
from worker.db.sessions import sql as queries
from worker.db.status_messages import sql as status_queries
from worker.db.syncs import decision_sql, site_sql
from worker.db.syncs import sql as sync_queries
from worker.db.ticket_steps import sql as step_queries
from worker.db.unlinked import sql as left_queries

# Constants that do not match are parts of these statements.
STATEMENT: Final = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b")
STATEMENTS: Final = {
    f"{prefix}{name}": value
    for prefix, module in (
        ("", queries),
        ("", dead_letter_queries),
        ("SYNC_", sync_queries),
        ("SYNC_", site_sql),
        ("SYNC_", decision_sql),
        ("LEFT_", left_queries),
        ("STEP_", step_queries),
        ("REPORTER_", reporter_queries),
        ("STATUS_", status_queries),
        ("CHANNEL_", channel_queries),
        ("CHANGED_", changed_sql),
    )
    for name, value in vars(module).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, str) and STATEMENT.match(value)
} | {"ACT": ACT, "COUNTS": overview_queries.COUNTS, "KEEP_SAMPLES": overview_queries.KEEP_SAMPLES}
# Their plans are in test_many_plans.py.
FOR_MANY: Final[dict[str, str]] = {
    name: value
    for name, value in vars(many_sql).items()
    if name.isupper() and isinstance(value, str) and STATEMENT.match(value)
}
PAGES: Final = [name for name in STATEMENTS if name.startswith("LIST_")]
# Statements that may scan tables, as an operator or a metric asks for every row.
SCANNED: Final = {
    "SYNC_RETRY_ALL_BLOCKED": {"jira_sites", "jira_pauses", "syncs"},
    # One row for each Jira that was ever configured.
    "SYNC_UNPARK": {"jira_sites"},
    # Counts every row. On a vacuumed table it reads the status index only.
    "COUNTS": {"thread_sessions", "syncs", "dead_letters", "jira_sites"},
}

# Tables with one row, or with the people and channels that were forgotten and the acts for that, or with at
# most two rows for each project.
TINY: Final = {
    "slack_installation",
    "forgotten_channels",
    "forgotten_people",
    "forget_acts",
    "jira_reporters",
}

ROWS: Final = bounded(100_000, 20_000)
"""Rows of most tables. The fewer there are, the sooner a scan is the cheaper plan."""

# Twenty channels, most sessions synced, as after some years; a few dead letters are still open.
FILL: Final = """
INSERT INTO thread_sessions (channel_id, thread_ts, user_id, status, jira_key)
SELECT 'C' || n % 20, n || '.000100', 'U' || n % 500,
       CASE WHEN n % 50 = 0 THEN 'collecting' WHEN n % 50 = 1 THEN 'ready_to_sync' ELSE 'synced' END,
       CASE WHEN n % 50 > 1 THEN 'PROJ-' || n END
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO channel_context (channel_id, context_data)
SELECT 'C' || n, '{"topic": "release"}' FROM generate_series(1, %(rows)s) AS n;
INSERT INTO channel_context_commands (channel_id, command_id)
SELECT 'C' || n % 1000, uuidv7() FROM generate_series(1, %(rows)s) AS n;
INSERT INTO channel_acts (channel_id, act, command_id, settings)
SELECT 'C' || n % 1000, 'set', uuidv7(), '{labels}' FROM generate_series(1, %(rows)s) AS n;
INSERT INTO redeliveries (task_id, task_name, deliveries)
SELECT gen_random_uuid(), 'sessions.mark_synced', 2 FROM generate_series(1, %(rows)s);
INSERT INTO dead_letters (task_id, task_name, queue, arguments, error_type, error, attempts,
                          state, settled_at, actor, reason)
SELECT gen_random_uuid(), 'sessions.mark_synced', 'sessions', '{}', 'JiraKeyConflict', 'refused', 1,
       CASE WHEN n % 1000 = 0 THEN 'dead' ELSE 'retried' END,
       CASE WHEN n % 1000 > 0 THEN now() END,
       CASE WHEN n % 1000 > 0 THEN 'ann' END,
       CASE WHEN n % 1000 > 0 THEN 'mended' END
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO channel_aliases (channel_id, home_id, newest_id)
SELECT 'M' || n, 'M' || n / 2, 'M' || n FROM generate_series(1, 1000) AS n;
INSERT INTO jira_sites (site) SELECT 'jira-' || n FROM generate_series(1, 1000) AS n;
INSERT INTO jira_pauses (site, endpoint, paused_until)
SELECT 'jira-' || n, 'search', now() FROM generate_series(1, 1000) AS n;
INSERT INTO session_actions (session_id, action, actor, reason)
SELECT id, 'link', 'ann', 'x' FROM thread_sessions;
INSERT INTO session_acts (command_id, session_id, act, jira_key, outcome, actor)
SELECT uuidv7(), id, 'unlink', 'PROJ-1', 'applied', '{"user_id": "U1", "team_id": "T1"}' FROM thread_sessions;
INSERT INTO left_tickets (session_id, jira_key, act_id, next_attempt_at)
SELECT id, 'PROJ-1', id, NULL FROM thread_sessions;
INSERT INTO ticket_steps (session_id, jira_id, step, jira_key, next_attempt_at)
SELECT id, '1', step, 'PROJ-1', NULL FROM thread_sessions, unnest(ARRAY['link', 'plan', 'thread']) AS step;
INSERT INTO syncs (session_id, draft, drafted_at, state, site, project_key, marker, jira_key, origin, done_at,
                   next_attempt_at, announce_at, reason, parked)
SELECT id, '{"summary": "x"}', 1, CASE WHEN status = 'synced' THEN 'done' ELSE 'blocked' END, 'jira-1',
       'PROJ',
       'slk-' || translate(left(md5(id::text), 26), '0189', 'wxyz'), jira_key,
       CASE WHEN status = 'synced' THEN 'created' END, CASE WHEN status = 'synced' THEN now() END, NULL, NULL,
       CASE WHEN status = 'synced' THEN NULL ELSE 'no_access' END, status <> 'synced'
FROM thread_sessions;
INSERT INTO sync_attempts (session_id, number, step, fence, started_at, finished_at, outcome, deadline,
                           project_key, baseline)
SELECT session_id, 1, 'create', 1, now(), now(), 'created', now(), 'PROJ', 1 FROM syncs;
INSERT INTO sync_actions (session_id, action, actor, reason)
SELECT session_id, 'retry', 'ann', 'x' FROM syncs;
INSERT INTO status_messages (session_id) SELECT session_id FROM syncs;
INSERT INTO queue_samples (queue, sampled_at, waiting)
SELECT (ARRAY['sessions', 'syncs', 'maintenance'])[1 + n % 3], now() - make_interval(secs => n * 10), 0
FROM generate_series(1, %(rows)s) AS n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def migrated_url(postgres: PostgresForTests) -> Iterator[str]:
    """A database of this module, whose tests only prepare statements there."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="module")
def big_database_url(postgres: PostgresForTests) -> Iterator[str]:
    with postgres.database() as url:
        with psycopg.connect(as_owner(url), autocommit=True) as connection:
            connection.execute(FILL.replace("%(rows)s", str(ROWS)).encode())
        yield url


def numbered(statement: str) -> str:
    """Replace each ``%(name)s`` by ``$1`` and so on, as psycopg sends it; ``%(name)b``, too."""
    names: dict[str, int] = {}
    return re.sub(
        r"%\((\w+)\)[sb]", lambda match: f"${names.setdefault(match[1], len(names) + 1)}", statement
    )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def generic_plan(url: str, name: str) -> list[dict[str, Any]]:
    """Return the nodes of the plan that serves any parameters."""
    answer: Any = ask(url, "EXPLAIN (FORMAT JSON, GENERIC_PLAN) " + numbered(STATEMENTS[name]))
    return list(nodes(answer[0]["Plan"]))


@pytest.mark.parametrize("name", STATEMENTS | FOR_MANY)
def test_every_statement_can_be_prepared(migrated_url: str, name: str) -> None:
    """Every statement can be prepared, and the server infers the type of each parameter."""
    with psycopg.connect(migrated_url) as connection:
        connection.execute(SQL("PREPARE statement AS " + numbered((STATEMENTS | FOR_MANY)[name])))
        types = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements").fetchone()
    assert types is not None
    assert set(types[0]) <= {
        "text",
        "uuid",
        "bigint",
        "integer",
        "jsonb",
        "bytea",
        "timestamp with time zone",
        "numeric",
        "double precision",
        "boolean",
        "text[]",
        "uuid[]",
        "integer[]",
        "jsonb[]",
        "numeric[]",
        "double precision[]",
    }


@pytest.mark.bounded
@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_scans_a_table(big_database_url: str, name: str) -> None:
    """Every statement reaches each table of many rows by an index, except for the listed ones."""
    scans = [
        node["Relation Name"] for node in generic_plan(big_database_url, name) if "Seq" in node["Node Type"]
    ]
    assert set(scans) <= SCANNED.get(name, set()) | TINY


@pytest.mark.bounded
@pytest.mark.parametrize("name", PAGES)
def test_no_page_sorts_or_filters(big_database_url: str, name: str) -> None:
    """Every page is read in the order of one index, without a sort or a filter."""
    plan = generic_plan(big_database_url, name)
    # The channel's other ids are looked up first, once.
    aliases = [node for node in plan if node.get("Relation Name") == "channel_aliases"]
    assert [node["Index Name"] for node in aliases] == ["channel_aliases_pkey"] * ("BY_CHANNEL" in name)
    assert {node["Parent Relationship"] for node in aliases} <= {"InitPlan"}
    limit, scan = (node for node in plan if node not in aliases)
    assert (limit["Node Type"], scan["Node Type"]) == ("Limit", "Index Scan")
    assert "Filter" not in scan


@pytest.mark.bounded
def test_a_page_reads_no_more_than_it_shows(big_database_url: str) -> None:
    """A page of ten sessions with the rarest status reads ten rows, not all before them."""
    with psycopg.connect(big_database_url, cursor_factory=psycopg.ClientCursor) as connection:
        parameters = {"status": "ready_to_sync", "before": "f" * 32, "limit": 10}
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + STATEMENTS["LIST_SESSIONS_BY_STATUS"]
        answer = connection.execute(explain, parameters).fetchone()
    assert answer is not None
    scan = list(nodes(answer[0][0]["Plan"]))[-1]
    assert scan["Actual Rows"] == 10
    assert "Rows Removed by Filter" not in scan


OF_A_THREAD: Final = [name for name in STATEMENTS if "%(thread_ts)s" in STATEMENTS[name]]


@pytest.fixture(scope="module")
def young_database_url(postgres: PostgresForTests) -> Iterator[str]:
    """Create a database with many sessions, none of them synced, and matching statistics."""
    with postgres.database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) "
                "SELECT 'C' || n % 20, n || '.000100', 'U1' FROM generate_series(1, 50000) AS n"
            )
            connection.execute("ANALYZE thread_sessions")
        yield url


@pytest.mark.parametrize("name", OF_A_THREAD)
def test_a_channels_other_ids_cost_one_look(young_database_url: str, name: str) -> None:
    """Every statement on a thread looks up the channel's other ids once, by the primary key."""
    plan = generic_plan(young_database_url, name)
    looks = [node for node in plan if node.get("Relation Name") == "channel_aliases"]
    assert {(node["Node Type"], node["Parent Relationship"]) for node in looks} == {
        ("Index Scan", "InitPlan")
    }


# ACT finds its session in a function, whose statements are not in this plan.
@pytest.mark.parametrize("name", [name for name in OF_A_THREAD if name != "ACT"])
def test_a_thread_is_looked_up_by_its_key(young_database_url: str, name: str) -> None:
    """Every statement on a thread finds its session by the thread's unique index, never by status."""
    plan = generic_plan(young_database_url, name)
    sessions = [node for node in plan if node.get("Relation Name") == "thread_sessions"]
    assert {node.get("Index Name") for node in sessions if "Scan" in node["Node Type"]} == {
        "thread_sessions_thread_key"
    }
