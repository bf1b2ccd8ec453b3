"""One claim of a sync, from its beginning to the write that ends it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from threadsync.syncs import Claim, Step
from worker.db.syncs.store import Begun, Ending
from worker.http_once import NotSent
from worker.jira.answers import CallFailed, CreateAnswer, Created, Rejected
from worker.jira.breaker import PROBE_SECONDS, Breaker
from worker.jira.decide import Absent, Next, Outcome, Standing, Unread, decide
from worker.jira.follow_up import endpoints_of, follow_up, hold, leave_alone
from worker.jira.record import detail_of, end_of_doubt, name_of, ticket_of
from worker.jira.search import look, search_label
from worker.jira.setup import Setup
from worker.jira.taken_off import taken_off
from worker.jira.ticket import fields_of
from worker.observe import metrics

TURN_SECONDS: Final = 2.0
"""A create that has had no answer by then no longer keeps the project's others waiting."""

COMMIT_SECONDS: Final = 5.0
"""Between the commit to a create and its sending at most; else it is not sent."""

WRITE_SECONDS: Final = 10.0
"""For what is written in the end, before somebody else may take the sync."""

CREATE: Final = "create"
_WAIT_FOR_TURN_SECONDS: Final = 8.0
_TURN_POLL_SECONDS: Final = 0.1
_MOST_UNFINISHED_CLAIMS: Final = 5

log = structlog.get_logger("threadsync.syncs")


