"""The fast lane over real servers: the ordinary road's effects, and Celery as people know it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any

import psycopg
import pytest
import redis

from tests.support.backlogs import (
    Listener,
    locked,
    locks_waited_for,
    open_sessions,
    server_holds,
    thread,
    without_names,
)
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup
from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from worker.db import SessionStore
from worker.db.pool import new_pool

HELD_BACK = "the fast lane is closed"
LANE = ("sessions.get_or_create", "sessions.update_status", "sessions.mark_synced", "sessions.request_sync")
TO_WORKER: Any = {"destination": [f"worker@{gethostname()}"], "reply": True, "timeout": 10}
DRAFT = {"summary": "Printer on fire", "description": "It burns."}
AT = "1700000100.000100"
LISTENING = ("listening", "--include", "tests.support.listener_in_processes")


def story(installation: Installation, number: int) -> dict[str, Any]:
    """Send one of each command of the lane, by a stock client; return their results by name."""
    where = thread(number)
    wanted: dict[str, dict[str, Any]] = {
        "get_or_create": {"user_id": "U1"},
        "request_sync": {"draft": DRAFT, "drafted_at": AT},
        "update_status": {"status": "ready_to_sync"},
        "mark_synced": {"jira_key": f"PROJ-{number}"},
    }
    return {name: installation.send(f"sessions.{name}", **where, **more) for name, more in wanted.items()}


def told_of(installation: Installation, road: str, number: int) -> Any:
    """Return what is stored, sent to Flower and logged about one command of each kind."""
    results = story(installation, number)
    with ExitStack() as stack:
        listener = Listener(installation, stack)
        worker = stack.enter_context(
            # Not `syncs`: what is sent there is to be seen.
            installation.worker(
                *(road, "--queues", "sessions"),
                FAST_LANE="true" if road == "lane" else "false",
                LOG_FORMAT="json",
            )
        )
        for result in results.values():
            assert result.get(timeout=20)["thread_ts"] == thread(number)["thread_ts"]
        wait_until(
            lambda: all("task-succeeded" in listener.of(result.id) for result in results.values()), "events"
        )
        events = {name: listener.of(result.id) for name, result in results.items()}
        worker.stop()
        lines = [json.loads(line) for line in worker.log.splitlines() if '"task done"' in line]
    with redis.Redis.from_url(installation.broker_url) as server:
        stored = {
            name: json.loads(server.get(f"celery-task-meta-{result.id}") or "{}")
            for name, result in results.items()
        }
        sent = [json.loads(entry)["headers"] for entry in server.lrange("syncs", 0, -1)]
        server.delete("syncs")
    asked = results["request_sync"].id
    assert [headers["parent_id"] for headers in sent] == [asked]
    assert [headers["root_id"] for headers in sent] == [asked]
    assert stored["request_sync"]["children"] == [[[sent[0]["id"], None], None]]
    return without_names({"events": events, "stored": stored, "log": lines})


def test_both_roads_tell_the_same(installation: Installation) -> None:
    """Results, Flower's events, the log and what is sent next are the same on both roads."""
    assert told_of(installation, "lane", 1) == told_of(installation, "road", 2)


def test_refused_commands_end_as_on_the_ordinary_road(installation: Installation) -> None:
    """An invalid command, one without a session and a conflict fail alone, with dead letters."""
    good = open_sessions(installation, 50)
    first = installation.send("sessions.mark_synced", **thread(0), jira_key="PROJ-1")
    wrong = installation.send("sessions.get_or_create", channel_id="C1", thread_ts=1.5, user_id="U1")
    missing = installation.send("sessions.update_status", **thread(99), status="ready_to_sync")
    conflict = installation.send("sessions.mark_synced", **thread(0), jira_key="PROJ-2")
    with installation.worker():
        assert {result.get(timeout=20)["outcome"] for result in good} == {"created"}
        assert first.get(timeout=20)["outcome"] == "applied"
        for result, error in (
            (wrong, InvalidCommand),
            (missing, SessionNotFound),
            (conflict, JiraKeyConflict),
        ):
            with pytest.raises(error):
                result.get(timeout=20)
    dead = {letter.task_id for letter in installation.dead_letters()}
    assert dead == {wrong.id, missing.id, conflict.id}


