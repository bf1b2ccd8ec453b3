"""Check that Jira accepts our login, and that its create screen would accept our tickets."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from threadsync.config import Settings
from threadsync.marker import canonical
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.http_once import NotSent
from worker.jira.answers import AuthProblem, CallFailed, CreateField, IssueType, Rejected, Throttled
from worker.jira.client import JiraClient
from worker.jira.setup import Target, target_of
from worker.jira.ticket import is_id

CHECKS: Final = (
    "jira: settings",
    "jira: address",
    "jira: login",
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
_NO_LOGIN_PAGE: Final = (
    "set JIRA_URL to the address that it redirects to, if that is Jira's; else let the worker reach Jira "
    "without the login page (of a proxy or single sign-on)"
)
_SHORT_SETTLE_SECONDS: Final = 120
_CREDENTIALS: Final = "correct JIRA_EMAIL and JIRA_API_TOKEN (id.atlassian.com, Security, API tokens)"


def examine_jira(settings: Settings) -> Iterator[Finding]:
    """Run all checks, which only read; no ticket is created."""
    target = target_of(settings)
    if settings.jira_url is None and settings.jira_api_token is None:
        none = "JIRA_URL and JIRA_API_TOKEN are not set: no tickets are created"
        yield from (skipped(check, none) for check in CHECKS)
        return
    yield from judge_settings(settings)
    if target is None:
        yield from (skipped(check, "Jira is not configured") for check in CHECKS[2:])
        return
    with JiraClient(target.account) as jira:
        yield from _examine(jira, target)


def _examine(jira: JiraClient, target: Target) -> Iterator[Finding]:
    try:
        jira.myself()
    except CallFailed as exc:
        yield judge_login(exc)
        yield from (skipped(check, "Jira rejects our login") for check in CHECKS[3:])
        return
    yield ok("jira: login", "Jira accepts our login")
    yield _examine_deployment(jira, target)
    yield _examine_search(jira, target)
    if target.project_key is None:
        fix = "set JIRA_PROJECT_KEY, unless every draft names its project"
        yield warning("jira: project", "JIRA_PROJECT_KEY is not set", fix)
        yield from (skipped(check, "there is no project to check") for check in CHECKS[6:])
        return
    try:
        kind = jira.issue_type(target.project_key, target.issue_type)
        fields = jira.required_fields(target.project_key, kind.id)
    except CallFailed as exc:
        yield judge_project(exc, target.project_key, target.issue_type)
        yield from (skipped(check, "its create screen cannot be read") for check in CHECKS[6:])
        return
    yield judge_issue_type(kind, target.project_key, target.issue_type)
    yield from judge_screen(fields, target.project_key, target.issue_type)


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
    missing = [
        name
        for name, value in (("JIRA_URL", settings.jira_url), ("JIRA_API_TOKEN", settings.jira_api_token))
        if not value
    ]
    check = "jira: settings"
    if missing:
        yield error(check, f"not set: {', '.join(missing)}; no tickets are created", "set both, or neither")
    elif settings.jira_deployment == "cloud" and not settings.jira_email:
        yield error(check, "JIRA_EMAIL is not set, and Jira Cloud needs it", _CREDENTIALS)
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


def judge_login(failed: CallFailed) -> Finding:
    """Judge a failure of ``GET /myself``."""
    check = "jira: login"
    match failed.answer:
        case AuthProblem(is_page=is_page, status=status) if is_page or 300 <= status < 400:
            return error(check, failed.answer.why, _NO_LOGIN_PAGE)
        case AuthProblem():
            return error(check, f"Jira rejects our login ({failed.answer.status})", _CREDENTIALS)
        case Rejected(status=404 | 405 | 410):
            fix = "check that JIRA_URL and JIRA_DEPLOYMENT (cloud or datacenter) are those of your Jira"
            return error(check, f"there is no Jira at this address ({failed.answer.status})", fix)
        case NotSent():
            fix = "check JIRA_URL, and that this machine reaches it (DNS, proxy, firewall)"
            return error(check, failed.answer.why, fix)
        case Throttled():
            return warning(
                check, "Jira asks us to slow down: it cannot be checked now", "try again in a minute"
            )
        case _:
            fix = "check that JIRA_URL is Jira's address, not a login page or proxy; then try again"
            return error(check, failed.answer.why, fix)


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
