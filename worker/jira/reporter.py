"""Name the person who asked for a ticket as its reporter, where Jira takes that and we still see the ticket.

A ticket never waits for its reporter: what is not known, refused or hidden goes without one. A refusal is
repeated without a reporter by `worker.jira.decide`, as an attempt of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog

from threadsync.actors import SlackActor
from worker.db.syncs.claim import Claim
from worker.jira.answers import CallFailed, Created, Deployment
from worker.jira.decide import REPORTER_REFUSED, Next, Outcome
from worker.jira.login.renewal import renewed_once
from worker.jira.setup import Setup

LOOK_AGAIN_SECONDS: Final = 3_600.0
"""Pause between two looks at a ticket that was hidden from our account."""

log = structlog.get_logger("threadsync.syncs")


@dataclass(frozen=True, slots=True)
class Reporter:
    """The reporter that a create names: its account id, or a user's name on Data Center, and the project."""

    account: str
    project: str


def reporter_of(setup: Setup, claim: Claim, project: str) -> Reporter | None:
    """Return the person who asked, if the next create in the project is to name that person."""
    person = claim.drafted_by
    if not setup.target.names_requester or claim.was_reporter_refused or not isinstance(person, SlackActor):
        return None
    try:
        if _goes_without(setup, project):
            return None
        account = renewed_once(lambda: setup.account_of(person.user_id))
    except CallFailed as exc:
        log.info("reporter not looked up", reason=exc.answer.why)
        return None
    return Reporter(account, project) if account else None


def with_reporter(
    fields: dict[str, Any], reporter: Reporter | None, deployment: Deployment
) -> dict[str, Any]:
    """Return the fields of a ticket with its reporter. Pure."""
    if reporter is None:
        return fields
    return {**fields, "reporter": {"accountId" if deployment == "cloud" else "name": reporter.account}}


def note_reporter(setup: Setup, reporter: Reporter, outcome: Outcome, following: Next) -> None:
    """Note what came of a create that named a reporter; a ticket that was created is read once."""
    if isinstance(outcome, Created):
        _check_sight(setup, reporter.project, outcome.issue_id)
    elif following.reason == REPORTER_REFUSED:
        setup.store.reporters.note_refused(setup.target.site, reporter.project)


def _check_sight(setup: Setup, project: str, jira_id: str) -> None:
    """Read a ticket; if our account cannot see it, the project's next ones go without a reporter."""
    try:
        is_hidden = renewed_once(lambda: setup.jira.get(jira_id)) is None
    except CallFailed as exc:
        log.info("ticket not read", jira_id=jira_id, reason=exc.answer.why)
        return
    if is_hidden:
        setup.store.reporters.note_hidden(setup.target.site, project, jira_id)
        log.warning("ticket with a reporter is hidden from us", project_key=project, jira_id=jira_id)


def _goes_without(setup: Setup, project: str) -> bool:
    """Return True if the project's tickets go without a reporter; look now and then whether that is over."""
    store, site = setup.store.reporters, setup.target.site
    if not store.is_hidden(site, project):
        return False
    jira_id = store.take_look(site, project, LOOK_AGAIN_SECONDS)
    if jira_id is None or renewed_once(lambda: setup.jira.get(jira_id)) is None:
        return True
    store.end_hidden(site, project)
    return False
