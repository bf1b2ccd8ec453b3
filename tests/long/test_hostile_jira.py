"""Every session gets its one ticket, despite a Jira that loses responses, kills, and an emptied broker."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests.support.installation import Installation
from tests.support.scale import SOAK, scaled
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from worker.local.child import Child

SESSIONS = scaled(300)
KILLS = 5
SETTLE_SECONDS = 20
SECONDS = 420
SEEDS = (1, 2, 3) if SOAK else (2,)


class HostileJira:
    """The sandbox Jira as a process of its own."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings
        self._http = httpx.Client(
            base_url=settings["JIRA_URL"],
            auth=(settings["JIRA_EMAIL"], settings["JIRA_API_TOKEN"]),
            timeout=30,
            trust_env=False,
        )

    def tickets(self) -> list[dict[str, Any]]:
        """Return all tickets, with their labels."""
        body: dict[str, Any] = {"jql": 'project = "PROJ" ORDER BY created DESC', "maxResults": 5_000}
        answer = self._http.post("/rest/api/3/search/jql", json={**body, "fields": ["labels"]})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["issues"]
        return found

    def close(self) -> None:
        self._http.close()


@contextmanager
def hostile_jira(folder: Path, seed: int) -> Iterator[HostileJira]:
    """Run a Jira that drops the response of 33 % of creates, loses 7 %, and searches 2 s behind."""
    log = folder / "jira.log"
    argv = [sys.executable, "-u", "-m", "sandbox.jira.server", "--port", "0", "--search-lag", "2"]
    argv += ["--dropped", "0.33", "--lost", "0.07", "--seed", str(seed)]
    child = Child(argv, log_path=log, cwd=ROOT)
    try:
        wait_until(lambda: "JIRA_PROJECT_KEY" in log.read_text(), "the sandbox Jira listens", 30)
        jira = HostileJira(dict(re.findall(r"(\w+)=(\S+)", log.read_text())))
        try:
            yield jira
        finally:
            jira.close()
    finally:
        child.kill()


def ask_for_tickets(installation: Installation) -> None:
    for number in range(SESSIONS):
        thread = {"channel_id": f"C{number % 5}", "thread_ts": f"1700000000.{number:06}"}
        installation.send("sessions.get_or_create", **thread, user_id="U1")
        draft = {"summary": f"Thread {number}", "description": "As *told*"}
        installation.send("sessions.request_sync", **thread, draft=draft, drafted_at="1700000001.000100")


def states(installation: Installation) -> Counter[str]:
    """Count the syncs in each state."""
    with psycopg.connect(installation.database_url) as connection:
        return Counter(
            dict(connection.execute("SELECT state, count(*) FROM syncs GROUP BY state").fetchall())
        )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_hostile_jira_needs_no_person(installation: Installation, tmp_path: Path, seed: int) -> None:
    """All sessions get their ticket without an operator, despite five kills and an emptied broker."""
    with hostile_jira(tmp_path, seed) as jira:
        options = ("--concurrency", "4", "--beat", "--schedule", str(tmp_path / "beat"))
        # The product's own patience: what a killed worker held is back after 10 s.
        waits = {"JIRA_SETTLE_SECONDS": str(SETTLE_SECONDS), "SESSION_WAIT_SECONDS": "30"}
        worker = installation.worker("syncs", *options, **jira.settings, **waits)
        ask_for_tickets(installation)
        for kill in range(KILLS):
            worker.start()
            enough = (kill + 1) * SESSIONS // (KILLS + 3)
            wait_until(lambda enough=enough: len(jira.tickets()) >= enough, "some tickets are there", 180)  # type: ignore[misc]
            worker.kill()
        with worker:
            wait_until(lambda: states(installation).total() == SESSIONS, "every request is recorded", 180)
            with redis.Redis.from_url(installation.broker_url) as broker:
                broker.flushdb()
            wait_until(
                lambda: states(installation)["done"] == SESSIONS or states(installation)["review"],
                "every session has its ticket",
                SECONDS,
            )
        assert states(installation) == {"done": SESSIONS}
        tickets = jira.tickets()
        keys = {session.jira_key for session in installation.sessions()}
        markers = [label for ticket in tickets for label in ticket["fields"]["labels"]]
    assert len(tickets) == len(set(markers)) == SESSIONS
    assert keys == {ticket["key"] for ticket in tickets}
