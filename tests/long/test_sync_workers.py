"""Real workers, a real broker, and a Jira that loses responses: every session gets its one ticket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sandbox.jira.faults import CommitThenDrop, CommitThenStatus, Hang, RandomFaults, Refuse
from sandbox.jira.server import JiraSandbox
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup
from threadsync.syncs import SyncState
from worker.db.pool import new_pool
from worker.db.syncs.store import SyncStore

SESSIONS = 45
KILLS = 3


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        yield jira


def a_worker(installation: Installation, jira: JiraSandbox, tmp_path: Path, *options: str) -> WorkerGroup:
    """Make a worker with beat, for all queues unless the options say otherwise."""
    return installation.worker(
        "syncs",
        *("--concurrency", "6", "--beat", "--schedule", str(tmp_path / "beat")),
        *options,
        JIRA_URL=jira.url,
        JIRA_EMAIL=jira.email,
        JIRA_API_TOKEN=jira.token,
        JIRA_PROJECT_KEY="PROJ",
        JIRA_SETTLE_SECONDS="20",
        JIRA_TIMEOUT_SECONDS="2",
    )


def ask_for_tickets(installation: Installation, count: int) -> None:
    for number in range(count):
        thread = {"channel_id": f"C{number % 5}", "thread_ts": f"1700000000.{number:06}"}
        installation.send("sessions.get_or_create", **thread, user_id="U1")
        installation.send(
            "sessions.request_sync",
            **thread,
            draft={"summary": f"Thread {number}", "description": "As *told*"},
            drafted_at="1700000001.000100",
        )


def synced(installation: Installation) -> int:
    return sum(session.status == "synced" for session in installation.sessions())


def syncs(installation: Installation) -> list[SyncState]:
    with new_pool(installation.database_url) as pool:
        return SyncStore(pool).list_syncs(limit=500)


def test_kills_and_a_flush_leave_one_ticket_a_session(
    installation: Installation, jira: JiraSandbox, tmp_path: Path
) -> None:
    """Lost responses, a lagging search, kills and an emptied broker leave one ticket for each session."""
    jira.site.search_lag = 5
    jira.site.plan = RandomFaults(
        [(CommitThenDrop(), 0.12), (CommitThenStatus(503), 0.12), (Hang(30, committed=True), 0.09)], seed=4
    )
    ask_for_tickets(installation, SESSIONS)
    worker = a_worker(installation, jira, tmp_path)
    for kill in range(KILLS):
        worker.start()
        enough = (kill + 1) * SESSIONS // (KILLS + 3)
        wait_until(lambda enough=enough: len(jira.site.issues) >= enough, "some tickets are there", 60)  # type: ignore[misc]
        worker.kill()
    with worker:
        wait_until(lambda: len(syncs(installation)) == SESSIONS, "all have asked", 60)
        with redis.Redis.from_url(installation.broker_url) as broker:
            broker.flushdb()
        wait_until(lambda: synced(installation) == SESSIONS, "every session is synced", 150)
    keys = {session.jira_key for session in installation.sessions()}
    assert keys == {issue.key for issue in jira.site.issues}
    assert len(jira.site.issues) == SESSIONS
    markers = {label for issue in jira.site.issues for label in issue.labels if label.startswith("slk-")}
    assert len(markers) == SESSIONS
    assert jira.site.met.total() > SESSIONS / 6


def test_a_refused_token_parks_everything_and_repairs_itself(
    installation: Installation, jira: JiraSandbox, tmp_path: Path
) -> None:
    """A refused token parks the site's syncs with the reason; commands go on; a good token resumes all."""
    worker = a_worker(installation, jira, tmp_path)
    good, jira.site.token = jira.site.token, "another"
    with worker:
        ask_for_tickets(installation, 10)
        wait_until(
            lambda: (
                len(syncs(installation)) == 10
                and all((sync.state, sync.reason) == ("blocked", "no_access") for sync in syncs(installation))
            ),
            "all are parked, with the reason",
            40,
        )
        assert jira.site.issues == ()
        opened = installation.send(
            "sessions.get_or_create", channel_id="C9", thread_ts="1700000009.000100", user_id="U1"
        )
        assert opened.get(timeout=10)["outcome"] == "created"
        asked = sum(call.endpoint != "myself" for call in jira.site.calls)
        assert asked <= 10, "no more than one try each"
        jira.site.token = good
        with new_pool(installation.database_url) as pool:
            SyncStore(pool).retry_all_blocked(actor="ada", reason="new token")
        wait_until(lambda: synced(installation) == 10, "every session is synced", 40)
    assert len(jira.site.issues) == 10
    assert "Thread 3" not in worker.log


def test_the_probe_finds_a_repaired_token(
    installation: Installation, jira: JiraSandbox, tmp_path: Path
) -> None:
    """The probe finds a token that works again, and resumes the syncs without an operator."""
    jira.site.fail("create", Refuse(401, ("no",)))
    jira.site.fail("myself", Refuse(401, ("no",)))
    with a_worker(installation, jira, tmp_path):
        ask_for_tickets(installation, 2)
        wait_until(lambda: synced(installation) == 2, "every session is synced", 90)
    assert len(jira.site.issues) == 2


def test_a_slow_jira_delays_no_command(installation: Installation, jira: JiraSandbox, tmp_path: Path) -> None:
    """A slow Jira delays no command, as syncs have a queue, and here a worker, of their own."""
    jira.site.plan = RandomFaults([(Hang(30, committed=True), 1.0)])
    with (
        a_worker(installation, jira, tmp_path, "-Q", "syncs,maintenance"),
        installation.worker("sessions", "-Q", "sessions") as sessions,
    ):
        ask_for_tickets(installation, 8)
        wait_until(lambda: jira.site.met.total() > 0, "Jira hangs", 30)
        began = time.monotonic()
        command = installation.send(
            "sessions.get_or_create", channel_id="C9", thread_ts="1700000009.000100", user_id="U1"
        )
        assert command.get(timeout=10)["outcome"] == "created"
        assert time.monotonic() - began < 5
        assert sessions.is_alive
