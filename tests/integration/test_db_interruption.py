"""Time limits in the middle of a statement, after which the connection is not used again."""

from __future__ import annotations

from functools import partial

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from tests.support.frozen import family, standing_still
from tests.support.interruption import out_of_time_after
from tests.support.waiting import wait_until
from worker.db.pool import Pool, new_pool
from worker.db.sessions.store import SessionStore
from worker.local.servers.postgres import EmbeddedPostgres

LONG = "SELECT pg_sleep(1), 'an answer that comes late'"


def answers_are_right(pool: Pool) -> bool:
    def answer(number: int) -> object:
        with pool.connection() as connection:
            row = connection.execute("SELECT %s::int AS number", [number]).fetchone()
        return row and row["number"]

    return [answer(number) for number in range(5)] == list(range(5))


def test_a_statement_that_is_cut_off(pool: Pool) -> None:
    """A statement cut off by a time limit leaves the pool with connections that answer rightly."""
    with out_of_time_after(0.2), pytest.raises(SoftTimeLimitExceeded), pool.connection() as connection:
        connection.execute(LONG)
    assert answers_are_right(pool)


def in_a_pipeline(pool: Pool) -> None:
    with pool.connection() as connection, connection.pipeline():
        first = connection.execute("SELECT 1 AS number")
        connection.execute(LONG)
        connection.execute("SELECT 3 AS number")
        assert first.fetchone() == {"number": 1}
        connection.execute("SELECT 4 AS number").fetchone()


def in_a_transaction(pool: Pool) -> None:
    with pool.connection() as connection, connection.transaction():
        connection.execute(
            "INSERT INTO thread_sessions (id, channel_id, thread_ts, user_id) "
            "VALUES (gen_random_uuid(), 'C1', '1.1', 'U1')"
        )
        connection.execute(LONG)


def test_a_pipeline_that_is_cut_off(pool: Pool) -> None:
    """A pipeline cut off after its first results leaves the pool with connections that answer rightly."""
    with out_of_time_after(0.2), pytest.raises(SoftTimeLimitExceeded):
        in_a_pipeline(pool)
    assert answers_are_right(pool)


def test_a_transaction_that_is_cut_off_changes_nothing(pool: Pool) -> None:
    """A transaction cut off by a time limit leaves no row and no lock."""
    with out_of_time_after(0.2), pytest.raises(SoftTimeLimitExceeded):
        in_a_transaction(pool)
    assert SessionStore(pool).get_or_create_session("C1", "1.1", "U2").outcome == "created"
    assert answers_are_right(pool)


def test_who_is_out_of_time_does_not_wait_for_a_frozen_server(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit ends a command at once even when the server is frozen, and the pool recovers.

    The check of an idle connection is cut off too, and the pool must not take that for a broken connection.
    """
    used, idle = 3_600.0, -1.0
    with new_pool(own_postgres.url) as pool:
        for work, idle_seconds in ((in_a_pipeline, used), (in_a_transaction, used), (in_a_transaction, idle)):
            assert answers_are_right(pool)
            monkeypatch.setattr("worker.db.connection.IDLE_SECONDS", idle_seconds)
            with (
                standing_still(*family(own_postgres.pid)),
                out_of_time_after(0.2),
                pytest.raises(SoftTimeLimitExceeded),
            ):
                work(pool)
            wait_until(partial(answers_are_right, pool), "it answers again")
