"""Answers of lookups as what the check of a change needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest

from handlers.jira_directory import LookedUp
from threadsync.channel_settings.answers import issue_types_in, projects_in
from threadsync.channel_settings.directory import IssueType, Known, Project
from threadsync.channel_settings.parsing import Change
from worker.operate import channel_settings


class Item(NamedTuple):
    """A choice of a lookup's answer."""

    id: str
    label: str


@dataclass
class Projects:
    """The answer of a lookup of projects."""

    outcome: str = "known"
    projects: tuple[Item, ...] = (Item("OPS", "Operations (OPS)"), Item("DEV", "DEV"))
    more: bool = False


@dataclass
class Types:
    """The answer of a lookup of issue types."""

    outcome: str = "known"
    issue_types: tuple[Item, ...] = (Item("1", "Bug"),)


FOUND = (Project("OPS", "Operations"), Project("DEV", "DEV"))


@pytest.mark.parametrize(
    ("answer", "query", "found"),
    [
        (Projects(), "OPS", FOUND),
        (Projects(), "NEW", FOUND),
        (Projects(more=True), "OPS", FOUND),
        (Projects(more=True), "", FOUND),
        (Projects(more=True), "NEW", None),
        (Projects("no_answer"), "OPS", None),
        (Projects("refused"), "OPS", None),
        (Projects("not_configured"), "OPS", None),
        (None, "OPS", None),
    ],
)
def test_projects_are_known_or_not(
    answer: Projects | None, query: str, found: tuple[Project, ...] | None
) -> None:
    """Projects are known where Jira told all that match, or the one that was asked for."""
    assert projects_in(answer, query) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Types(), (IssueType("1", "Bug"),)),
        (Types("no_such_project", ()), ()),
        (Types("no_answer", ()), None),
        (Types("refused", ()), None),
        (None, None),
    ],
)
def test_types_are_known_or_not(answer: Types | None, found: tuple[IssueType, ...] | None) -> None:
    """A project that Jira does not have has no types; types that were not told are not known."""
    assert issue_types_in(answer) == found


async def test_lookups_are_a_directory() -> None:
    """An empty query asks for all projects."""
    asked: list[str | None] = []

    async def projects(query: str | None) -> Projects:
        asked.append(query)
        return Projects()

    async def types(key: str) -> Types:
        asked.append(key)
        return Types()

    directory = LookedUp(projects, types)
    assert await directory.projects("") == FOUND
    assert await directory.projects("OPS") == FOUND
    assert await directory.issue_types("OPS") == (IssueType("1", "Bug"),)
    assert asked == [None, "OPS", "OPS"]


def test_an_operators_questions_are_a_directory() -> None:
    """Both are asked for what the change is about; of an unknown project all projects are listed."""
    directory = channel_settings.LookedUp(
        lambda query: Projects(projects=() if query else Projects.projects), lambda _: Types()
    )
    assert channel_settings.known(directory, Change({"project_key": "NEW", "issue_type": "Bug"})) == Known(
        FOUND
    )
    assert channel_settings.known(directory, Change({"issue_type": "Bug"}), default="OPS") == Known(
        None, (IssueType("1", "Bug"),)
    )
