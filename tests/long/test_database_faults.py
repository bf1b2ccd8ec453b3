"""Faults of a Postgres that answers: commands wait for an operator, but not for ever."""

from __future__ import annotations

from tests.support.installation import Installation
from tests.support.servers import PostgresForTests, ask
from tests.support.waiting import wait_until
from worker.durable.retry_policy import FAULT_PATIENCE_SECONDS, HEADER, History

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
