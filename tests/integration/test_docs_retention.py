"""The SQL for old data in docs/operate/backup.md, which must break no promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString

import psycopg
import pytest

from tests.support.documents import blocks, read
from tests.support.servers import as_owner
from threadsync.syncs import Draft
from worker.db import SessionStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore

OLD: Final = "1.000100"
SESSIONS: Final = "SELECT * FROM thread_sessions ORDER BY id"
STEPS: Final[LiteralString] = """
SELECT t.thread_ts, array_agg(a.step ORDER BY a.number)
FROM sync_attempts a JOIN thread_sessions t ON t.id = a.session_id GROUP BY 1 ORDER BY 1
"""
DRAFTS: Final[LiteralString] = """
SELECT t.thread_ts, s.draft ->> 'summary'
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id ORDER BY 1
"""
# Three sessions: done and audited a year ago, done today, and in doubt for a year.
SEED: Final[LiteralString] = """
WITH given (thread_ts, state, outcome, days, letter) AS (
    VALUES ('1.000100', 'done', 'created', 365, 'a'),
           ('2.000100', 'done', 'created', 0, 'b'),
           ('3.000100', 'unknown', 'unknown', 365, 'c')
), session AS (
    INSERT INTO thread_sessions (channel_id, thread_ts, user_id, status, jira_key)
    SELECT 'C1', thread_ts, 'U1', CASE state WHEN 'done' THEN 'synced' ELSE 'ready_to_sync' END,
           CASE state WHEN 'done' THEN 'PROJ-1' END
    FROM given RETURNING id, thread_ts
), sync AS (
    INSERT INTO syncs (session_id, draft, drafted_at, state, reason, site, marker, project_key, jira_key,
                       origin, done_at, audited_at, next_attempt_at)
    SELECT id, '{"summary": "what they wrote"}', 1, state, 'no_answer', 'jira', 'slk-' || repeat(letter, 26),
           'PROJ', 'PROJ-1', 'created', now() - days * interval '1 day', now() - days * interval '1 day', NULL
    FROM given JOIN session USING (thread_ts) RETURNING session_id
)
INSERT INTO sync_attempts (session_id, number, step, fence, started_at, deadline, finished_at, outcome,
                           project_key, baseline)
SELECT id, number, step, 1, now(), now(), now(), coalesce(came_of_it, outcome), 'PROJ', 1
FROM given JOIN session USING (thread_ts),
     (VALUES (1, 'search', 'absent'), (2, 'create', NULL), (3, 'link_back', 'ok'))
         AS s (number, step, came_of_it)
WHERE (SELECT count(*) FROM sync) = 3
"""


def clearing() -> list[str]:
    """Return the statements of the page's section on old data."""
    section = read("docs/operate/backup.md").partition("\n## Old data\n")[2].partition("\n## ")[0]
    [block] = [block for block in blocks(section) if block.language == "sql"]
    return [statement for statement in block.text.split(";") if statement.strip()]


@pytest.fixture
def seeded(database_url: str) -> Iterator[Any]:
    """Yield a connection to a database with the three sessions of ``SEED``."""
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(SEED)
        yield connection


def test_what_is_cleared_away_is_not_missed(seeded: Any, store: SessionStore, pool: Pool) -> None:
    """Clearing removes an old session's text and steps; its row and ticket stay, and no sync becomes due."""
    before = seeded.execute(SESSIONS).fetchall()
    assert len(before) == 3
    # Run twice, as on two nights.
    for statement in clearing() * 2:
        seeded.execute(statement)
    assert seeded.execute(SESSIONS).fetchall() == before
    assert [summary for _, summary in seeded.execute(DRAFTS)] == ["(removed)", *["what they wrote"] * 2]
    everything = ["search", "create", "link_back"]
    assert [steps for _, steps in seeded.execute(STEPS)] == [["create"], everything, everything]

    session = store.request_sync("C1", OLD, Draft(summary="Once more", description=""), "1700000009.000000")
    assert (session.outcome, session.jira_key) == ("unchanged", "PROJ-1")
    assert SyncStore(pool).take_due(most=10, for_seconds=1) == []