@contextmanager
def hanging_chunks(installation: Installation) -> Iterator[tuple[WorkerGroup, list[Any]]]:
    """Start a worker whose two processes each hang at a locked row, and more commands wait for them.

    The processes are stopped there, because Postgres waits for a lock no longer than 3 s.
    """
    with new_pool(installation.database_url) as pool:
        for number in range(200):
            SessionStore(pool).get_or_create_session(**thread(number), user_id="U1")
    ready = {"status": "ready_to_sync"}
    first = [installation.send("sessions.update_status", **thread(n), **ready) for n in (0, 0)]
    with ExitStack() as stack:
        with locked(installation, 0):
            worker = stack.enter_context(installation.worker(REMOTE_CONTROL_CHANGES="true"))
            wait_until(lambda: locks_waited_for(installation), "a chunk hangs in Postgres")
            first += [installation.send("sessions.update_status", **thread(0), **ready)]
            wait_until(lambda: locks_waited_for(installation) == 2, "so does the next one")
            for child in worker.children:
                child.suspend()
            more = [installation.send("sessions.update_status", **thread(n), **ready) for n in range(1, 100)]
            wait_until(lambda: server_holds(installation) == 102, "the others wait in the worker")
            yield worker, [*first, *more]
            worker.resume_children()
        wait_until(lambda: installation.waiting() == 0, "all commands have ended", timeout=60)


def test_remote_control_sees_what_the_lane_holds(installation: Installation) -> None:
    """`inspect active`, `reserved`, `query_task` and `stats` answer of commands in the lane."""
    with hanging_chunks(installation) as (worker, results):
        inspect = installation.celery.control.inspect(TO_WORKER["destination"], timeout=10)
        active: Any
        (active,) = (inspect.active() or {}).values()
        (reserved,) = (inspect.reserved() or {}).values()
        assert {found["id"] for found in active} == {result.id for result in results[:3]}
        assert {found["id"] for found in reserved} == {result.id for result in results[3:]}
        assert {found["worker_pid"] for found in active} == {child.pid for child in worker.children}
        assert "U1" not in json.dumps(active)
        (states,) = (inspect.query_task(results[0].id, results[-1].id) or {}).values()
        assert [states[results[n].id][0] for n in (0, -1)] == ["active", "reserved"]


def test_statistics_count_what_the_lane_has_run(installation: Installation) -> None:
    """`inspect stats` counts commands of the lane by name."""
    results = open_sessions(installation, 30)
    with installation.worker():
        assert {result.get(timeout=20)["outcome"] for result in results} == {"created"}
        found: Any = installation.celery.control.inspect(TO_WORKER["destination"], timeout=10)
        (stats,) = found.stats().values()
    assert stats["total"] == {"sessions.get_or_create": 30}


def test_what_is_revoked_while_it_waits_does_not_run(installation: Installation) -> None:
    """A command that is revoked while the lane holds it is dropped; the others of its chunk run."""
    with hanging_chunks(installation) as (_, results):
        revoked = results.pop(-5)
        installation.celery.control.revoke(revoked.id)
        wait_until(lambda: str(revoked.state) == "REVOKED", "it is revoked")
    assert {result.get(timeout=1)["status"] for result in results} == {"ready_to_sync"}
    by_thread = {session.thread_ts: session.status for session in installation.sessions()}
    assert by_thread[thread(95)["thread_ts"]] == "collecting"


def test_terminating_one_command_lets_the_others_run(installation: Installation) -> None:
    """`revoke --terminate` ends the process that runs the command, and its chunk runs without it."""
    with hanging_chunks(installation) as (_, results):
        revoked = results.pop(0)
        installation.celery.control.revoke(revoked.id, terminate=True, signal="SIGKILL")
        wait_until(lambda: str(revoked.state) == "REVOKED", "it is revoked")
    assert {result.get(timeout=1)["status"] for result in results} == {"ready_to_sync"}
    assert installation.dead_letters() == []


def test_a_rate_limit_closes_the_lane(installation: Installation) -> None:
    """A command with a rate limit is held back by Celery, as without the lane."""
    with installation.worker(REMOTE_CONTROL_CHANGES="true"):
        control = installation.celery.control
        control.rate_limit("sessions.get_or_create", "1/m", **TO_WORKER)
        results = open_sessions(installation, 5)
        results[0].get(timeout=10)
        wait_until(lambda: server_holds(installation) == 4, "the others wait for their bucket")
        assert len(installation.sessions()) == 1


