"""Check that Jira accepts our login, and that its create screen would accept our tickets."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from threadsync.config import Settings
from threadsync.jira_login import missing_secrets
from threadsync.marker import canonical
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.doctor.jira_login import (
    SCOPES_FIX,
    expiry,
    judge_login,
    judge_scopes,
    kind_of,
    lacks_scope,
    where_it_goes,
)
from worker.jira.answers import AuthProblem, CallFailed, CreateField, IssueType, Rejected, Throttled
from worker.jira.client import JiraClient
from worker.jira.login.renewal import renewed_once
from worker.jira.setup import Target, target_of
from worker.jira.ticket import is_id

CHECKS: Final = (
    "jira: settings",
    "jira: address",
    "jira: expiry",
    "jira: login",
    "jira: scopes",
    "jira: deployment",
    "jira: search",
    "jira: project",
    "jira: required fields",
    "jira: label",
)
_SENT: Final = frozenset({"summary", "description", "project", "issuetype", "labels"})
_CLOUD_HOSTS: Final = (".atlassian.net", ".jira.com")
_OF_A_PAGE: Final = frozenset(
    {"browse", "rest", "secure", "projects", "issues", "software", "core", "login.jsp"}
)
_SHORT_SETTLE_SECONDS: Final = 120


def examine_jira(settings: Settings) -> Iterator[Finding]:
    """Run all checks, which only read; no ticket is created."""
    target = target_of(settings)
    if settings.jira_url is None and settings.jira_login.kind is None:
        none = "JIRA_URL and a login are not set: no tickets are created"
        yield from (skipped(check, none) for check in CHECKS)
        return
    yield from judge_settings(settings)
    if target is None:
        yield from _skip_after("jira: address", "Jira is not configured")
        return
    yield expiry(settings)
    with JiraClient(target.account) as jira:
        yield from _examine(jira, target, settings)


def _examine(jira: JiraClient, target: Target, settings: Settings) -> Iterator[Finding]:
    login = kind_of(settings)
    try:
        renewed_once(jira.myself)
    except CallFailed as exc:
        yield judge_login(exc, login)
        if not lacks_scope(exc):
            yield from _skip_after("jira: login", "Jira rejects our login")
            return
    else:
        yield ok("jira: login", f"Jira accepts our login ({where_it_goes(settings)})")
    yield judge_scopes(login, jira.granted_scopes())
    yield _examine_deployment(jira, target)
    yield _examine_search(jira, target)
    if target.project_key is None:
        fix = "set JIRA_PROJECT_KEY, unless every draft names its project"
        yield warning("jira: project", "JIRA_PROJECT_KEY is not set", fix)
        yield from _skip_after("jira: project", "there is no project to check")
        return
    try:
        kind = jira.issue_type(target.project_key, target.issue_type)
        fields = jira.required_fields(target.project_key, kind.id)
    except CallFailed as exc:
        yield judge_project(exc, target.project_key, target.issue_type)
        yield from _skip_after("jira: project", "its create screen cannot be read")
        return
    yield judge_issue_type(kind, target.project_key, target.issue_type)
    yield from judge_screen(fields, target.project_key, target.issue_type)


def _skip_after(check: str, why: str) -> Iterator[Finding]:
    """Skip the checks that follow this one."""
    return (skipped(following, why) for following in CHECKS[CHECKS.index(check) + 1 :])


def _examine_deployment(jira: JiraClient, target: Target) -> Finding:
    check = "jira: deployment"
    try:
        found = jira.deployment()
    except CallFailed:
        return skipped(check, "Jira does not say which it is")
    if found != target.account.deployment:
        what = f"JIRA_DEPLOYMENT is {target.account.deployment}, but Jira is {found}"
        return error(check, what, f"set JIRA_DEPLOYMENT={found}")
    return ok(check, found)


def _examine_search(jira: JiraClient, target: Target) -> Finding:
    """Try both ways to find a ticket: without them none is ever created."""
    check = "jira: search"
    try:
        jira.search_label("slk-doctor")
        jira.fetch([f"{target.project_key or 'NONE'}-1"])
    except CallFailed as exc:
        return judge_search(exc)
    return ok(check, "tickets can be found by label and by key")


def judge_search(failed: CallFailed) -> Finding:
    """Judge a failure of the label search or the key probe."""
    check = "jira: search"
    if isinstance(failed.answer, Throttled):
        return warning(check, "Jira asks us to slow down: it cannot be checked now", "try again in a minute")
    what = f"tickets cannot be found, so none is created: {failed.answer.why}"
    if isinstance(failed.answer, Rejected):
        fix = "check that JIRA_DEPLOYMENT (cloud or datacenter) and JIRA_URL are those of your Jira"
        return error(check, what, fix)
    if lacks_scope(failed):
        return error(check, what, SCOPES_FIX)
    if isinstance(failed.answer, AuthProblem):
        return error(
            check, what, "give the account the right to browse projects, and the token the scopes it needs"
        )
    return warning(check, what, "try again in a minute")


def judge_issue_type(kind: IssueType, project: str, wanted: str) -> Finding:
    """Compare the issue type with Jira's: digits are an ID, anything else is an exact name."""
    check = "jira: project"
    if is_id(wanted) and wanted != kind.id:
        what = f"{project} has an issue type named {wanted}, but digits are read as an ID"
        return error(check, what, f"set JIRA_ISSUE_TYPE={kind.id}")
    if wanted not in (kind.id, kind.name):
        what = f"the issue type of {project} is {kind.name!r}, and JIRA_ISSUE_TYPE is {wanted!r}"
        return warning(check, what, f"set JIRA_ISSUE_TYPE={kind.name}: some Jiras refuse any other spelling")
    return ok(check, f"{project} has {kind.name}")


