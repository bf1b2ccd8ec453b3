"""Answer the lookups of a form: what Jira says, as results that travel."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from threadsync.forms import Choice, FormFields, IssueTypeList, LookupOutcome, ProjectList
from worker.jira.answers import AuthProblem, CallFailed, Rejected
from worker.jira.forms import JiraForms
from worker.jira.setup import Setup

_NO_SUCH: frozenset[int] = frozenset({400, 404})

log = structlog.get_logger("threadsync.lookups")


def forms_of(setup: Setup) -> JiraForms:
    """Return the client of a form's calls."""
    return JiraForms(setup.jira, setup.target.account.deployment)


def projects(setup: Setup | None, query: str | None) -> ProjectList:
    """Look up projects."""
    if setup is None:
        return ProjectList(outcome="not_configured")
    try:
        found, more = forms_of(setup).projects(query)
    except CallFailed as exc:
        return ProjectList(outcome=_outcome(exc))
    return ProjectList(outcome="known", projects=found, more=more)


def issue_types(setup: Setup | None, project_key: str) -> IssueTypeList:
    """Look up the issue types of a project."""
    if setup is None:
        return IssueTypeList(outcome="not_configured")
    try:
        found = forms_of(setup).issue_types(project_key)
    except CallFailed as exc:
        return IssueTypeList(outcome=_outcome(exc), project_key=project_key)
    outcome: LookupOutcome = "known" if found else "no_such_project"
    return IssueTypeList(outcome=outcome, project_key=project_key, issue_types=found)


def form_fields(setup: Setup | None, project_key: str | None, issue_type: str | None) -> FormFields:
    """Look up the fields of a project's create screen; None stands for the settings' project and type."""
    if setup is None:
        return FormFields(outcome="not_configured")
    forms, target = forms_of(setup), setup.target
    project = project_key or target.project_key
    if project is None:
        # A person will choose one.
        return FormFields(outcome="no_such_project")
    try:
        known = forms.issue_types(project)
        chosen = _one_of(known, issue_type) or _one_of(known, target.issue_type) or next(iter(known), None)
        if chosen is None:
            return FormFields(outcome="no_such_project", project_key=project)
        fields, unaskable = forms.fields(project, chosen.id)
    except CallFailed as exc:
        return FormFields(outcome=_outcome(exc), project_key=project)
    return FormFields(
        outcome="known",
        project_key=project,
        issue_type=chosen.id,
        issue_types=known,
        fields=fields,
        unaskable=unaskable,
    )


def _one_of(known: Sequence[Choice], wanted: str | None) -> Choice | None:
    if wanted is None:
        return None
    exact = (item for item in known if wanted in (item.id, item.label))
    same = (item for item in known if wanted.casefold() == item.label.casefold())
    return next(exact, None) or next(same, None)


def _outcome(exc: CallFailed) -> LookupOutcome:
    log.info("form not looked up", request=exc.request, reason=exc.answer.why)
    match exc.answer:
        case Rejected(status=status):
            return "no_such_project" if status in _NO_SUCH else "refused"
        case AuthProblem():
            return "refused"
        case _:
            return "no_answer"
