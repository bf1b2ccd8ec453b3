"""Jira: whether it knows us, and a ticket of ours would pass its create screen."""

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
    "set JIRA_URL to the address that it leads to, if that is Jira's; else let the worker reach Jira without "
    "the login page (a proxy or single sign-on is before it)"
)
_SHORT_SETTLE_SECONDS: Final = 120
_CREDENTIALS: Final = "set JIRA_EMAIL and JIRA_API_TOKEN right (id.atlassian.com, Security, API tokens)"


def examine_jira(settings: Settings) -> Iterator[Finding]:
    """Only reads; no ticket is made."""
    target = target_of(settings)
    if settings.jira_url is None and settings.jira_api_token is None:
        none = "JIRA_URL and JIRA_API_TOKEN are not set: no tickets are made"
        yield from (skipped(check, none) for check in CHECKS)
        return
    yield from judge_settings(settings)
    if target is None:
        yield from (skipped(check, "Jira is not set up") for check in CHECKS[2:])
        return
    with JiraClient(target.account) as jira:
        yield from _examine(jira, target)


def _examine(jira: JiraClient, target: Target) -> Iterator[Finding]:
    try:
        jira.myself()
    except CallFailed as exc:
        yield judge_login(exc)
        yield from (skipped(check, "Jira does not let us in") for check in CHECKS[3:])
        return
    yield ok("jira: login", "Jira knows us")
    yield _examine_deployment(jira, target)
    yield _examine_search(jira, target)
    if target.project_key is None:
        fix = "set JIRA_PROJECT_KEY, unless every draft names its project"
        yield warning("jira: project", "JIRA_PROJECT_KEY is not set", fix)
        yield from (skipped(check, "there is no project to look at") for check in CHECKS[6:])
        return
    try:
        kind = jira.issue_type(target.project_key, target.issue_type)
        fields = jira.required_fields(target.project_key, kind.id)
    except CallFailed as exc:
        yield judge_project(exc, target.project_key, target.issue_type)
        yield from (skipped(check, "its create screen cannot be seen") for check in CHECKS[6:])
        return
    yield judge_issue_type(kind, target.project_key, target.issue_type)
    yield from judge_screen(fields, target.project_key, target.issue_type)


def _examine_deployment(jira: JiraClient, target: Target) -> Finding:
    check = "jira: deployment"
    try:
        found = jira.deployment()
    except CallFailed:
        return skipped(check, "Jira does not say what it is")
    if found != target.account.deployment:
        what = f"JIRA_DEPLOYMENT is {target.account.deployment}, and it is a {found}"
        return error(check, what, f"set JIRA_DEPLOYMENT={found}")
    return ok(check, found)


def _examine_search(jira: JiraClient, target: Target) -> Finding:
    """Ask in the two ways in which a ticket is looked for: without them none is ever made."""
    check = "jira: search"
    try:
        jira.search_label("slk-doctor")
        jira.fetch([f"{target.project_key or 'NONE'}-1"])
    except CallFailed as exc:
        return judge_search(exc)
    return ok(check, "tickets can be looked for, by their label and by their key")


def judge_search(failed: CallFailed) -> Finding:
    """Of the label search or the key probe."""
    check = "jira: search"
    if isinstance(failed.answer, Throttled):
        return warning(check, "Jira asks us to slow down: it cannot be checked now", "ask again in a minute")
    what = f"tickets cannot be looked for, so none is made: {failed.answer.why}"
    if isinstance(failed.answer, Rejected):
        fix = "see that JIRA_DEPLOYMENT is cloud or datacenter, as it is, and that JIRA_URL is Jira's address"
        return error(check, what, fix)
    if isinstance(failed.answer, AuthProblem):
        return error(check, what, "give the account the right to browse projects, and the token its scopes")
    return warning(check, what, "ask again in a minute")


def judge_issue_type(kind: IssueType, project: str, wanted: str) -> Finding:
    """Compare what is sent with what Jira has: an id where it is digits, else a name letter by letter."""
    check = "jira: project"
    if is_id(wanted) and wanted != kind.id:
        what = f"{project} has an issue type that is called {wanted}, and digits stand for an id"
        return error(check, what, f"set JIRA_ISSUE_TYPE={kind.id}")
    if wanted not in (kind.id, kind.name):
        what = f"the issue type of {project} is spelt {kind.name!r}, and JIRA_ISSUE_TYPE is {wanted!r}"
        return warning(check, what, f"set JIRA_ISSUE_TYPE={kind.name}: some Jiras refuse any other spelling")
    return ok(check, f"{project} has {kind.name}")