@pytest.mark.parametrize("is_deaf", [False, True], ids=["a signal", "a kill"])
def test_a_chunk_that_runs_out_of_time_runs_again(installation: Installation, is_deaf: bool) -> None:
    """The commands of a chunk that hangs beyond its time limit run alone afterwards, and all succeed."""
    open_sessions(installation, 1)
    with installation.worker(REMOTE_CONTROL_CHANGES="true") as worker:
        wait_until(lambda: installation.sessions(), "the session is there")
        for name in LANE:
            installation.celery.control.time_limit(name, soft=1, hard=2, **TO_WORKER)
        with locked(installation, 0):
            results = [installation.send("sessions.update_status", **thread(0), status="ready_to_sync")]
            wait_until(lambda: locks_waited_for(installation), "a chunk hangs in Postgres")
            for child in worker.children if is_deaf else ():
                child.suspend()
            results += open_sessions(installation, 20)[1:]
            is_over = re.compile(f"a chunk runs out of time .* soft={not is_deaf}")
            wait_until(lambda: is_over.search(worker.log), "the time is over")
            worker.resume_children()
        # Postgres may have carried it out after its client was gone.
        wait_until(lambda: all(result.ready() for result in results), "all have results", 30)
        answers: list[Any] = [result.result for result in results]
        assert answers[0]["status"] == "ready_to_sync"
        assert {answer["outcome"] for answer in answers[1:]} == {"created"}
        assert worker.is_alive
    assert installation.dead_letters() == []


def test_a_time_limit_of_one_command_closes_the_lane(installation: Installation) -> None:
    """A command with another time limit than the others has its own, as without the lane."""
    with installation.worker(REMOTE_CONTROL_CHANGES="true") as worker:
        control = installation.celery.control
        control.time_limit("sessions.mark_synced", soft=1, hard=60, **TO_WORKER)
        open_sessions(installation, 1)
        wait_until(lambda: installation.sessions(), "the session is there")
        with locked(installation, 0):
            result = installation.send("sessions.mark_synced", **thread(0), jira_key="PROJ-1")
            wait_until(
                lambda: "Soft time limit (1s) exceeded for sessions.mark_synced" in worker.log,
                "its time is over",
            )
        assert result.get(timeout=20)["jira_key"] == "PROJ-1"
        assert "a chunk runs out of time" not in worker.log


def test_processes_are_replaced_after_a_number_of_commands(installation: Installation) -> None:
    """`--max-tasks-per-child` counts commands, not chunks: the lane is closed, and each runs by itself."""
    results = open_sessions(installation, 40)
    with installation.worker("worker", "--max-tasks-per-child", "5") as worker:
        before = {child.pid for child in worker.children}
        assert {result.get(timeout=30)["outcome"] for result in results} == {"created"}
        wait_until(lambda: not before & {child.pid for child in worker.children}, "all were replaced")
        assert HELD_BACK in worker.log


def test_results_elsewhere_are_there_before_the_end(installation: Installation, broker_url: str) -> None:
    """With results on another database of the broker's server, each command has its result."""
    elsewhere = f"{broker_url.rsplit('/', 1)[0]}/15"
    with redis.Redis.from_url(elsewhere) as server:
        results = open_sessions(installation, 100)
        with installation.worker(CELERY_RESULT_BACKEND=elsewhere):
            wait_until(lambda: installation.waiting() == 0, "all commands have ended", timeout=30)
            found = [json.loads(server.get(f"celery-task-meta-{result.id}") or "{}") for result in results]
        server.flushdb()
    assert {meta["result"]["outcome"] for meta in found} == {"created"}


def assert_left_over(worker: WorkerGroup) -> None:
    """Assert that the chunks' commands took the ordinary road at once, and were not delivered again."""
    assert "chunk handed back" not in worker.log
    assert "task delivered again" not in worker.log


def test_postgres_away_is_waited_for(installation: Installation) -> None:
    """Commands of the lane wait, each by itself, while their rows cannot be written."""
    with installation.worker() as worker, psycopg.connect(installation.database_url) as connection:
        connection.execute("LOCK TABLE thread_sessions IN ACCESS EXCLUSIVE MODE")
        results = open_sessions(installation, 20)
        wait_until(lambda: locks_waited_for(installation), "the chunk hangs in Postgres")
        wait_until(lambda: "the fast lane rests" in worker.log, "the lane rests", 30)
        connection.rollback()
        assert {result.get(timeout=30)["outcome"] for result in results} == {"created"}
        assert_left_over(worker)
    assert installation.dead_letters() == []


def test_a_listener_in_the_processes_alone_sees_each_command(
    installation: Installation, tmp_path: Path
) -> None:
    """A program that listens to Celery's signals in the pool's processes alone sees every command."""
    seen = tmp_path / "seen"
    seen.touch()
    with installation.worker(*LISTENING, SEEN=str(seen)) as worker:
        results = open_sessions(installation, 20)
        assert {result.get(timeout=30)["outcome"] for result in results} == {"created"}
        wait_until(lambda: len(seen.read_text().split()) == len(results), "each was seen")
        assert_left_over(worker)
    assert set(seen.read_text().split()) == {result.id for result in results}
