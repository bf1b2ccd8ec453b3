"""Batches of commands that arrive together, with the same effects as one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis

from tests.support.backlogs import Listener, locked, locks_waited_for, open_sessions, thread
from tests.support.installation import Installation
from tests.support.servers import ask
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup
from threadsync.errors import CommandFailed, InvalidCommand, JiraKeyConflict, SessionNotFound
from worker.db import SessionStore
from worker.db.pool import new_pool

MANY = 300


@pytest.fixture(params=["true", "false"], ids=["lane", "road"], autouse=True)
def _each_road(request: pytest.FixtureRequest, installation: Installation) -> None:
    """Run each test with the fast lane, and without it."""
    installation.env["FAST_LANE"] = request.param


def commits(installation: Installation) -> int:
    """Return the number of transactions in this test's database, including those of this query."""
    statement = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    return int(str(ask(installation.database_url, statement)))


def test_a_backlog_takes_few_transactions(installation: Installation) -> None:
    """A backlog of commands takes a fraction of their number in transactions, each with its own result."""
    results = open_sessions(installation, MANY)
    before = commits(installation)
    with installation.worker():
        answers = [result.get(timeout=20) for result in results]
    assert {answer["outcome"] for answer in answers} == {"created"}
    assert [answer["thread_ts"] for answer in answers] == [
        thread(number)["thread_ts"] for number in range(MANY)
    ]
    wait_until(lambda: commits(installation) > before, "Postgres has reported")
    assert commits(installation) - before < MANY / 3


def test_what_comes_while_all_processes_are_busy_runs_together(installation: Installation) -> None:
    """Commands that arrive while all processes are busy run in few transactions afterwards."""
    open_sessions(installation, 1)
    with installation.worker():
        wait_until(lambda: installation.waiting() == 0, "the session is there")
        with locked(installation, 0):
            ready = {**thread(0), "status": "ready_to_sync"}
            busy = [installation.send("sessions.update_status", **ready) for _ in range(2)]
            wait_until(lambda: locks_waited_for(installation) == 2, "both processes wait for the row")
            before = commits(installation)
            results = open_sessions(installation, 100)
        answers = [result.get(timeout=20) for result in (*busy, *results)]
    assert len(answers) == 102
    wait_until(lambda: len(installation.sessions()) == 100, "all are there")
    assert commits(installation) - before < 50


def test_one_bad_command_fails_alone(installation: Installation) -> None:
    """A command with bad arguments, a conflict or no session fails alone; the others in its batch succeed."""
    good = open_sessions(installation, 100)
    wrong = installation.send("sessions.get_or_create", channel_id="C1", thread_ts=1.5, user_id="U1")
    first = installation.send("sessions.mark_synced", **thread(0), jira_key="PROJ-1")
    missing = installation.send("sessions.mark_synced", **thread(999), jira_key="PROJ-9")
    more = [
        installation.send("sessions.update_status", **thread(n), status="ready_to_sync")
        for n in range(1, 100)
    ]
    with installation.worker():
        assert {result.get(timeout=20)["outcome"] for result in good} == {"created"}
        assert {result.get(timeout=20)["outcome"] for result in more} == {"applied"}
        assert first.get(timeout=20)["jira_key"] == "PROJ-1"
        with pytest.raises(InvalidCommand, match="thread_ts"):
            wrong.get(timeout=20)
        with pytest.raises(SessionNotFound):
            missing.get(timeout=20)
        conflicts = [
            installation.send("sessions.mark_synced", **thread(0), jira_key=f"PROJ-{n}") for n in range(2, 40)
        ]
        for conflict in conflicts:
            with pytest.raises(JiraKeyConflict, match="already synced with PROJ-1"):
                conflict.get(timeout=20)
    dead = {letter.task_id for letter in installation.dead_letters()}
    assert dead == {wrong.id, missing.id, *(conflict.id for conflict in conflicts)}


def test_each_command_has_its_own_events(installation: Installation) -> None:
    """Each command of a batch has its own events, with its arguments and its result, in order."""
    results = open_sessions(installation, 60)
    wrong = installation.send("sessions.get", channel_id="C1", thread_ts=7)
    with ExitStack() as stack:
        listener = Listener(installation, stack)
        stack.enter_context(installation.worker())
        wait_until(lambda: "task-failed" in listener.of(wrong.id), "the failure is told", timeout=20)
        assert "InvalidCommand" in listener.of(wrong.id)["task-failed"]["exception"]
        for number, result in enumerate(results):
            events = listener.of(result.id)
            assert thread(number)["thread_ts"] in events["task-received"]["kwargs"]
            assert thread(number)["thread_ts"] in events["task-succeeded"]["result"]
            received, started, succeeded = (
                events[f"task-{name}"]["timestamp"] for name in ("received", "started", "succeeded")
            )
            assert received <= started <= succeeded


