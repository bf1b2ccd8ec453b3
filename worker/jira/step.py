"""One step of a sync, from its claim to the write that ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from threadsync.channel_settings.resolution import defaults_of, resolve
from threadsync.syncs import Step, SyncState
from worker.db.syncs.claim import Begun, Claim, Ending, Sender
from worker.db.syncs.store import SiteTrouble
from worker.http_once import NotSent
from worker.jira.answers import CallFailed, CreateAnswer, Created, Rejected
from worker.jira.breaker import PROBE_SECONDS, Breaker, shows_acceptance
from worker.jira.decide import Absent, Next, Outcome, Situation, Unread, decide, is_of_sight
from worker.jira.follow_up import endpoints_of, follow_up, hold, leave_alone
from worker.jira.login.choice import questions_of
from worker.jira.record import detail_of, end_of_doubt, name_of, ticket_of
from worker.jira.reporter import Reporter, note_reporter, reporter_of, with_reporter
from worker.jira.requester import ending_of, name_of_requester, requester_of
from worker.jira.search import look, search_label
from worker.jira.setup import Setup
from worker.jira.sight import can_see
from worker.jira.ticket import fields_of
from worker.jira.unlinked import unlinked_of
from worker.observe import metrics

PLACE_SECONDS: Final = 2.0
"""Time after which a create without a response no longer makes the project's others wait."""

COMMIT_SECONDS: Final = 5.0
"""Most seconds between the commit to a create and its sending; after them it is not sent."""

WRITE_SECONDS: Final = 10.0
"""Time for the write at the end, before another process may claim the sync."""

CREATE: Final = "create"
_WAIT_FOR_PLACE_SECONDS: Final = 8.0
_POLL_SECONDS: Final = 0.1
_MOST_UNFINISHED_CLAIMS: Final = 5

log = structlog.get_logger("threadsync.syncs")


