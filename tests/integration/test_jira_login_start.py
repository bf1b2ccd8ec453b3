"""Workers that start, or not, with half a login to Jira."""

from __future__ import annotations

import pytest

from tests.support.installation import Installation
from tests.support.waiting import wait_until

THREAD = {"channel_id": "C0123ABCD", "thread_ts": "1700000000.000100"}
HALF = {"JIRA_URL": "https://example.atlassian.net", "JIRA_EMAIL": "bot@example.com"}


@pytest.mark.parametrize("queues", ["syncs,maintenance", "lookups"])
def test_a_worker_that_asks_jira_does_not_start_with_half_a_login(
    installation: Installation, queues: str
) -> None:
    """A worker for syncs or lookups ends with the sentence that says which setting is missing."""
    worker = installation.worker("half", "--queues", queues, **HALF)
    worker.launch()
    wait_until(lambda: not worker.is_alive, "it ends", 30)
    assert "JIRA_API_TOKEN: is not set, and JIRA_EMAIL is" in worker.log
    assert "Traceback" not in worker.log


def test_a_worker_that_asks_nothing_of_jira_may_lack_the_secret(installation: Installation) -> None:
    """A worker for sessions alone has no secret of Jira's, and runs."""
    with installation.worker("sessions", "--queues", "sessions", **HALF):
        installation.send("sessions.get_or_create", **THREAD, user_id="U1").get(timeout=20)
