"""Finish the unlinking of a ticket in Jira, as docs/understand/tickets.md describes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from threadsync.marker import marker_of
from worker.db.unlinked.store import UnlinkedClaim
from worker.http_once import NotSent
from worker.jira.answers import AuthProblem, CallFailed, Rejected, Throttled
from worker.jira.breaker import PROBE_SECONDS
from worker.jira.follow_up import FIRST_PAUSE_SECONDS, LATE_SECONDS, UNTRIED_PATIENCE, pause_for
from worker.jira.login.choice import questions_of
from worker.jira.login.renewal import renewed_once
from worker.jira.setup import Setup
from worker.observe import metrics
from worker.text.thread_link import link_to_thread

PROPERTY: Final = "threadsync-left"
PATIENCE: Final = timedelta(hours=24)
COMMIT_SECONDS: Final = 5.0
"""Most seconds between the commit to a comment and its sending; after them it is not sent."""

_LONGEST_PAUSE_SECONDS: Final = 900.0
_CALLS: Final = 5

log = structlog.get_logger("threadsync.syncs")


def lease_of(setup: Setup) -> float:
    """Return the seconds for all calls of one claim."""
    calls = _CALLS + questions_of(setup.target.account)
    return calls * setup.target.account.timeout + 2 * COMMIT_SECONDS


class UnlinkStep:
    """The steps under one claim of an unlinked ticket."""

    def __init__(self, setup: Setup, claim: UnlinkedClaim) -> None:
        self._setup = setup
        self._store = setup.store.unlinked
        self._claim = claim
        self._began = setup.clock.monotonic()
        self._marker = claim.marker or marker_of(setup.target.site, claim.channel_id, claim.thread_ts)
        self._ticket = claim.jira_id or claim.jira_key

    def run(self) -> None:
        """Do the steps that are due, with one write at the end, or none if the claim is lost."""
        claim, site = self._claim, self._setup.target.site
        trouble = self._setup.store.trouble_of(site)
        if claim.site not in (None, site):
            self._end("site_changed", f"the ticket is at {claim.site}, and JIRA_URL is {site}")
        elif self._now() - claim.left_at > (PATIENCE if claim.failures else UNTRIED_PATIENCE):
            self._end(None if claim.commented_at else "kept_failing", claim.detail)
        elif trouble.reason or trouble.paused_for or trouble.endpoints:
            pause = max(trouble.paused_for, *trouble.endpoints.values(), FIRST_PAUSE_SECONDS)
            self._later(PROBE_SECONDS if trouble.reason else pause)
        else:
            try:
                self._unlink()
            except CallFailed as exc:
                self._failed(exc, is_in_doubt=claim.comment_deadline is not None)

    def _unlink(self) -> None:
        claim, jira = self._claim, self._setup.jira
        if claim.jira_id is None:
            issue = renewed_once(lambda: jira.get(claim.jira_key))
            if issue is None:
                self._end("gone")
                return
            self._store.note_id(claim.session_id, claim.jira_key, issue.id)
            self._ticket = issue.id
        is_last = (rest := self._link_is_settled_in()) <= 0
        if claim.link_removed_at is None or is_last:
            if self._setup.clock.monotonic() - self._began > lease_of(self._setup):
                # The claim is another process' by now, which may have put a link since.
                return
            jira.remove_remote_link(self._ticket, f"threadsync={self._marker}")
            if not self._store.note_link_removed(claim):
                return
        comments = () if claim.commented_at else renewed_once(lambda: jira.comments(self._ticket))
        if comments is None:
            self._end("gone")
        elif claim.commented_at or any(_is_ours(comment, claim) for comment in comments):
            self._commented(rest)
        elif (lasts := self._doubt_lasts()) > 0:
            # Half of the time, so that it is looked for several times, the last time when that is over.
            delay = max(1.0, min(lasts, max(FIRST_PAUSE_SECONDS, lasts / 2)))
            self._store.release(claim, delay, failures=claim.failures, is_in_doubt=True)
        else:
            self._comment(rest)

    def _link_is_settled_in(self) -> float:
        """Return the seconds until no link that was sent before the unlink can come to light any more."""
        settled = self._claim.left_at + timedelta(seconds=self._setup.target.settle + LATE_SECONDS)
        return (settled - self._now()).total_seconds()

    def _commented(self, rest: float) -> None:
        """End it, or let go of it until the link is removed for the last time, ``rest`` seconds from now."""
        if rest <= 0:
            self._end(None)
        else:
            self._store.release(self._claim, rest, is_commented=True)

    def _doubt_lasts(self) -> float:
        """Return the seconds for which a comment that was sent may still appear."""
        if self._claim.comment_deadline is None:
            return 0.0
        settled = self._claim.comment_deadline + timedelta(seconds=self._setup.target.settle)
        return (settled - self._now()).total_seconds()

    def _comment(self, rest: float) -> None:
        claim, setup = self._claim, self._setup
        sendable_until = setup.clock.monotonic() + COMMIT_SECONDS
        if not self._store.begin_comment(claim, COMMIT_SECONDS + setup.target.account.timeout):
            return
        url = link_to_thread(claim.newest_channel_id or claim.channel_id, claim.thread_ts)
        text = f"This ticket was unlinked from <{url}|a Slack thread>: it is no longer that thread's ticket."
        value = {"marker": self._marker, "act": str(claim.act_id)}
        if setup.clock.monotonic() > sendable_until:
            late = NotSent("too much time passed before it could be sent")
            self._failed(CallFailed(late, "comment"), is_in_doubt=False)
            return
        try:
            is_there = setup.jira.add_comment(self._ticket, text, PROPERTY, value)
        except CallFailed as exc:
            surely_not = isinstance(exc.answer, NotSent | Rejected | Throttled | AuthProblem)
            self._failed(exc, is_in_doubt=not surely_not)
        else:
            self._commented(rest) if is_there else self._end("gone")

    def _failed(self, failed: CallFailed, *, is_in_doubt: bool) -> None:
        answer, failures = failed.answer, self._claim.failures
        if isinstance(answer, Rejected):
            self._end("rejected", answer.why)
            return
        if isinstance(answer, Throttled):
            seconds = pause_for(self._setup, answer, failed.request)
        else:
            seconds = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
            failures += 1
        self._store.release(
            self._claim, seconds, failures=failures, detail=answer.why, is_in_doubt=is_in_doubt
        )
        self._log("unlinking put off", reason=answer.why)

    def _later(self, delay: float) -> None:
        claim = self._claim
        in_doubt = claim.comment_deadline is not None
        self._store.release(claim, delay, failures=claim.failures, detail=claim.detail, is_in_doubt=in_doubt)

    def _end(self, given_up: str | None, detail: str | None = None) -> None:
        if self._store.end(self._claim, given_up, detail) and given_up:
            metrics.step_given_up("unlink", given_up)
        self._log("ticket unlinked" if given_up is None else "unlinking given up", reason=given_up)

    def _log(self, event: str, reason: str | None) -> None:
        claim = self._claim
        log.info(
            event,
            channel_id=claim.channel_id,
            thread_ts=claim.thread_ts,
            jira_key=claim.jira_key,
            reason=reason,
        )

    def _now(self) -> datetime:
        return self._claim.now + timedelta(seconds=self._setup.clock.monotonic() - self._began)


def _is_ours(comment: object, claim: UnlinkedClaim) -> bool:
    value = comment.get(PROPERTY) if isinstance(comment, dict) else None
    return isinstance(value, dict) and value.get("act") == str(claim.act_id)