def test_a_stop_keeps_no_events_back(installation: Installation) -> None:
    """A worker that stops sends the events of its finished commands first."""
    with ExitStack() as stack:
        listener = Listener(installation, stack)
        worker = stack.enter_context(installation.worker())
        (result,) = open_sessions(installation, 1)
        # No pause here: the worker must stop right after it took the message.
        while installation.waiting():
            pass
        worker.stop()
        assert listener.of(result.id).keys() >= {"task-received", "task-started", "task-succeeded"}


@contextmanager
def hanging_batch(installation: Installation) -> Iterator[tuple[WorkerGroup, list[Any]]]:
    """Start a worker with fifty commands in one batch, and hold it up with a locked row."""
    with new_pool(installation.database_url) as pool:
        for number in range(50):
            SessionStore(pool).get_or_create_session(**thread(number), user_id="U1")
    results = [
        installation.send("sessions.update_status", **thread(number), status="ready_to_sync")
        for number in range(50)
    ]
    with ExitStack() as workers:
        with locked(installation, 25):
            worker = workers.enter_context(installation.worker(REMOTE_CONTROL_CHANGES="true"))
            wait_until(lambda: locks_waited_for(installation), "the batch hangs in Postgres")
            yield worker, results
        wait_until(lambda: installation.waiting() == 0, "all commands have ended", timeout=60)


def test_a_batch_whose_process_dies_is_run_again(installation: Installation) -> None:
    """A batch whose process is killed is run again: every command succeeds and none is a dead letter."""
    with hanging_batch(installation) as (worker, results):
        for child in worker.children:
            child.kill()
    assert {result.get(timeout=1)["status"] for result in results} == {"ready_to_sync"}
    assert installation.dead_letters() == []


def test_ending_one_command_by_hand_does_not_end_the_others(installation: Installation) -> None:
    """Revoking one command of a batch with `terminate=True` leaves the others of the batch to succeed."""
    with hanging_batch(installation) as (_, results):
        revoked = results.pop(10)
        installation.celery.control.revoke(revoked.id, terminate=True, signal="SIGKILL")
        wait_until(lambda: str(revoked.state) == "REVOKED", "it is revoked")
    assert {result.get(timeout=1)["status"] for result in results} == {"ready_to_sync"}


def test_who_asked_keeps_the_first_answer(installation: Installation) -> None:
    """A command that runs again after a redelivery leaves its first result in place."""
    (result,) = open_sessions(installation, 1)
    with redis.Redis.from_url(installation.broker_url, decode_responses=True) as server:
        message = json.loads(str(server.lindex("sessions", 0)))
        with installation.worker() as worker:
            assert result.get(timeout=15)["outcome"] == "created"
            message["properties"]["delivery_info"]["redelivered"] = True
            server.lpush("sessions", json.dumps(message))
            wait_until(lambda: worker.log.count("task done") == 2, "it has run again")
            wait_until(lambda: installation.waiting() == 0, "it is acknowledged")
        stored = json.loads(str(server.get(f"celery-task-meta-{result.id}")))
    assert stored["result"]["outcome"] == "created"


def test_commands_that_share_an_id_are_both_carried_out(installation: Installation) -> None:
    """Two commands with the same task id are both carried out."""
    with new_pool(installation.database_url) as pool:
        for number in range(20):
            SessionStore(pool).get_or_create_session(**thread(number), user_id="U1")
    for number in range(20):
        ready = {**thread(number), "status": "ready_to_sync"}
        for name, arguments in (("sessions.update_status", ready), ("sessions.get", thread(number))):
            installation.celery.send_task(name, kwargs=arguments, queue="sessions", task_id=f"Ev{number}")
    with installation.worker():
        wait_until(lambda: installation.waiting() == 0, "all commands have ended", timeout=30)
    assert {session.status for session in installation.sessions()} == {"ready_to_sync"}


def test_an_unforeseen_error_in_one_command_leaves_the_others_alone(installation: Installation) -> None:
    """An unforeseen error in one command makes a dead letter of that one alone."""
    results = open_sessions(installation, 20)
    odd = installation.send("probe.breaks_its_statement")
    more = [installation.send("sessions.list_by_channel", channel_id=f"C{number}") for number in range(20)]
    with installation.worker():
        with pytest.raises(CommandFailed, match="ZeroDivisionError"):
            odd.get(timeout=20)
        assert {result.get(timeout=20)["outcome"] for result in results} == {"created"}
        assert all(result.get(timeout=20) for result in more)
    assert [letter.task_id for letter in installation.dead_letters()] == [odd.id]
