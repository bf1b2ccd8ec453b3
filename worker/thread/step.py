"""One step that follows a ticket, from its claim to the write that ends it.

link         the permalink, in place of the link that the sync has made; once more when no other link that was
             sent can come to light any more
plan         what of the thread goes to the ticket; of its files, which
file         one file
attachment   the whole thread as a text, where the comment cannot hold it
thread       the comment, when all others are over, so that it can say what is missing
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from threadsync.channel_settings.values import read_settings
from threadsync.errors import ThreadsyncError
from worker.db.ticket_steps.store import StepClaim
from worker.jira.answers import AuthProblem, Failure, Rejected, Throttled
from worker.jira.breaker import PROBE_SECONDS
from worker.jira.decide import Pause, scope_of
from worker.jira.follow_up import LATE_SECONDS, UNTRIED_PATIENCE, hold
from worker.jira.login.choice import questions_of
from worker.jira.setup import Setup
from worker.jira.ticket_calls import UPLOAD_SECONDS, TicketCalls
from worker.observe import metrics
from worker.thread.decide import (
    FIRST_PAUSE_SECONDS,
    PATIENCE,
    Later,
    NotYet,
    Over,
    Situation,
    decide_step,
)
from worker.thread.lookup import Names
from worker.thread.plan import Planned, plan
from worker.thread.protocol import COMMIT_SECONDS, Work, run_step
from worker.thread.slack import READ_SECONDS, SlackReader
from worker.thread.sources import Sources
from worker.thread.work import (
    WAIT_FOR_FILES,
    AttachmentWork,
    CommentWork,
    FileWork,
    LinkWork,
)

WAIT_SECONDS: Final = 300.0
"""Longest pause of a comment that waits for files; the end of a file makes it due."""

_CALL_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 10.0
_LOOKS: Final = 2
_ENDPOINTS: Final = {
    "link": ("remote_link",),
    "file": ("get", "attachment"),
    "attachment": ("get", "attachment"),
    "thread": ("comment",),
}

log = structlog.get_logger("threadsync.syncs")


def lease_of(setup: Setup) -> float:
    """Return the seconds for all calls of one claim."""
    looks = _LOOKS + questions_of(setup.target.account)
    jira = looks * setup.target.account.timeout + COMMIT_SECONDS + UPLOAD_SECONDS
    return jira + READ_SECONDS + _CALL_SECONDS + _WRITE_SECONDS


class StepRun:
    """The calls under one claim of a step, with one write at the end, or none if the claim is lost.

    Args:
        slack: None where the settings have no token.
    """

    def __init__(
        self,
        setup: Setup,
        claim: StepClaim,
        slack: SlackReader | None,
        names: Names,
    ) -> None:
        self._setup = setup
        self._store = setup.store.steps
        self._claim = claim
        self._began = setup.clock.monotonic()
        calls = TicketCalls(setup.jira)
        self._sources = Sources(setup, self._store, claim, calls, slack, names)

    def run(self) -> None:
        """Do the step as far as possible now. Raises ``ThreadsyncError``, as of a database that is away."""
        try:
            self._run()
        except ThreadsyncError:
            raise
        except Exception as exc:  # noqa: BLE001 - its text may quote the thread: no log or letter may have it
            log.warning("step of a ticket failed", step=self._claim.step, error=type(exc).__name__)
            self._put_off_in_doubt()

    def _put_off_in_doubt(self) -> None:
        claim = self._claim
        if self._now() - claim.begun_at >= PATIENCE:
            self._end(Over("kept_failing"))
            return
        pause = decide_step(NotYet(), self._situation())
        assert isinstance(pause, Later)  # noqa: S101 - it is not too old
        self._store.release(claim, pause.seconds, failures=pause.failures, is_in_doubt=True)

    def _run(self) -> None:
        claim, site = self._claim, self._setup.target.site
        if claim.site not in (None, site):
            self._end(Over("site_changed"))
        elif claim.is_forgotten:
            self._end(Over("forgotten"))
        elif claim.step == "plan":
            self._plan()
        elif (pause := self._held_by_jira()) is not None:
            self._hold(pause, PATIENCE if claim.failures else UNTRIED_PATIENCE)
        elif (pause := self._held_by_others()) is not None:
            self._hold(pause, PATIENCE)
        elif claim.step == "link":
            self._link()
        elif claim.step == "file":
            self._end(self._written(FileWork(self._sources)))
        elif claim.step == "attachment":
            self._end(self._written(AttachmentWork(self._sources)))
        else:
            self._comment()

    def _held_by_jira(self) -> float | None:
        """Return the pause that Jira asks for, or that its trouble needs; None without any."""
        trouble = self._setup.store.trouble_of(self._setup.target.site)
        if trouble.reason:
            return PROBE_SECONDS
        pauses = [trouble.endpoints.get(name, 0.0) for name in _ENDPOINTS[self._claim.step]]
        pause = max(trouble.paused_for, *pauses)
        return pause * (1 + self._setup.jitter() / 5) if pause else None

    def _held_by_others(self) -> float | None:
        """Return the pause for what comes before the step; None if it may begin."""
        claim = self._claim
        if claim.step == "link" and claim.lacks_link_back:
            # Its link comes first: a later one would replace the permalink.
            return FIRST_PAUSE_SECONDS
        if claim.step == "thread" and claim.unfinished and claim.now - claim.begun_at < WAIT_FOR_FILES:
            return WAIT_SECONDS
        return None

    def _hold(self, pause: float, patience: timedelta) -> None:
        claim = self._claim
        if claim.now - claim.begun_at >= patience:
            self._end(Over("kept_failing"))
            return
        in_doubt = claim.write_deadline is not None
        self._store.release(claim, pause, failures=claim.failures, is_in_doubt=in_doubt)

    def _plan(self) -> None:
        settings = read_settings(self._claim.context or {}).settings
        made = plan(self._sources, settings.include or "link")
        if isinstance(made, Planned):
            if self._store.plan(self._claim, made.include, made.steps):
                for new in made.steps:
                    if new.given_up:
                        metrics.step_given_up(new.step, new.given_up)
            self._log("what follows a ticket", include=made.include, steps=len(made.steps))
            return
        following = decide_step(made, self._situation())
        assert isinstance(following, Later | Over)  # noqa: S101 - nothing is written to Jira here
        self._end(following)

    def _link(self) -> None:
        work = LinkWork(self._sources)
        following = self._written(work)
        if work.waits and following == Over():
            # The link is there, and leads to the thread; the permalink takes its place when Slack gives it.
            waits = decide_step(work.waits, self._situation())
            following = waits if isinstance(waits, Later | Over) else following
        elif following == Over() and (seconds := self._link_is_settled_in()) > 0:
            self._store.release(self._claim, seconds, failures=0, is_done=True)
            self._log("link of a ticket put")
            return
        self._end(following)

    def _link_is_settled_in(self) -> float:
        """Return the seconds until no link that others have sent, or removed, can come to light any more."""
        settled = self._setup.target.settle + LATE_SECONDS
        return (self._claim.links_since + timedelta(seconds=settled) - self._now()).total_seconds()

    def _comment(self) -> None:
        work = CommentWork(self._sources)
        following = self._written(work)
        if work.needs_attachment:
            self._store.need_attachment(self._claim, WAIT_SECONDS)
            self._log("thread needs an attachment")
        else:
            self._end(following)

    def _written(self, work: Work) -> Later | Over | None:
        return run_step(work, self._situation, self._setup.clock.monotonic)

    def _situation(self) -> Situation:
        claim = self._claim
        return Situation(
            now=self._now(),
            since=claim.begun_at,
            settle=self._setup.target.settle,
            jitter=self._setup.jitter(),
            failures=claim.failures,
            # The link is an upsert: it may be put again at once.
            deadline=None if claim.step == "link" else claim.write_deadline,
        )

    def _end(self, following: Later | Over | None) -> None:
        if following is None:
            self._log("step of a ticket lost")
            return
        answer = following.answer
        status, fields = _status_of(answer), _fields_of(answer)
        if isinstance(following, Over):
            given_up = following.given_up
            if self._store.end(self._claim, given_up, http_status=status, fields=fields) and given_up:
                metrics.step_given_up(self._claim.step, given_up)
            self._log("step of a ticket given up" if given_up else "step of a ticket done", reason=given_up)
            return
        if isinstance(answer, Throttled) and (scope := scope_of(answer)):
            hold(self._setup, Pause(scope, following.seconds), following.request)
        self._store.release(
            self._claim,
            following.seconds,
            failures=following.failures,
            is_in_doubt=following.in_doubt,
            http_status=status,
            fields=fields,
        )
        why = answer.why if answer else "Slack, or what it waits for"
        self._log("step of a ticket put off", reason=why, seconds=round(following.seconds))

    def _log(self, event: str, **values: object) -> None:
        claim = self._claim
        log.info(
            event,
            channel_id=claim.channel_id,
            thread_ts=claim.thread_ts,
            jira_key=claim.jira_key,
            step=claim.step,
            **values,
        )

    def _now(self) -> datetime:
        """Return the database's time, reckoned from the claim without another question."""
        return self._claim.now + timedelta(seconds=self._setup.clock.monotonic() - self._began)


def _status_of(answer: Failure | None) -> int | None:
    return getattr(answer, "status", None)


def _fields_of(answer: Failure | None) -> tuple[str, ...]:
    """Return the names of the fields that Jira blamed, to which its messages were reduced."""
    return answer.messages if isinstance(answer, Rejected | AuthProblem) else ()
