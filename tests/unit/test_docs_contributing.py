"""CONTRIBUTING's answers to the ten questions: each file is there and holds the name."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.documents import ROOT, read, table

QUESTIONS = table(read("CONTRIBUTING.md"), "Question")
NUMBER_OF_QUESTIONS = 10


def test_there_are_ten() -> None:
    """A reader finds each answer within a minute, by the README and the names of the folders."""
    assert len(QUESTIONS) == NUMBER_OF_QUESTIONS


@pytest.mark.parametrize(("question", "file", "name"), [pytest.param(*row, id=row[0]) for row in QUESTIONS])
def test_the_file_holds_the_name(question: str, file: str, name: str) -> None:
    """As a function, a class or a constant of the module."""
    path = re.match(r"`([^`]+)`", file)
    assert path
    source = (ROOT / path[1]).read_text(encoding="utf-8")
    assert re.search(rf"^((async )?def |class )?{name.strip('`')}\b", source, re.MULTILINE), question


def test_the_floor_plan_is_that_of_the_import_contracts() -> None:
    """Packages and rooms in their order; rooms that do not import each other share a line."""
    page = read("CONTRIBUTING.md")
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    packages, rooms = (one["layers"] for one in contracts if one["type"] == "layers")
    assert [row[0].strip("`/") for row in table(page, "Package")] == packages
    lines = [re.findall(r"`(\w+)(?:/|\.py)`", row[0]) for row in table(page, "Room")]
    assert lines == [line.split(" | ") for line in rooms]
