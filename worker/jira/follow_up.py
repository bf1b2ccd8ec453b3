"""What follows a ticket: the link back to the thread, and, when nothing more can come to light, the audit.

Both may be repeated: the link is an upsert, the audit only looks. A session is synced before either.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from worker.db.sync_models import Claim
from worker.jira.answers import CallFailed, Rejected
from worker.jira.decide import Several
from worker.jira.search import search_label
from worker.jira.thread_link import link_to_thread
from worker.jira.tools import Tools

_MOST_FAILURES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 15.0
_TITLE: Final = "Slack thread"

log = structlog.get_logger("threadsync.syncs")


def follow_up(tools: Tools, claim: Claim, now: datetime) -> None:
    """Do the step that is due, and say when the next one is."""
    if claim.linked_back_at is None and claim.origin != "named":
        _link_back(tools, claim, now)
        return
    due = (claim.done_at or now) + timedelta(seconds=tools.target.settle)
    if claim.audited_at is None and now >= due:
        _audit(tools, claim, now)
    else:
        tools.store.release(claim, max((due - now).total_seconds(), 0.1))


def _link_back(tools: Tools, claim: Claim, now: datetime) -> None:
    url = link_to_thread(claim.newest_channel_id or claim.channel_id, claim.thread_ts)
    try:
        tools.jira.put_remote_link(claim.jira_key or "", f"threadsync={claim.marker}", url, _TITLE)
    except CallFailed as exc:
        failures = claim.failures + 1
        # A Jira that refuses such links refuses the next one too.
        is_over = failures == _MOST_FAILURES or isinstance(exc.answer, Rejected)
        tools.store.follow_up(
            claim,
            "link_back",
            "rejected" if isinstance(exc.answer, Rejected) else "unclear",
            is_over=is_over,
            delay=0.0 if is_over else _FIRST_PAUSE_SECONDS * 2**claim.failures,
            started_at=now,
            failures=0 if is_over else failures,
            detail=exc.answer.why,
            http_status=exc.answer.status,
            trace_id=exc.answer.trace_id,
        )
        log.info("thread not linked", jira_key=claim.jira_key, reason=exc.answer.why, failures=failures)
    else:
        tools.store.follow_up(claim, "link_back", "ok", is_over=True, delay=0.0, started_at=now)


def _audit(tools: Tools, claim: Claim, now: datetime) -> None:
    """Report every other ticket with the marker. Nothing is deleted: a person decides."""
    try:
        seen = search_label(tools.jira, claim.marker)
    except CallFailed as exc:
        tools.store.release(claim, max(tools.target.settle, 60))
        log.info("audit put off", jira_key=claim.jira_key, reason=exc.answer.why)
        return
    keys = seen.keys if isinstance(seen, Several) else ()
    others = [key for key in keys if key != claim.jira_key]
    if others:
        log.error("thread has more than one ticket", jira_key=claim.jira_key, others=others)
    outcome = "several" if others else "ok"
    tools.store.follow_up(
        claim, "audit", outcome, is_over=True, delay=None, started_at=now, duplicates=others
    )