def judge_settings(settings: Settings) -> Iterator[Finding]:
    """What is there, and fits together."""
    missing = [
        name
        for name, value in (("JIRA_URL", settings.jira_url), ("JIRA_API_TOKEN", settings.jira_api_token))
        if not value
    ]
    check = "jira: settings"
    if missing:
        yield error(check, f"not set: {', '.join(missing)}; no tickets are made", "set both, or none")
    elif settings.jira_deployment == "cloud" and not settings.jira_email:
        yield error(check, "JIRA_EMAIL is not set, and Jira Cloud wants it", _CREDENTIALS)
    elif settings.jira_settle_seconds < _SHORT_SETTLE_SECONDS:
        what = (
            f"JIRA_SETTLE_SECONDS is {settings.jira_settle_seconds:g}: a slow Jira could get a second ticket"
        )
        yield warning(check, what, "leave it at 600, unless your Jira's search is known to be quick")
    else:
        yield ok(check, "all are there")
    yield judge_address(settings.jira_url)


def judge_address(url: str | None) -> Finding:
    """Whether the token travels unseen."""
    check = "jira: address"
    if url is None:
        return skipped(check, "there is none")
    parts = urlsplit(canonical(url))
    host = parts.hostname or ""
    if parts.scheme == "http" and not _is_local(host):
        # Settings without JIRA_ALLOW_HTTP are refused before anything looks at them.
        return warning(check, "http://: the token travels in the clear", "write JIRA_URL with https://")
    steps = [step for step in parts.path.casefold().split("/") if step]
    is_cloud = host.endswith(_CLOUD_HOSTS)
    # A Data Center may have a context path, such as /jira; a page of it is behind that.
    if steps and (is_cloud or len(steps) > 2 or _OF_A_PAGE & set(steps)):
        fix = (
            f"set JIRA_URL=https://{host}"
            if is_cloud
            else "write JIRA_URL as far as Jira's own path, such as https://jira.example.com/jira"
        )
        return error(check, f"the path {parts.path} is not part of Jira's address", fix)
    return ok(check, f"{parts.scheme}://{parts.netloc}{parts.path}")


def judge_login(failed: CallFailed) -> Finding:
    """Of ``GET /myself``."""
    check = "jira: login"
    match failed.answer:
        case AuthProblem(is_page=is_page, status=status) if is_page or 300 <= status < 400:
            return error(check, failed.answer.why, _NO_LOGIN_PAGE)
        case AuthProblem():
            return error(check, f"Jira refuses us ({failed.answer.status})", _CREDENTIALS)
        case Rejected(status=404 | 405 | 410):
            fix = "see that JIRA_URL is Jira's address, and JIRA_DEPLOYMENT cloud or datacenter, as it is"
            return error(check, f"there is no Jira at this address ({failed.answer.status})", fix)
        case NotSent():
            fix = "see that JIRA_URL is right, and that this machine reaches it (DNS, proxy, firewall)"
            return error(check, failed.answer.why, fix)
        case Throttled():
            return warning(
                check, "Jira asks us to slow down: it cannot be checked now", "ask again in a minute"
            )
        case _:
            fix = "see that JIRA_URL is Jira's address and not a login page or proxy; then ask again"
            return error(check, failed.answer.why, fix)


def judge_project(failed: CallFailed, project: str, issue_type: str) -> Finding:
    """Of the create screen."""
    check = "jira: project"
    if (
        isinstance(failed.answer, Rejected)
        and "issue type" in failed.answer.why
        and project in failed.answer.why
    ):
        fix = "set JIRA_ISSUE_TYPE to one that the project has"
        return error(check, f"{project} has no issue type {issue_type!r}", fix)
    if isinstance(failed.answer, Rejected | AuthProblem):
        fix = "set JIRA_PROJECT_KEY right, and give the account Browse and Create in it"
        return error(check, f"there is no project {project}, or we may not see it", fix)
    return warning(check, f"its create screen cannot be seen: {failed.answer.why}", "ask again in a minute")


def judge_screen(fields: Sequence[CreateField], project: str, issue_type: str) -> Iterator[Finding]:
    """What must be filled that we do not fill; and whether there is a place for our marker."""
    asked = [field for field in fields if field.required and not field.has_default and field.id not in _SENT]
    if asked:
        names = ", ".join(f"{field.name} ({field.id})" for field in asked)
        fix = f"make them optional for {issue_type} in {project}, give them a default, or choose another type"
        yield error("jira: required fields", f"a ticket needs {names}, which we do not send", fix)
    else:
        yield ok("jira: required fields", "we send all that a ticket needs")
    if any(field.id == "labels" for field in fields):
        yield ok("jira: label", "it is on the create screen")
    else:
        fix = f"put Labels on the create screen of {issue_type} in {project} (Project settings, Screens)"
        what = "Labels is not on the create screen: Jira refuses our tickets, and could not find them again"
        yield error("jira: label", what, fix)


def _is_local(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
