"""Follow up a ticket: link back to the thread, and audit when nothing more can come to light.

Both may be repeated: the link is an upsert, the audit only looks. A session is synced before either.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from threadsync.syncs import Step, SyncState
from worker.db.syncs.claim import Claim
from worker.jira.answers import CallFailed, Rejected, Throttled
from worker.jira.decide import Pause, Several, scope_of
from worker.jira.login.renewal import renewed_once
from worker.jira.search import search_label
from worker.jira.setup import Setup
from worker.jira.unlinked import unlinked_of
from worker.text.thread_link import link_to_thread

_MOST_FAILURES: Final = 5
FIRST_PAUSE_SECONDS: Final = 15.0
_TITLE: Final = "Slack thread"
LATE_SECONDS: Final = 120.0
"""Longest time from the claim of whoever writes or removes a ticket's link until Jira has it, or never."""

UNTRIED_PATIENCE: Final = timedelta(days=30)
"""Patience with a later step that could not be tried: no worker was there, or Jira asked to wait."""

log = structlog.get_logger("threadsync.syncs")


def follow_up(setup: Setup, claim: Claim, now: datetime) -> SyncState | None:
    """Do the step that is due, and set the time of the next one. None when the claim was lost."""
    if _lacks_link(claim):
        return _link_back(setup, claim, now)
    due = (claim.done_at or now) + timedelta(seconds=setup.target.settle)
    if claim.audited_at is None and now >= due:
        return _audit(setup, claim, now)
    return setup.store.release(claim, max((due - now).total_seconds(), 0.1))


def endpoints_of(claim: Claim) -> tuple[str, ...]:
    """Return the endpoints that the next step of a ticket needs."""
    return ("remote_link",) if _lacks_link(claim) else ("search", "get")


def leave_alone(setup: Setup, claim: Claim, now: datetime) -> SyncState | None:
    """End the steps of a ticket at a Jira that the settings no longer name: they cannot be taken there."""
    step: Step = "link_back" if _lacks_link(claim) else "audit"
    delay = 0.0 if _lacks_link(claim) else None
    detail = f"the ticket is at {claim.site}, and JIRA_URL is {setup.target.site}"
    return setup.store.follow_up(
        claim, step, "unclear", is_over=True, delay=delay, started_at=now, detail=detail
    )


def hold(setup: Setup, pause: Pause, request: str) -> None:
    """Keep all workers from the site or the endpoint for as long as Jira asks."""
    if pause.scope == "site":
        setup.store.pause_site(setup.target.site, pause.seconds)
    elif request:
        setup.store.pause_endpoint(setup.target.site, request, pause.seconds)


def _lacks_link(claim: Claim) -> bool:
    return claim.linked_back_at is None and claim.origin != "named"


def pause_for(setup: Setup, answer: Throttled, request: str) -> float:
    """Return the pause after a 429, and keep others away for as long. It is no failure of a step."""
    seconds = max(answer.retry_after or 0.0, FIRST_PAUSE_SECONDS) * (1 + setup.jitter() / 5)
    if scope := scope_of(answer):
        hold(setup, Pause(scope, seconds), request)
    return seconds


def _wait(setup: Setup, claim: Claim, answer: Throttled, request: str) -> SyncState | None:
    seconds = pause_for(setup, answer, request)
    log.info("put off", jira_key=claim.jira_key, reason=answer.why, seconds=round(seconds))
    return setup.store.release(claim, seconds)


def _link_back(setup: Setup, claim: Claim, now: datetime) -> SyncState | None:
    url = link_to_thread(claim.newest_channel_id or claim.channel_id, claim.thread_ts)
    key, global_id = claim.jira_key or "", f"threadsync={claim.marker}"
    try:
        renewed_once(lambda: setup.jira.put_remote_link(key, global_id, url, _TITLE))
    except CallFailed as exc:
        answer, failed = exc.answer, claim.progress.failures
        if isinstance(answer, Throttled):
            return _wait(setup, claim, answer, exc.request)
        # A Jira that refuses such links refuses the next one too.
        is_over = failed + 1 == _MOST_FAILURES or isinstance(answer, Rejected)
        log.info("thread not linked", jira_key=claim.jira_key, reason=answer.why, failures=failed + 1)
        return setup.store.follow_up(
            claim,
            "link_back",
            "rejected" if isinstance(answer, Rejected) else "unclear",
            is_over=is_over,
            delay=0.0 if is_over else FIRST_PAUSE_SECONDS * 2**failed,
            started_at=now,
            failures=0 if is_over else failed + 1,
            detail=answer.why,
            http_status=answer.status,
            trace_id=answer.trace_id,
        )
    return setup.store.follow_up(claim, "link_back", "ok", is_over=True, delay=0.0, started_at=now)


def _audit(setup: Setup, claim: Claim, now: datetime) -> SyncState | None:
    """Report every other ticket with the marker. Nothing is deleted: an operator decides."""
    try:
        seen = renewed_once(lambda: search_label(setup.jira, claim.marker, unlinked_of(setup, claim)))
    except CallFailed as exc:
        if isinstance(exc.answer, Throttled):
            return _wait(setup, claim, exc.answer, exc.request)
        log.info("audit put off", jira_key=claim.jira_key, reason=exc.answer.why)
        return setup.store.release(claim, max(setup.target.settle, 60))
    keys = seen.keys if isinstance(seen, Several) else ()
    others = [key for key in keys if key != claim.jira_key]
    if others:
        log.error("thread has more than one ticket", jira_key=claim.jira_key, others=others)
    outcome = "several" if others else "ok"
    return setup.store.follow_up(
        claim, "audit", outcome, is_over=True, delay=None, started_at=now, duplicates=others
    )