def judge_settings(settings: Settings) -> Iterator[Finding]:
    """Judge that all settings are there and fit together."""
    check, login = "jira: settings", settings.jira_login
    if settings.jira_url is None or login.kind is None:
        missing = "a login (JIRA_API_TOKEN, for example)" if settings.jira_url else "JIRA_URL"
        yield error(check, f"not set: {missing}; no tickets are created", "set both, or neither")
    elif faults := missing_secrets(login):
        # A worker with such settings does not start.
        yield error(check, *faults[0].split("; ", 1))
    elif settings.jira_settle_seconds < _SHORT_SETTLE_SECONDS:
        what = f"JIRA_SETTLE_SECONDS is {settings.jira_settle_seconds:g}: a slow Jira could make two tickets"
        yield warning(
            check, what, "use the default of 600, unless your Jira's search index is known to be fast"
        )
    else:
        yield ok(check, "complete")
    yield judge_address(settings.jira_url)


def judge_address(url: str | None) -> Finding:
    """Judge that JIRA_URL is Jira's address, and encrypted."""
    check = "jira: address"
    if url is None:
        return skipped(check, "JIRA_URL is not set")
    parts = urlsplit(canonical(url))
    host = parts.hostname or ""
    if parts.scheme == "http" and not _is_local(host):
        # Without JIRA_ALLOW_HTTP such settings are refused earlier.
        return warning(check, "http://: the token is sent unencrypted", "write JIRA_URL with https://")
    steps = [step for step in parts.path.casefold().split("/") if step]
    is_cloud = host.endswith(_CLOUD_HOSTS)
    # A Data Center may have a context path, such as /jira, before its pages.
    if steps and (is_cloud or len(steps) > 2 or _OF_A_PAGE & set(steps)):
        fix = (
            f"set JIRA_URL=https://{host}"
            if is_cloud
            else "write JIRA_URL as far as Jira's own path, such as https://jira.example.com/jira"
        )
        return error(check, f"the path {parts.path} is not part of Jira's address", fix)
    return ok(check, f"{parts.scheme}://{parts.netloc}{parts.path}")


def judge_project(failed: CallFailed, project: str, issue_type: str) -> Finding:
    """Judge a failure to read the create screen."""
    check = "jira: project"
    if (
        isinstance(failed.answer, Rejected)
        and "issue type" in failed.answer.why
        and project in failed.answer.why
    ):
        fix = "set JIRA_ISSUE_TYPE to one that the project has"
        return error(check, f"{project} has no issue type {issue_type!r}", fix)
    if lacks_scope(failed):
        return error(check, f"its create screen cannot be read: {failed.answer.why}", SCOPES_FIX)
    if isinstance(failed.answer, Rejected | AuthProblem):
        fix = "correct JIRA_PROJECT_KEY, and give the account Browse and Create in the project"
        return error(check, f"there is no project {project}, or our account may not see it", fix)
    return warning(check, f"its create screen cannot be read: {failed.answer.why}", "try again in a minute")


def judge_screen(fields: Sequence[CreateField], project: str, issue_type: str) -> Iterator[Finding]:
    """Judge that we fill all required fields, and that there is a field for our marker."""
    asked = [field for field in fields if field.required and not field.has_default and field.id not in _SENT]
    if asked:
        names = ", ".join(f"{field.name} ({field.id})" for field in asked)
        fix = f"make them optional for {issue_type} in {project}, give them a default, or choose another type"
        yield error("jira: required fields", f"required fields that we do not fill: {names}", fix)
    else:
        yield ok("jira: required fields", "we fill all of them")
    if any(field.id == "labels" for field in fields):
        yield ok("jira: label", "it is on the create screen")
    else:
        fix = f"put Labels on the create screen of {issue_type} in {project} (Project settings, Screens)"
        what = "Labels is not on the create screen: Jira would refuse our tickets"
        yield error("jira: label", what, fix)


def _is_local(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
