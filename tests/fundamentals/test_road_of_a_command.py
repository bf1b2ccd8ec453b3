"""A command goes from the web process to the row, and its result back, by a real broker and worker."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.backlogs import locks_waited_for
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.errors import InvalidCommand, JiraKeyConflict

THREAD = ("C0123", "1700000000.000100")


def test_a_thread_becomes_a_session_and_the_session_gets_its_ticket(shared: Installation) -> None:
    """A call of the client enqueues a command; `get` waits for the worker's typed result."""
    with SessionClient(shared.broker_url) as client:
        session = client.get_or_create(*THREAD, "U0456").get()
        assert (session.status, session.outcome) == ("collecting", "created")

        session = client.update_status(*THREAD, "ready_to_sync").get()
        assert (session.status, session.outcome) == ("ready_to_sync", "applied")

        session = client.mark_synced(*THREAD, "PROJ-123").get()
        assert (session.status, session.jira_key) == ("synced", "PROJ-123")


def test_a_repeated_command_is_an_outcome_and_no_error(shared: Installation) -> None:
    """Slack delivers again, brokers deliver again, people press twice: `unchanged`."""
    thread = ("C0123", "1700000000.000200")
    with SessionClient(shared.broker_url) as client:
        answers = [client.get_or_create(*thread, "U0456") for _ in range(20)]
        outcomes = sorted(answer.get().outcome for answer in answers)
        assert outcomes == ["created"] + ["unchanged"] * 19


def test_commands_may_overtake_each_other(shared: Installation) -> None:
    """A command waits a while for its session; a late one is stale and changes nothing."""
    thread = ("C0123", "1700000000.000300")
    with SessionClient(shared.broker_url) as client:
        synced = client.mark_synced(*thread, "PROJ-300")
        client.get_or_create(*thread, "U0456")
        late = client.update_status(*thread, "ready_to_sync")
        assert synced.get().outcome == "applied"
        late.get()
        session = client.get(*thread).get()
        assert session is not None
        assert (session.status, session.jira_key) == ("synced", "PROJ-300")


def test_a_session_never_gets_a_second_ticket(shared: Installation) -> None:
    """A second key is refused, and the error names both."""
    thread = ("C0123", "1700000000.000400")
    with SessionClient(shared.broker_url) as client:
        client.get_or_create(*thread, "U0456").get()
        client.mark_synced(*thread, "PROJ-400").get()
        with pytest.raises(JiraKeyConflict, match="already synced with PROJ-400; PROJ-401 was refused"):
            client.mark_synced(*thread, "PROJ-401").get()


def test_a_wrong_argument_fails_before_anything_is_sent(installation: Installation) -> None:
    """The client validates first: a `thread_ts` given as a number would name another thread."""
    with SessionClient(installation.broker_url) as client, pytest.raises(InvalidCommand, match="thread_ts"):
        client.get_or_create("C0123", 1700000000.0001, "U0456")  # type: ignore[arg-type]
    assert installation.waiting() == 0


def test_a_killed_worker_loses_nothing(installation: Installation) -> None:
    """Another worker carries out the command that was running and all that were waiting."""
    threads = [("C0123", f"1700000001.{number:06}") for number in range(100)]
    with SessionClient(installation.broker_url) as client:
        for thread in threads:
            for _ in range(2):
                client.get_or_create(*thread, "U0456")
        with psycopg.connect(installation.database_url) as elsewhere:
            elsewhere.execute("LOCK TABLE thread_sessions IN SHARE MODE")
            worker = installation.worker("first").start()
            wait_until(lambda: locks_waited_for(installation), "the worker is in the middle of the work")
            worker.kill()
        with installation.worker("second"):
            wait_until(lambda: installation.waiting() == 0, "every message is done", timeout=30)
        assert {session.thread_ts for session in installation.sessions()} == {ts for _, ts in threads}
