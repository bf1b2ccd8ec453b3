"""The demo's checks, which must be able to fail."""

from __future__ import annotations

from sandbox.demo.outcome import Outcome
from sandbox.demo.story import tell
from sandbox.demo.stream import Tally
from sandbox.jira.server import JiraSandbox
from sandbox.slack.server import SlackSandbox
from worker.db import SessionStore
from worker.db.pool import Pool


def test_the_checks_can_fail(pool: Pool, broker_url: str) -> None:
    """The demo's checks fail on missing rows, sessions that ended wrongly, and a late Slack response."""
    story = tell(3, 1_700_000_000, seed=1)
    tally = Tally(requests=1, seconds=[3.5], refused=["status 503"])
    outcome = Outcome(story, pool, broker_url, SlackSandbox(), JiraSandbox())
    missing = {check.promise: check.holds for check in outcome.checks(tally, letters_before=0)}
    assert missing["each thread has one row, and one only"] is False
    assert missing["Slack had its answer within 3 s, each time"] is False

    store = SessionStore(pool)
    for thread in story.threads:
        store.get_or_create_session(thread.channel_id, thread.thread_ts, "U1")
        if thread.status == "collecting":
            store.update_status(thread.channel_id, thread.thread_ts, "ready_to_sync")
    wrong = [check.promise for check in outcome.checks(Tally(), letters_before=0) if not check.holds]
    assert len(wrong) == 2
    assert wrong[0].startswith("each session ends as the command table says")
    assert wrong[1].startswith("each session that asked for a ticket has one")
