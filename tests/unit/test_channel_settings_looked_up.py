"""Results of lookups as the directory that a change of settings is checked with."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.background import Background
from handlers.form.lookups import Lookups
from handlers.jira_directory import LookedUp
from tests.support.slack_app import RecordingClient
from threadsync.channel_settings.directory import IssueType, Project
from threadsync.channel_settings.looked_up import issue_types_in, projects_in
from threadsync.forms import Choice, IssueTypeList, LookupOutcome, ProjectList
from threadsync.lookup_commands import IssueTypesLookup, ProjectsLookup

PROJECTS = (Choice(id="OPS", label="Operations (OPS)"), Choice(id="DEV", label="DEV"))
FOUND = [Project("OPS", "Operations"), Project("DEV", "DEV")]
TYPES = (Choice(id="1", label="Bug"),)


def projects(outcome: LookupOutcome = "known", *, more: bool = False) -> ProjectList:
    return ProjectList(outcome=outcome, projects=PROJECTS, more=more)


def types(outcome: LookupOutcome = "known") -> IssueTypeList:
    return IssueTypeList(outcome=outcome, issue_types=TYPES if outcome == "known" else ())


@pytest.mark.parametrize(
    ("answer", "query", "found"),
    [
        (projects(), "OPS", FOUND),
        (projects(), "NEW", FOUND),
        (projects(more=True), "OPS", FOUND),
        (projects(more=True), "", FOUND),
        (projects(more=True), "NEW", None),
        (projects("no_answer"), "OPS", None),
        (projects("refused"), "OPS", None),
        (projects("not_configured"), "OPS", None),
        (None, "OPS", None),
    ],
)
def test_projects_are_known_or_not(
    answer: ProjectList | None, query: str, found: list[Project] | None
) -> None:
    """Projects are known where Jira told all that match, or the one that was asked for."""
    assert projects_in(answer, query) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (types(), [IssueType("1", "Bug")]),
        (types("no_such_project"), []),
        (types("no_answer"), None),
        (types("refused"), None),
        (None, None),
    ],
)
def test_types_are_known_or_not(answer: IssueTypeList | None, found: list[IssueType] | None) -> None:
    """A project that Jira does not have has no types; types that were not told are not known."""
    assert issue_types_in(answer) == found


async def test_lookups_are_a_directory() -> None:
    """A Slack process asks workers; an empty query asks for all projects."""

    def answer(question: Any) -> Any:
        return projects() if isinstance(question, ProjectsLookup) else types()

    background, client = Background(), RecordingClient(form=answer)
    directory = LookedUp(Lookups(client, background))
    try:
        assert await directory.projects("") == FOUND
        assert await directory.projects("OPS") == FOUND
        assert await directory.issue_types("OPS") == [IssueType("1", "Bug")]
    finally:
        await background.close()
    asked = [question for question in client.questions if isinstance(question, ProjectsLookup)]
    assert [question.query for question in asked] == [None, "OPS"]
    assert [type(question) for question in client.questions if question not in asked] == [IssueTypesLookup]
