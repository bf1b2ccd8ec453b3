"""Machines whose clocks are minutes apart: no command waits for them, and health reports them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from sandbox.jira.faults import Status
from sandbox.jira.server import JiraSandbox
from tests.support.faketime import clock_ahead, needs_faketime
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from tests.support.workers import ROOT

pytestmark = needs_faketime

FIVE_MINUTES = 300
THREAD = {"channel_id": "C1", "thread_ts": "1700000000.000100"}


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        yield jira


def health(installation: Installation, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "health", *words, "--json"],
        env={**installation.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def says_the_skew(installation: Installation, who: str, seconds: int) -> bool:
    """Return True if health names the process with the wrong clock, and its offset, with exit code 0."""
    code, verdicts = health(installation, *(("beat",) if who == "beat" else ("worker",)))
    name = next((name for name in verdicts if name.startswith(f"clock of {who}")), None)
    if code or name is None or verdicts[name]["state"] != "skewed":
        return False
    return f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'}" in verdicts[name]["why"]


@pytest.mark.parametrize("seconds", [FIVE_MINUTES, -FIVE_MINUTES], ids=["ahead", "behind"])
@pytest.mark.parametrize("who", ["beat", "sessions", "syncs"])
def test_a_ticket_whose_first_try_failed_is_made_once(
    installation: Installation, jira: JiraSandbox, who: str, seconds: int
) -> None:
    """One ticket is made soon although a clock is five minutes off, the draft comes before its thread, and
    Jira refuses the first attempt.
    """
    jira.site.fail("search", Status(503))
    wrong = clock_ahead(seconds)
    with ExitStack() as stack:
        env = wrong if who == "sessions" else {}
        stack.enter_context(
            installation.worker("sessions", "-Q", "sessions", SESSION_WAIT_SECONDS="30", **env)
        )
        env = {
            "JIRA_URL": jira.url,
            "JIRA_EMAIL": jira.email,
            "JIRA_API_TOKEN": jira.token,
            "JIRA_PROJECT_KEY": "PROJ",
            **(wrong if who == "syncs" else {}),
        }
        stack.enter_context(installation.worker("syncs", "-Q", "syncs,maintenance,lookups", **env))
        beat = installation.beat(**(wrong if who == "beat" else {}))
        stack.callback(beat.kill)
        draft = {"summary": "A thread", "description": "As told"}
        asked = installation.send(
            "sessions.request_sync", **THREAD, draft=draft, drafted_at="1700000001.000100"
        )
        wait_until(lambda: waits(installation, asked.id), "the draft waits for its thread", 30)
        installation.send("sessions.get_or_create", **THREAD, user_id="U1")
        wait_until(lambda: [s.status for s in installation.sessions()] == ["synced"], "it is synced", 45)
        assert len(jira.site.issues) == 1
        wait_until(lambda: says_the_skew(installation, who, seconds), "health says it", 40)
    assert installation.dead_letters() == []


def waits(installation: Installation, task_id: str) -> bool:
    meta = installation.celery.backend.get_task_meta(task_id)
    return bool(meta["status"] == "RETRY")


def test_copies_that_wait_neither_stay_for_minutes_nor_spin(installation: Installation) -> None:
    """A command that two workers, ten minutes apart, hand to each other waits its patience and no longer."""
    with (
        installation.worker("behind", SESSION_WAIT_SECONDS="4", **clock_ahead(-FIVE_MINUTES)) as behind,
        installation.worker("ahead", SESSION_WAIT_SECONDS="4", **clock_ahead(FIVE_MINUTES)) as ahead,
    ):
        missing = installation.send("sessions.mark_synced", **THREAD, jira_key="PROJ-1")
        wait_until(lambda: missing.state == "FAILURE", "its patience is over", 30)
        tries = sum(worker.log.count("task waits") for worker in (behind, ahead))
    # 0.1 s, 0.2 s, … at most 2 s each, half of it at least.
    assert 4 <= tries <= 12


def test_hours_without_a_worker_leave_few_messages(installation: Installation) -> None:
    """Without a worker, a beat with a wrong clock keeps one message of each kind until its patience ends."""
    beat = installation.beat(**clock_ahead(-FIVE_MINUTES))
    try:
        with redis.Redis.from_url(installation.broker_url) as broker:
            wait_until(lambda: broker.hlen("threadsync.beat") >= 4, "they were sent", 30)
            sign = broker.hget("threadsync.signs", "beat")
            # Beat goes on with its heartbeats.
            wait_until(lambda: broker.hget("threadsync.signs", "beat") not in (sign, None), "it lives", 30)
            wait_until(lambda: tries(broker, "sweep") == 1, "its patience with a sweep is over once", 30)
            assert broker.llen("sessions") == 1
            # A sweep, another one, a canary, and a sample, if it is time for one.
            assert broker.llen("maintenance") <= 4
    finally:
        beat.kill()


def tries(broker: Any, entry: str) -> int:
    """Return how often beat sent an entry's message again because no worker took it."""
    _at, _, count = broker.hget("threadsync.beat", entry).decode().partition(" ")
    return int(count)
