"""The doctor's verdicts on Jira's address: good in any spelling, an error for a page within Jira."""

from __future__ import annotations

import pytest

from worker.doctor.jira import judge_address


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
