"""Refusals of the sandbox Jira for drafts and searches, in Jira's words."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.jira.jql import JqlError, Query, parse
from sandbox.jira.site import JiraSite, ScreenField
from tests.support.jira_requests import adf, answer, create_body

SUMMARY = "You must specify a summary of the issue."
NO_DOCUMENT = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
TOO_LONG = "The entered text is too long. It exceeds the allowed limit of 32,767 characters."
EMPTY_TEXT = {"type": "doc", "version": 1, "content": [{"type": "text", "text": ""}]}
REFUSED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"summary": None}, {"summary": SUMMARY}),
    ({"summary": "  "}, {"summary": SUMMARY}),
    ({"summary": "a\nb"}, {"summary": "The summary is invalid because it contains newline characters."}),
    ({"summary": "x" * 256}, {"summary": "Summary can't exceed 255 characters."}),
    ({"summary": "🔥" * 128}, {"summary": "Summary can't exceed 255 characters."}),
    ({"summary": 7}, {"summary": "Operation value must be a string"}),
    ({"labels": ["x y"]}, {"labels": "The label 'x y' contains spaces which is invalid."}),
    ({"labels": "x"}, {"labels": "data was not an array"}),
    ({"labels": [""]}, {"labels": "The label '' is not between 1 and 255 characters long."}),
    ({"project": {"key": "NONE"}}, {"project": "valid project is required"}),
    ({"project": None, "summary": ""}, {"project": "valid project is required", "summary": SUMMARY}),
    ({"issuetype": {"name": "Epos"}}, {"issuetype": "Specify a valid issue type"}),
    ({"issuetype": "Task"}, {"issuetype": "Specify a valid issue type"}),
    ({"description": "text"}, {"description": NO_DOCUMENT}),
    ({"description": {"type": "doc", "content": []}}, {"description": NO_DOCUMENT}),
    ({"description": EMPTY_TEXT}, {"description": "INVALID_INPUT"}),
    ({"description": adf("x" * 32_767)}, {"description": TOO_LONG}),
    ({"description": adf("🔥" * 16_384)}, {"description": TOO_LONG}),
    (
        {"colour": "red"},
        {"colour": "Field 'colour' cannot be set. It is not on the appropriate screen, or unknown."},
    ),
]


@pytest.fixture
def site() -> JiraSite:
    return JiraSite()


@pytest.mark.parametrize(("fields", "errors"), REFUSED)
def test_what_jira_refuses(fields: dict[str, Any], errors: dict[str, str], site: JiraSite) -> None:
    """All faults of the fields are refused at once, and no ticket is made."""
    status, said = answer(site, "POST", "3/issue", create_body(**fields))
    assert (status, said) == (400, {"errorMessages": [], "errors": errors})
    assert site.issues == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"summary": "x" * 255},
        {"summary": "🔥" * 127},
        {"description": None},
        {"labels": None},
        {"project": {"id": "10000"}, "issuetype": {"id": "10002"}},
    ],
)
def test_what_jira_takes(fields: dict[str, Any], site: JiraSite) -> None:
    """A draft may lack description and labels, and name project and type by id."""
    assert answer(site, "POST", "3/issue", create_body(**fields))[0] == 201
    assert site.issues[0].key == "PROJ-1"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"fields": 1},
        {**create_body(), "properties": {}},
        {**create_body(), "properties": [{"key": "x"}]},
        {**create_body(), "properties": [{"key": "x", "value": "x" * 32_768}]},
    ],
)
def test_malformed_creates(body: Any, site: JiraSite) -> None:
    """A malformed create is reported as the request's fault, not a field's."""
    status, said = answer(site, "POST", "3/issue", body)
    assert (status, len(said["errorMessages"]), said["errors"]) == (400, 1, {})
    assert site.issues == ()


def test_version_2_takes_text(site: JiraSite) -> None:
    """API version 2 takes a description as text, and refuses a document."""
    assert answer(site, "POST", "2/issue", create_body(description="h1. Fire"))[0] == 201
    status, said = answer(site, "POST", "2/issue", create_body())
    assert (status, said["errors"]) == (400, {"description": "Operation value must be a string"})
    assert answer(site, "POST", "2/issue", create_body(description="x" * 32_768))[0] == 400


def test_the_screen_decides(site: JiraSite) -> None:
    """A field missing from the screen is refused, and a required one is demanded unless it has a default."""
    del site.screen["labels"]
    site.screen["customfield_10010"] = ScreenField("Team", required=True)
    status, said = answer(site, "POST", "3/issue", create_body())
    assert status == 400
    assert said["errors"].keys() == {"labels", "customfield_10010"}
    assert said["errors"]["customfield_10010"] == "Team is required."
    fields = answer(site, "GET", "3/issue/createmeta/PROJ/issuetypes/10001")[1]["fields"]
    required = [item["fieldId"] for item in fields if item["required"] and not item["hasDefaultValue"]]
    assert required == ["project", "issuetype", "summary", "customfield_10010"]


@pytest.mark.parametrize(
    ("jql", "query"),
    [
        ('labels = "x"', Query(label="x")),
        ('project = "P" AND labels = "x"', Query("P", "x")),
        ('project = "P" ORDER BY created DESC', Query("P")),
        ('project = "P" order by created desc', Query("P")),
    ],
)
def test_the_searches_that_are_known(jql: str, query: Query) -> None:
    """A known search is parsed with keywords in any case and values in quotes."""
    assert parse(jql) == query


@pytest.mark.parametrize(
    "jql",
    [
        "",
        "labels = x",
        'labels = ""',
        'labels = "a\\"b"',
        'project = "P"',
        'labels ~ "x"',
        'labels = "x" ',
        "1",
    ],
)
def test_other_searches_are_refused(jql: str, site: JiraSite) -> None:
    """Any other search is refused with a 400 that begins as Jira's does."""
    with pytest.raises(JqlError):
        parse(jql)
    status, said = answer(site, "POST", "3/search/jql", {"jql": jql})
    assert status == 400
    assert said["errorMessages"][0].startswith("Error in the JQL Query")


def test_a_search_for_an_unknown_project_is_refused(site: JiraSite) -> None:
    """A search in an unknown project is refused, rather than found empty."""
    status, said = answer(site, "POST", "3/search/jql", {"jql": 'project = "NONE" AND labels = "x"'})
    assert (status, said["errorMessages"]) == (
        400,
        ["The value 'NONE' does not exist for the field 'project'."],
    )
