"""Tasks on queue ``lookups``: questions that a person waits for.

A question is acknowledged when it is begun, never asked again, and dropped without a dead letter once its
asker has stopped waiting. It sends on a command like any other.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn
from uuid import UUID

import structlog
from celery.exceptions import Ignore

from tasks.checked_task import CheckedTask
from threadsync.actors import SlackActor
from threadsync.broker.clocks import SENT_AT, broker_time
from threadsync.broker.errors import BROKER_ERRORS
from threadsync.errors import EnqueueFailed, as_ours
from threadsync.forms import DraftFound
from threadsync.lookup_commands import (
    AccountLookup,
    DraftLookup,
    FormFieldsLookup,
    IssueTypesLookup,
    LinkAnswer,
    LinkLookup,
    ProjectsLookup,
)
from worker.celery import app
from worker.db.syncs.store import SyncStore
from worker.durable.retry_policy import History
from worker.durable.task_result import Answer

SOFT_SECONDS: Final = 12
HARD_SECONDS: Final = 15
OLDEST_SECONDS: Final = 10.0
"""Age by the broker's clock at which a lookup is dropped: its user was told by then of no result."""

_REFUSALS: Final = frozenset({"draft_refused", "set_up", "not_found"})
"""Reasons of a sync that stands still because of what Jira said of the ticket's fields."""

log = structlog.get_logger("threadsync.lookups")


class QuestionTask(CheckedTask):
    """Base of lookups: a failure is final, and the asker is told."""

    abstract = True
    acks_late = False
    soft_time_limit = SOFT_SECONDS
    time_limit = HARD_SECONDS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the lookup, unless its message is too old."""
        if not self.request.called_directly and (age := _age(self.request.headers)) > OLDEST_SECONDS:
            log.warning("question dropped", task=self.name, task_id=self.request.id, seconds=round(age, 1))
            raise Ignore
        return super().__call__(*args, **kwargs)

    def _settle(self, error: Exception, args: Any, kwargs: Any, history: History) -> NoReturn:
        """Fail at once, without a pause or a dead letter. Always raises."""
        ours = as_ours(error)
        self._count(self.request, "failed")
        log.warning("question failed", task=self.name, error=type(ours).__name__, reason=str(ours))
        raise ours from None


def _age(headers: Any) -> float:
    """Return the seconds since the message was sent; 0 if it does not say, as of another client."""
    sent_at = (headers or {}).get(SENT_AT)
    return broker_time() - sent_at if isinstance(sent_at, int | float) else 0.0


@app.task(name=LinkLookup.name, base=QuestionTask, command=LinkLookup)
def link(*args: Any, **kwargs: Any) -> Answer:
    """Ask Jira whether the ticket exists, and send ``sessions.link`` if it does."""
    return Answer(_link(LinkLookup.from_message(args, kwargs)))


def _link(question: LinkLookup) -> LinkAnswer:
    # A worker that serves other queues never loads Jira's part: tasks/loading.py.
    from worker.jira.answers import AuthProblem, CallFailed, Rejected
    from worker.jira.login.renewal import renewed_once
    from worker.jira.setup import setup_of_this_process

    setup = setup_of_this_process()
    if setup is None:
        return LinkAnswer(outcome="not_configured", jira_key=question.jira_key)
    try:
        issue = renewed_once(lambda: setup.jira.get(question.jira_key))
    except CallFailed as exc:
        log.info("ticket not looked up", jira_key=question.jira_key, reason=exc.answer.why)
        is_refused = isinstance(exc.answer, AuthProblem | Rejected)
        return LinkAnswer(outcome="refused" if is_refused else "no_answer", jira_key=question.jira_key)
    if issue is None:
        return LinkAnswer(outcome="no_such_ticket", jira_key=question.jira_key)
    _send(question, issue.key, issue.id)
    return LinkAnswer(outcome="sent", jira_key=issue.key, task_id=question.link_task_id)


def _send(question: LinkLookup, jira_key: str, jira_id: str) -> None:
    command = question.link(jira_key, jira_id)
    try:
        app.send_task(
            command.name,
            kwargs=command.arguments(),
            kwargsrepr=command.summary(),
            task_id=question.link_task_id,
            queue=command.queue,
            retry=False,
            add_to_parent=False,
        )
    except BROKER_ERRORS as exc:
        raise EnqueueFailed(f"the broker did not take the message: {type(exc).__name__}: {exc}") from exc


@app.task(name=ProjectsLookup.name, base=QuestionTask, command=ProjectsLookup)
def projects(*args: Any, **kwargs: Any) -> Answer:
    """Ask Jira for the projects in which a ticket may be."""
    from worker.jira.form_lookups import projects
    from worker.jira.setup import setup_of_this_process

    question = ProjectsLookup.from_message(args, kwargs)
    return Answer(projects(setup_of_this_process(), question.query))


@app.task(name=IssueTypesLookup.name, base=QuestionTask, command=IssueTypesLookup)
def issue_types(*args: Any, **kwargs: Any) -> Answer:
    """Ask Jira for a project's issue types."""
    from worker.jira.form_lookups import issue_types
    from worker.jira.setup import setup_of_this_process

    question = IssueTypesLookup.from_message(args, kwargs)
    return Answer(issue_types(setup_of_this_process(), question.project_key))


@app.task(name=FormFieldsLookup.name, base=QuestionTask, command=FormFieldsLookup)
def form_fields(*args: Any, **kwargs: Any) -> Answer:
    """Ask Jira for the fields of a new ticket."""
    from worker.jira.form_lookups import form_fields
    from worker.jira.setup import setup_of_this_process

    question = FormFieldsLookup.from_message(args, kwargs)
    return Answer(form_fields(setup_of_this_process(), question.project_key, question.issue_type))


@app.task(name=AccountLookup.name, base=QuestionTask, command=AccountLookup)
def account_of(*args: Any, **kwargs: Any) -> Answer:
    """Ask Slack for a user's e-mail address, and Jira for its account. The address goes no further."""
    from worker.jira.setup import setup_of_this_process
    from worker.thread.accounts import find_account
    from worker.thread.process import slack_for_lookups

    question = AccountLookup.from_message(args, kwargs)
    return Answer(find_account(setup_of_this_process(), slack_for_lookups(), question.user_id))


@app.task(name=DraftLookup.name, base=QuestionTask, command=DraftLookup)
def draft(*args: Any, **kwargs: Any) -> Answer:
    """Read a draft for the person who wrote it."""
    return Answer(_draft(DraftLookup.from_message(args, kwargs)))


def _draft(question: DraftLookup) -> DraftFound:
    from worker.jira.refusal import by_field

    actor = question.actor
    if not isinstance(actor, SlackActor):
        # A name is a claim of anybody's.
        return DraftFound(outcome="none")
    found = SyncStore().drafted_by(UUID(str(question.session_id)), actor)
    if found is None:
        return DraftFound(outcome="none")
    return DraftFound(
        outcome="found",
        draft=found.draft,
        drafted_at=found.drafted_at,
        channel_id=found.channel_id,
        thread_ts=found.thread_ts,
        refused=by_field(found.detail) if found.detail and found.reason in _REFUSALS else {},
    )
