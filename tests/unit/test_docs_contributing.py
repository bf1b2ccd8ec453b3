"""CONTRIBUTING's answers to the ten questions: each file is there and holds the name."""

from __future__ import annotations

import re

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


def test_the_floor_plan_has_every_package_and_room() -> None:
    """And no other, in the order of the import contracts."""
    page = read("CONTRIBUTING.md")
    packages = [row[0].strip("`/") for row in table(page, "Package")]
    assert packages == ["benchmarks", "sandbox", "handlers", "console", "tasks", "worker", "threadsync"]
    rooms = {name for row in table(page, "Room") for name in re.findall(r"`(\w+)/`", row[0])}
    folders = {path.name for path in (ROOT / "worker").iterdir() if (path / "__init__.py").exists()}
    assert rooms == folders