class Turn:
    """What is done about a sync while this process has it. ``take`` ends with the one write, or with none."""

    def __init__(self, setup: Setup, claim: Claim, began: float) -> None:
        self._setup = setup
        self._claim = claim
        self._began = began
        self._site = setup.target.site
        self._sendable_until = began

    def take(self) -> None:
        """Do the step that the sync's state asks for."""
        claim = self._claim
        trouble = self._setup.store.trouble_of(self._site)
        if claim.unfinished_claims > _MOST_UNFINISHED_CLAIMS:
            self._give_to_a_person("worker_died_often")
        elif claim.session_key and claim.state in ("pending", "retry_wait"):
            # Somebody named the ticket in the moment in which one was asked for.
            self._write(Next("done", 0), "search", None)
        elif claim.is_taken_off and claim.state in ("pending", "retry_wait"):
            # What was in doubt made none, and of this draft no other one is wanted.
            self._write(Next("failed", None, "unlinked"), "search", None)
        elif claim.draft is None and claim.state in ("pending", "retry_wait"):
            self._write(Next("failed", None, "draft_unreadable"), "search", None)
        elif claim.state == "unknown" and claim.site != self._site:
            self._give_to_a_person("site_changed")
        elif claim.state == "done" and claim.site != self._site:
            # Its key may be another ticket's here.
            leave_alone(self._setup, claim, self._now())
        elif trouble.reason and claim.state in ("pending", "retry_wait"):
            self._park(trouble.reason)
        elif trouble.reason or trouble.paused_for:
            self._setup.store.release(claim, trouble.paused_for or PROBE_SECONDS)
        elif pause := max((trouble.endpoints.get(name, 0.0) for name in self._endpoints()), default=0.0):
            # Not all in one moment: they would meet the same limit again.
            self._setup.store.release(claim, pause * (1 + self._setup.jitter() / 5))
        elif claim.state == "unknown":
            self._look()
        elif claim.state == "done":
            follow_up(self._setup, claim, self._now())
        else:
            self._create()

    def _endpoints(self) -> tuple[str, ...]:
        """Return those that the next step needs, as `worker.jira.paths.endpoint_of` names them."""
        if self._claim.state == "unknown":
            return ("search", "bulkfetch", "get")
        return endpoints_of(self._claim) if self._claim.state == "done" else ("search", CREATE)

    def _create(self) -> None:
        claim, jira = self._claim, self._setup.jira
        project = (claim.draft and claim.draft.project_key) or self._setup.target.project_key
        if project is None:
            self._write(Next("blocked", None, "no_project"), "search", None)
            return
        started = self._now()
        try:
            seen = search_label(jira, claim.marker, taken_off(self._setup, claim))
            baseline = self._newest_number(project) if isinstance(seen, Absent) else 0
        except CallFailed as exc:
            self._end("search", Unread(exc), started)
            return
        if not isinstance(seen, Absent):
            self._end("search", seen, started)
            return
        begun = self._begin(project, baseline)
        if begun:
            self._end("create", self._send(begun, project), started, begun.number)

    def _newest_number(self, project: str) -> int:
        """The key probe begins behind it. Too low is no harm: then there is more to look through."""
        try:
            return self._setup.jira.newest_number(project)
        except CallFailed as exc:
            if isinstance(exc.answer, Rejected):
                # A project that is not there: the create will say so in better words.
                return 0
            raise

    def _begin(self, project: str, baseline: int) -> Begun | None:
        """Commit to the create when it is the project's turn; None when it is not to be sent now."""
        setup, target, clock = self._setup, self._setup.target, self._setup.clock
        until = clock.monotonic() + _WAIT_FOR_TURN_SECONDS
        while clock.monotonic() < until:
            self._sendable_until = clock.monotonic() + COMMIT_SECONDS
            begun = setup.store.begin_create(
                self._claim,
                site=self._site,
                project_key=project,
                default_project_key=target.project_key,
                baseline=baseline,
                at_once=target.at_once,
                deadline=COMMIT_SECONDS + target.account.timeout,
                turn=TURN_SECONDS,
                # Its answer may lead to one more question, whether the whole site is in trouble.
                lease=COMMIT_SECONDS + 2 * target.account.timeout + WRITE_SECONDS,
            )
            if begun:
                return begun
            if not setup.store.has_claim(self._claim):
                return None
            clock.sleep(_TURN_POLL_SECONDS)
        setup.store.release(self._claim, setup.jitter())
        return None

    def _send(self, begun: Begun, project: str) -> CreateAnswer:
        target, draft = self._setup.target, begun.draft
        fields = fields_of(
            summary=draft.summary,
            description=draft.description,
            labels=draft.labels,
            marker=self._claim.marker,
            project_key=project,
            issue_type=draft.issue_type or target.issue_type,
            deployment=target.account.deployment,
        )
        if self._setup.clock.monotonic() > self._sendable_until:
            return NotSent("too much time passed before it could be sent")
        return self._setup.jira.create(fields, self._claim.marker, begun.number)

    def _look(self) -> None:
        claim = self._claim
        started = self._now()
        if claim.deadline is None or claim.doubtful_project is None:
            # Nothing is in doubt any more: a create that was never begun.
            self._write(Next("pending", 0, "create_again"), "look", None)
            return
        self._end("look", self._seen(claim.doubtful_project, claim.baseline or 0), started)

    def _seen(self, project: str, baseline: int) -> Outcome:
        try:
            left = taken_off(self._setup, self._claim)
        except CallFailed as exc:
            return Unread(exc)
        return look(self._setup.jira, self._claim.marker, project, baseline, left)

    def _end(self, step: Step, outcome: Outcome, started: datetime, number: int | None = None) -> None:
        claim, setup = self._claim, self._setup
        standing = Standing(
            claim.failures,
            claim.failing_since,
            claim.looks,
            claim.absences,
            claim.recreates,
            claim.deadline if claim.state == "unknown" else None,
        )
        following = decide(outcome, standing, self._now(), setup.target.settle, setup.jitter())
        if following.pause:
            request = outcome.answer.request if isinstance(outcome, Unread) else CREATE
            hold(setup, following.pause, request)
        trouble = Breaker(setup).trouble() if following.may_be_the_site else None
        self._write(following, step, outcome, started, number, trouble)
        if trouble:
            count = setup.store.open_breaker(self._site, trouble, PROBE_SECONDS)
            log.error("site refuses us", site=self._site, reason=trouble, parked=count)

    def _write(
        self,
        following: Next,
        step: Step,
        outcome: Outcome | None,
        started: datetime | None = None,
        number: int | None = None,
        trouble: str | None = None,
    ) -> None:
        answer = outcome.answer.answer if isinstance(outcome, Unread) else outcome
        ticket = ticket_of(outcome)
        ending = Ending(
            state=following.state,
            step=step,
            outcome=name_of(outcome) if outcome else None,
            delay=following.delay,
            reason=trouble if trouble and following.state == "blocked" else following.reason,
            detail=detail_of(outcome),
            parked=bool(trouble) and following.state == "blocked",
            failures=following.failures,
            failing_since=following.failing_since,
            looks=following.looks,
            absences=following.absences,
            recreates=following.recreates,
            jira_id=ticket[0] if ticket else None,
            jira_key=ticket[1] if ticket else None,
            origin=("created" if isinstance(outcome, Created) else "found") if ticket else None,
            number=number,
            started_at=started or self._now(),
            http_status=getattr(answer, "status", None),
            trace_id=getattr(answer, "trace_id", None),
            doubt_ends_as=end_of_doubt(outcome, following),
        )
        state = self._setup.store.finish(self._claim, ending)
        if state is not None:
            self._count(ending)
        log.info(
            "sync lost" if state is None else "sync moved",
            channel_id=self._claim.channel_id,
            thread_ts=self._claim.thread_ts,
            step=step,
            outcome=ending.outcome,
            state=state,
            reason=ending.reason,
            http_status=ending.http_status,
            jira_key=ending.jira_key,
        )

    def _count(self, ending: Ending) -> None:
        if ending.outcome == "found":
            metrics.ticket_found()
        if self._claim.state != "unknown":
            return
        if self._claim.looks == 0:
            metrics.create_in_doubt()
        end = "review" if ending.state == "review" else ending.doubt_ends_as
        if end:
            metrics.doubt_ended(end)

    def _give_to_a_person(self, reason: str) -> None:
        self._write(Next("review", None, reason, recreates=self._claim.recreates), "look", None)

    def _park(self, reason: str) -> None:
        claim = self._claim
        as_it_was = Next(
            "blocked", None, reason, claim.failures, claim.failing_since, recreates=claim.recreates
        )
        self._write(as_it_was, "search", None, trouble=reason)

    def _now(self) -> datetime:
        """The database's clock, as far as this process can tell without asking."""
        return self._claim.now + timedelta(seconds=self._setup.clock.monotonic() - self._began)
