"""Faults of a Postgres that answers: commands wait for an operator, but not for ever."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backlogs import open_sessions
from tests.support.installation import Installation
from tests.support.servers import PostgresForTests, ask
from tests.support.waiting import wait_until
from worker.durable.retry_policy import FAULT_PATIENCE_SECONDS, HEADER, History
from worker.local.servers.postgres import EmbeddedPostgres

NEARLY_SPENT = History(stuck=FAULT_PATIENCE_SECONDS - 0.01)


def test_a_fault_is_waited_for_and_then_a_dead_letter(
    postgres: PostgresForTests, installation: Installation
) -> None:
    """A command waits while a right is missing, and becomes a dead letter with the reason after an hour."""
    administrator = postgres.for_administrator(installation.database_url)
    ask(administrator, "REVOKE INSERT ON thread_sessions FROM threadsync_run")
    with installation.worker() as worker:
        old = {"channel_id": "C1", "thread_ts": "1.1", "user_id": "U1"}
        headers = {HEADER: NEARLY_SPENT.model_dump(mode="json")}
        installation.celery.send_task(
            "sessions.get_or_create", kwargs=old, queue="sessions", headers=headers, ignore_result=True
        )
        installation.send("sessions.get_or_create", channel_id="C1", thread_ts="1.2", user_id="U1")
        letter = installation.dead_letter(lambda letter: letter.error_type == "DatabaseFault", timeout=30)
        assert "permission denied for table thread_sessions" in letter.error
        assert '"1.1"' in (letter.arguments or "")
        wait_until(lambda: worker.log.count("task waits") > 2, "the other one waits", 30)
        ask(administrator, "GRANT INSERT ON thread_sessions TO threadsync_run")
        wait_until(lambda: [s.thread_ts for s in installation.sessions()] == ["1.2"], "it is carried out", 30)
        wait_until(lambda: installation.waiting() == 0, "no message is left", 10)
        assert len(installation.dead_letters()) == 1


@pytest.mark.parametrize("fast_lane", ["true", "false"], ids=["lane", "road"])
def test_commands_that_meet_no_postgres_together_run_out_of_no_time(
    own_postgres: EmbeddedPostgres, broker_url: str, tmp_path: Path, fast_lane: str
) -> None:
    """Commands that arrive together while Postgres is away all wait, and none exceeds its time limit."""
    with closing(Installation(own_postgres.url, broker_url, tmp_path)) as installation:
        # The first connections of the processes.
        with installation.worker(FAST_LANE=fast_lane) as worker:
            open_sessions(installation, 50)
            wait_until(lambda: installation.waiting() == 0, "all are carried out", 30)
            own_postgres.stop()
            results = open_sessions(installation, 60)[50:]
            wait_until(lambda: worker.log.count("task waits") > 60, "all wait", 60)
            own_postgres.start()
            wait_until(lambda: all(result.ready() for result in results), "all are carried out", 60)
            assert "time limit" not in worker.log
        assert installation.dead_letters() == []
