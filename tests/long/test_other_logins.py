"""Real workers and a Jira that is not our sandbox: the login changes, and each session has its one ticket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreign_jira import ForeignJira
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup

SESSIONS = 100
UNDER_OAUTH = 20


@pytest.fixture
def jira() -> Iterator[ForeignJira]:
    with ForeignJira(unanswered=1 / 3) as jira:
        yield jira


def a_worker(installation: Installation, jira: ForeignJira, login: str, tmp_path: Path) -> WorkerGroup:
    return installation.worker(
        login,
        *("--concurrency", "6", "--beat", "--schedule", str(tmp_path / f"beat-{login}")),
        JIRA_SETTLE_SECONDS="5",
        JIRA_TIMEOUT_SECONDS="2",
        **jira.settings(login),
    )


def ask_for_tickets(installation: Installation, numbers: range) -> None:
    for number in numbers:
        thread = {"channel_id": f"C{number % 5}", "thread_ts": f"1700000000.{number:06}"}
        installation.send("sessions.get_or_create", **thread, user_id="U1")
        draft = {"summary": f"Thread {number}", "description": "As *told*"}
        installation.send("sessions.request_sync", **thread, draft=draft, drafted_at="1700000001.000100")


def keys(installation: Installation) -> set[str]:
    synced = [session for session in installation.sessions() if session.status == "synced"]
    return {session.jira_key for session in synced if session.jira_key}


def each_has_one(installation: Installation, jira: ForeignJira, count: int) -> None:
    """Check that there are as many tickets as sessions, each with a marker of its own and the key of one."""
    markers = Counter(
        label for ticket in jira.tickets for label in ticket.fields["labels"] if label.startswith("slk-")
    )
    assert set(markers.values()) == {1}
    assert len(jira.tickets) == len(markers) == count
    assert keys(installation) == {ticket.key for ticket in jira.tickets}


def test_the_login_changes_and_each_session_has_one_ticket(
    installation: Installation, jira: ForeignJira, tmp_path: Path
) -> None:
    """From the middle on only scoped tokens are taken, at the gateway; then OAuth with tokens of 30 s.

    A third of the creates gets no answer, and half of these have created a ticket.
    """
    with a_worker(installation, jira, "classic", tmp_path):
        ask_for_tickets(installation, range(SESSIONS))
        wait_until(lambda: len(jira.tickets) >= SESSIONS // 2, "half of the tickets are there", 120)
        jira.scoped_only = True
        wait_until(lambda: jira.asked["site 401"] > 0, "the site refuses the token", 30)
    in_between = len(jira.tickets)
    assert SESSIONS // 2 <= in_between < SESSIONS
    with a_worker(installation, jira, "scoped", tmp_path):
        wait_until(lambda: len(keys(installation)) == SESSIONS, "every session is synced", 240)
    each_has_one(installation, jira, SESSIONS)
    with a_worker(installation, jira, "oauth", tmp_path):
        middle, total = SESSIONS + UNDER_OAUTH // 2, SESSIONS + UNDER_OAUTH
        ask_for_tickets(installation, range(SESSIONS, middle))
        wait_until(lambda: len(keys(installation)) == middle, "the first half is synced", 120)
        first = jira.access_tokens
        assert first
        wait_until(lambda: not any(map(jira.lives, first)), "the first access tokens have ended", 40)
        ask_for_tickets(installation, range(middle, total))
        wait_until(lambda: len(keys(installation)) == total, "every session is synced", 120)
    each_has_one(installation, jira, SESSIONS + UNDER_OAUTH)
    assert jira.lost > SESSIONS / 5
    creators = Counter(ticket.created_by for ticket in jira.tickets)
    assert creators == {jira.email: SESSIONS, jira.client_id: UNDER_OAUTH}
    assert first < jira.access_tokens
