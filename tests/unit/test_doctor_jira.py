"""The doctor's verdicts on Jira's address: good in any spelling, an error for a page within Jira."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from threadsync.config import load_settings
from worker.doctor.jira import CHECKS, examine_jira, judge_address, judge_search
from worker.doctor.jira_login import judge_expiry, judge_login, judge_scopes, where_it_goes
from worker.http_once import NotSent, Unknown
from worker.jira.answers import AuthProblem, CallFailed, Failure, Rejected
from worker.jira.login.scopes import NEEDED


@pytest.mark.parametrize(
    "url",
    [
        "https://example.atlassian.net",
        "https://Example.Atlassian.net/",
        "https://example.atlassian.net:443",
        "https://jira.example.com/jira",
        "https://jira.example.com/jira/",
        "https://jira.example.com//jira//",
        "https://example.com/tools/jira",
        "https://jira.bücher.example",
        "http://127.0.0.1:8080",
        "http://[::1]:8080/jira",
    ],
)
def test_a_good_address_passes(url: str) -> None:
    """A good address passes in any spelling: slashes, case, ports and a context path are no faults."""
    assert judge_address(url).level == "ok"


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("https://example.atlassian.net/jira", "JIRA_URL=https://example.atlassian.net"),
        (
            "https://example.atlassian.net/jira/software/projects/PROJ",
            "JIRA_URL=https://example.atlassian.net",
        ),
        ("https://example.atlassian.net/browse/PROJ-1", "JIRA_URL=https://example.atlassian.net"),
        ("https://jira.example.com/jira/browse/PROJ-1", "jira.example.com/jira"),
        ("https://jira.example.com/rest/api/2", "as far as Jira's own path"),
        ("https://jira.example.com/secure/Dashboard.jspa", "as far as Jira's own path"),
        ("https://jira.example.com/jira/projects", "as far as Jira's own path"),
    ],
)
def test_a_page_is_no_address(url: str, fix: str) -> None:
    """An address of a page in Jira is an error, and the fix is the value to write."""
    finding = judge_address(url)
    assert finding.level == "error"
    assert fix in (finding.fix or "")


def test_an_address_that_shows_the_token_is_a_warning() -> None:
    """An address without TLS is a warning, also where the settings allow it."""
    finding = judge_address("http://jira.example.com")
    assert (finding.level, finding.fix) == ("warning", "write JIRA_URL with https://")


TODAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (None, "skipped"),
        (31, "ok"),
        (30, "warning"),
        (8, "warning"),
        (7, "error"),
        (1, "error"),
        (0, "error"),
        (-3, "error"),
    ],
)
def test_the_end_of_a_login_is_told_before(days: int | None, level: str) -> None:
    """The doctor warns 30 days before the login ends, and makes an error of it 7 days before."""
    finding = judge_expiry(None if days is None else TODAY + timedelta(days=days), TODAY)
    assert (finding.check, finding.level) == ("jira: expiry", level)
    assert ("JIRA_TOKEN_EXPIRES" in finding.fix) == (level in ("warning", "error"))
    assert days is None or days <= 0 or str(days) in finding.message


@pytest.mark.parametrize(
    ("answer", "request_name", "kind", "level", "words"),
    [
        (AuthProblem(401, "no"), "myself", "classic", "error", "JIRA_CLOUD_ID=auto"),
        (AuthProblem(401, "no"), "myself", "scoped", "error", "JIRA_CLOUD_ID"),
        (AuthProblem(401, "no"), "myself", "oauth", "error", "JIRA_OAUTH_CLIENT_SECRET"),
        (AuthProblem(401, "no"), "myself", "datacenter", "error", "JIRA_API_TOKEN"),
        (AuthProblem(401, "no"), "token", "oauth", "error", "JIRA_OAUTH_CLIENT_SECRET"),
        (AuthProblem(401, "no", is_of_scope=True), "myself", "scoped", "warning", "read:jira-user"),
        (Rejected(404, "no"), "myself", "oauth", "error", "JIRA_CLOUD_ID=auto"),
        (Rejected(404, "no"), "myself", "classic", "error", "JIRA_URL"),
        (NotSent("away"), "tenant_info", "oauth", "error", "JIRA_CLOUD_ID"),
        (NotSent("away"), "token", "oauth", "error", "JIRA_OAUTH_TOKEN_URL"),
        (NotSent("away"), "myself", "oauth", "error", "JIRA_URL"),
        (Unknown("slow"), "myself", "classic", "error", "JIRA_URL"),
    ],
)
def test_a_login_that_fails_says_what_to_correct(
    answer: Failure, request_name: str, kind: Any, level: str, words: str
) -> None:
    """A login that fails names the settings of that login, and of the server that did not accept it."""
    finding = judge_login(CallFailed(answer, request_name), kind)
    assert (finding.check, finding.level) == ("jira: login", level)
    assert words in finding.fix


@pytest.mark.parametrize(
    ("kind", "granted", "level"),
    [
        ("classic", (), "skipped"),
        ("datacenter", (), "skipped"),
        ("scoped", (), "info"),
        ("oauth", (), "info"),
        ("oauth", tuple(NEEDED), "ok"),
        ("oauth", ("read:jira-work", "read:jira-user"), "error"),
    ],
)
def test_scopes_are_listed_and_missing_ones_are_named(
    kind: Any, granted: tuple[str, ...], level: str
) -> None:
    """The needed scopes are listed where the login has scopes; one that the client lacks is an error."""
    finding = judge_scopes(kind, frozenset(granted))
    assert (finding.check, finding.level) == ("jira: scopes", level)
    if level in ("info", "error"):
        assert all(scope in finding.message + finding.fix for scope in NEEDED)
    if level == "error":
        assert "lacks write:jira-work" in finding.message


def test_a_search_without_its_scope_says_which_are_needed() -> None:
    """A search that lacks its scope is an error, and the fix lists the scopes."""
    finding = judge_search(CallFailed(AuthProblem(401, "scope", is_of_scope=True), "search"))
    assert finding.level == "error"
    assert all(scope in finding.fix for scope in NEEDED)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"JIRA_EMAIL": "a@b.example", "JIRA_API_TOKEN": "t"}, "API token, at https://example.atlassian.net"),
        (
            {"JIRA_OAUTH_CLIENT_ID": "c", "JIRA_OAUTH_CLIENT_SECRET": "s"},
            "OAuth 2 client credentials, at https://api.atlassian.com",
        ),
    ],
)
def test_the_doctor_says_which_login_it_is(
    values: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor names the login and the address of its requests."""
    for name, value in {"JIRA_URL": "https://example.atlassian.net", **values}.items():
        monkeypatch.setenv(name, value)
    assert where_it_goes(load_settings()) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"JIRA_URL": "https://x.example"}, "a login"),
        ({"JIRA_API_TOKEN": "t"}, "JIRA_URL"),
        ({"JIRA_URL": "https://x.example", "JIRA_EMAIL": "a@b.example"}, "JIRA_API_TOKEN"),
        ({"JIRA_URL": "https://x.example", "JIRA_OAUTH_CLIENT_ID": "c"}, "JIRA_OAUTH_CLIENT_SECRET"),
    ],
)
def test_half_of_the_settings_is_an_error(
    values: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the settings is an error that names the other half, and Jira is not asked."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    first, *others = examine_jira(load_settings())
    assert (first.check, first.level) == ("jira: settings", "error")
    assert words in first.message
    assert [finding.check for finding in others] == list(CHECKS[1:])
    assert {finding.level for finding in others[1:]} == {"skipped"}
