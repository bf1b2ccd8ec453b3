"""The ten questions of CONTRIBUTING.md: each named file exists and holds the name."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.documents import ROOT, read, table

QUESTIONS = table(read("CONTRIBUTING.md"), "Question")
NUMBER_OF_QUESTIONS = 10


def test_there_are_ten() -> None:
    """CONTRIBUTING.md answers ten questions."""
    assert len(QUESTIONS) == NUMBER_OF_QUESTIONS


@pytest.mark.parametrize(("question", "file", "name"), [pytest.param(*row, id=row[0]) for row in QUESTIONS])
def test_the_file_holds_the_name(question: str, file: str, name: str) -> None:
    """The file holds the name as a function, a class or a constant."""
    path = re.match(r"`([^`]+)`", file)
    assert path
    source = (ROOT / path[1]).read_text(encoding="utf-8")
    assert re.search(rf"^((async )?def |class )?{name.strip('`')}\b", source, re.MULTILINE), question


def test_the_floor_plan_is_that_of_the_import_contracts() -> None:
    """The floor plan lists packages and rooms in the order of the import contracts."""
    page = read("CONTRIBUTING.md")
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    packages, rooms = (one["layers"] for one in contracts if one["type"] == "layers")
    assert [row[0].strip("`/") for row in table(page, "Package")] == packages
    lines = [re.findall(r"`(\w+)(?:/|\.py)`", row[0]) for row in table(page, "Room")]
    assert lines == [line.split(" | ") for line in rooms]