class SyncStep:
    """A step under one claim, which ends with at most one write."""

    def __init__(self, setup: Setup, claim: Claim, began: float) -> None:
        self._setup = setup
        self._claim = claim
        self._began = began
        self._site = setup.target.site
        self._sendable_until = began
        self._is_probe = False
        # As of the claim: a setting that changes now is for the next attempt.
        target = setup.target
        self._defaults = defaults_of(claim.channel_settings, target.project_key, target.issue_type)
        self._reporter: Reporter | None = None
        self._requester_name: str | None = None

    def run(self) -> SyncState | None:
        """Do the step that the sync's state asks for.

        Returns the sync as it is then; None when the claim was lost.
        """
        claim, setup = self._claim, self._setup
        trouble = setup.store.trouble_of(self._site)
        if trouble.reason and trouble.probed_by == claim.session_id and claim.state != "done":
            # Its step shows whether the trouble is over.
            trouble, self._is_probe = replace(trouble, reason=None), True
        if claim.unfinished_claims > _MOST_UNFINISHED_CLAIMS:
            return self._give_to_a_person("worker_died_often")
        if claim.state in ("pending", "retry_wait") and (following := self._without_jira(trouble)):
            return self._write(following, "search", None)
        if claim.state == "unknown" and claim.site != self._site:
            return self._give_to_a_person("site_changed")
        if claim.state == "done" and claim.site != self._site:
            # Its key may be another ticket's here.
            return leave_alone(setup, claim, self._now())
        if trouble.reason or trouble.paused_for:
            return setup.store.release(claim, trouble.paused_for or PROBE_SECONDS)
        if pause := max((trouble.endpoints.get(name, 0.0) for name in self._endpoints()), default=0.0):
            # Not all in one moment: they would meet the same limit again.
            return setup.store.release(claim, pause * (1 + setup.jitter() / 5))
        if claim.state == "unknown":
            return self._look()
        if claim.state != "done":
            return self._create()
        if setup.clock.monotonic() - self._began > COMMIT_SECONDS:
            # Others may have changed the link meanwhile: this process would replace it by an older one.
            return setup.store.release(claim, 0.1)
        return follow_up(setup, claim, self._now())

    def _without_jira(self, trouble: SiteTrouble) -> Next | None:
        """Return the next state of a sync that needs no call to Jira; None if a call is needed."""
        claim = self._claim
        if claim.session_key:
            # A person named the ticket in the moment in which one was asked for.
            return Next("done", 0)
        if claim.is_unlinked:
            # The create in doubt made no ticket, and this draft is to make no other one.
            return Next("failed", None, "unlinked")
        if claim.draft is None:
            return Next("failed", None, "draft_unreadable")
        if trouble.reason:
            return Next("blocked", None, trouble.reason, claim.progress, is_parked=True)
        return None

    def _endpoints(self) -> tuple[str, ...]:
        """Return the endpoints that the next step needs, by `worker.jira.paths.endpoint_of`."""
        if self._claim.state == "unknown":
            return ("search", "bulkfetch", "get")
        return endpoints_of(self._claim) if self._claim.state == "done" else ("search", CREATE)

    def _create(self) -> SyncState | None:
        claim, jira = self._claim, self._setup.jira
        project = (claim.draft and claim.draft.project_key) or self._default_project()
        if project is None:
            return self._write(Next("blocked", None, "no_project"), "search", None)
        started = self._now()
        try:
            seen = search_label(jira, claim.marker, unlinked_of(self._setup, claim))
            baseline = self._newest_number(project) if isinstance(seen, Absent) else 0
        except CallFailed as exc:
            return self._end("search", Unread(exc), started)
        if not isinstance(seen, Absent):
            return self._end("search", seen, started)
        self._reporter = reporter_of(self._setup, claim, project)
        self._requester_name = name_of_requester(self._setup, claim)
        begun = self._begin(project, baseline)
        if not isinstance(begun, Begun):
            return begun
        return self._end("create", self._send(begun, project), started, begun.number)

    def _default_project(self) -> str | None:
        return self._defaults.project.value if self._defaults.project else None

    def _newest_number(self, project: str) -> int:
        """Return the project's newest number, where key probes begin; one too low only means more to read."""
        try:
            return self._setup.jira.newest_number(project)
        except CallFailed as exc:
            if isinstance(exc.answer, Rejected):
                # A project that is not there: the create will say so in better words.
                return 0
            raise

    def _begin(self, project: str, baseline: int) -> Begun | SyncState | None:
        """Commit to the create once the project has a place for it; else return as `run` does."""
        setup, target, clock = self._setup, self._setup.target, self._setup.clock
        until = clock.monotonic() + _WAIT_FOR_PLACE_SECONDS
        while clock.monotonic() < until:
            self._sendable_until = clock.monotonic() + COMMIT_SECONDS
            begun = setup.store.begin_create(
                self._claim,
                site=self._site,
                project_key=project,
                defaults=self._defaults,
                baseline=baseline,
                at_once=target.at_once,
                deadline=COMMIT_SECONDS + target.account.timeout,
                turn=PLACE_SECONDS,
                # Its answer may lead to one more question, whether the whole site is in trouble.
                lease=COMMIT_SECONDS + self._calls(2) * target.account.timeout + WRITE_SECONDS,
                sender=Sender(account=setup.jira.sender, has_reporter=self._reporter is not None),
            )
            if begun:
                return begun
            if not setup.store.has_claim(self._claim):
                return None
            clock.sleep(_POLL_SECONDS)
        return setup.store.release(self._claim, setup.jitter())

    def _calls(self, number: int) -> int:
        """Return a number of calls with those that may be needed to log in for them."""
        return number + questions_of(self._setup.target.account)

    def _send(self, begun: Begun, project: str) -> CreateAnswer:
        draft, made = begun.draft, resolve(begun.draft, self._defaults)
        fields = fields_of(
            summary=draft.summary,
            description=draft.description,
            labels=made.labels,
            marker=self._claim.marker,
            project_key=project,
            issue_type=made.issue_type.value,
            priority=made.priority.value if made.priority else None,
            assignee=draft.assignee,
            others=draft.fields or {},
            ending=ending_of(begun, self._claim, self._requester_name),
            deployment=self._setup.target.account.deployment,
        )
        if self._setup.clock.monotonic() > self._sendable_until:
            return NotSent("too much time passed before it could be sent")
        # A draft that came in the last moment may be another person's.
        reporter = self._reporter if begun.drafted_by == self._claim.drafted_by else None
        fields = with_reporter(fields, reporter, self._setup.target.account.deployment)
        requester = requester_of(begun.drafted_by)
        return self._setup.jira.create(fields, self._claim.marker, begun.number, requester)

    def _look(self) -> SyncState | None:
        claim = self._claim
        started = self._now()
        if claim.deadline is None or claim.doubtful_project is None:
            # Nothing is in doubt any more: a create that was never begun.
            return self._write(Next("pending", 0, "create_again"), "look", None)
        return self._end("look", self._seen(claim.doubtful_project, claim.baseline or 0), started)

    def _seen(self, project: str, baseline: int) -> Outcome:
        try:
            unlinked = unlinked_of(self._setup, self._claim)
        except CallFailed as exc:
            return Unread(exc)
        return look(self._setup.jira, self._claim.marker, project, baseline, unlinked)

    def _end(
        self, step: Step, outcome: Outcome, started: datetime, number: int | None = None
    ) -> SyncState | None:
        claim, setup = self._claim, self._setup
        deadline = claim.deadline if claim.state == "unknown" else None
        situation = Situation(
            claim.progress,
            self._now(),
            setup.target.settle,
            setup.jitter(),
            deadline,
            was_renewed=claim.reason == "token_renewed",
            named_reporter=self._reporter is not None,
        )
        outcome, situation = self._sighted(outcome, situation)
        following = decide(outcome, situation)
        if following.pause:
            request = outcome.answer.request if isinstance(outcome, Unread) else CREATE
            hold(setup, following.pause, request)
        breaker = Breaker(setup)
        trouble = following.site_trouble or (breaker.trouble() if following.may_be_the_site else None)
        if trouble and following.state in ("blocked", "retry_wait"):
            following = replace(following, state="blocked", delay=None, reason=trouble, is_parked=True)
        if trouble:
            # First, so that a process that dies in between leaves no sync parked at a site without a probe.
            breaker.open(trouble, claim.session_id)
        state = self._write(following, step, outcome, started, number)
        if self._is_probe and not trouble and shows_acceptance(outcome):
            breaker.close()
        if self._reporter:
            # Only now, when the sync has its ticket or its next attempt.
            note_reporter(setup, self._reporter, outcome, following)
        return state

    def _sighted(self, outcome: Outcome, situation: Situation) -> tuple[Outcome, Situation]:
        """Ask whether the account would see the ticket, where absence depends on it."""
        if not is_of_sight(outcome, situation):
            return outcome, situation
        try:
            return outcome, replace(situation, can_see=can_see(self._setup, self._claim))
        except CallFailed as exc:
            return Unread(exc), situation

    def _write(
        self,
        following: Next,
        step: Step,
        outcome: Outcome | None,
        started: datetime | None = None,
        number: int | None = None,
    ) -> SyncState | None:
        answer = outcome.answer.answer if isinstance(outcome, Unread) else outcome
        ticket = ticket_of(outcome)
        ending = Ending(
            state=following.state,
            step=step,
            outcome=name_of(outcome) if outcome else None,
            delay=following.delay,
            reason=following.reason,
            detail=detail_of(outcome),
            parked=following.is_parked,
            progress=following.progress,
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
            self._confirm(state, ending)
        log.info(
            "sync lost" if state is None else "sync moved",
            channel_id=self._claim.channel_id,
            thread_ts=self._claim.thread_ts,
            step=step,
            outcome=ending.outcome,
            state=state.state if state else None,
            reason=ending.reason,
            http_status=ending.http_status,
            jira_key=ending.jira_key,
        )
        return state

    def _count(self, ending: Ending) -> None:
        if ending.outcome == "found":
            metrics.ticket_found()
        if self._claim.state != "unknown":
            return
        if self._claim.progress.looks == 0 and ending.reason != "token_renewed":
            metrics.create_in_doubt()
        end = "review" if ending.state == "review" else ending.doubt_ends_as
        if end:
            metrics.doubt_ended(end)

    def _confirm(self, state: SyncState, ending: Ending) -> None:
        """Record that Jira knows the channel's settings with which it made the ticket."""
        claim, made = self._claim, state.made_with
        if ending.origin is None or not (claim.channel_settings.unverified and made):
            return
        if made.project_from == "channel":
            self._setup.store.confirm_setting(claim.channel_id, "project_key", made.project_key)
        if made.issue_type_from == "channel" and made.issue_type:
            self._setup.store.confirm_setting(claim.channel_id, "issue_type", made.issue_type)

    def _give_to_a_person(self, reason: str) -> SyncState | None:
        return self._write(Next("review", None, reason, self._claim.progress), "look", None)

    def _now(self) -> datetime:
        """Return the database's time, reckoned from the claim without another question."""
        return self._claim.now + timedelta(seconds=self._setup.clock.monotonic() - self._began)
