"""Texts that users read, checked for the words that docs/glossary.md retires."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tests.support.documents import ROOT
from worker.cli.program import app

FOLDERS = (
    "console",
    "handlers",
    "worker/cli",
    "worker/doctor",
    "worker/status_message",
    "worker/operate/forgetting",
)
OTHERS = ("threadsync/errors.py", "threadsync/reasons.py", "worker/operate/decisions.py")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TEMPLATES = sorted((ROOT / "console/templates").glob("*.html"))


def retired() -> list[str]:
    """Return the words in the first column of the glossary's last table."""
    table = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").rpartition("|---|---|\n")[2]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return [word.strip() for cell in cells for word in cell.split(",")]


RETIRED = re.compile(rf"\b({'|'.join(map(re.escape, retired()))})\b", re.IGNORECASE)


def texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module except its docstrings, or the whole of a template."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        yield source
        return
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_the_table_is_read() -> None:
    assert {"needs a person", "set-up", "nobody"} <= set(retired())
    assert RETIRED.search("Nobody asked.")


@pytest.mark.parametrize("path", [*TEMPLATES, *PYTHON, *(ROOT / name for name in OTHERS)], ids=str)
def test_no_text_has_a_retired_word(path: Path) -> None:
    """No page, finding, reply, error or message has a retired word."""
    assert [text for text in texts(path) if RETIRED.search(text)] == []


def test_no_help_has_a_retired_word() -> None:
    """No command's help has a retired word."""
    found = [typer.main.get_command(app)]
    for command in found:
        found += getattr(command, "commands", {}).values()
        helps = [command.help, *(getattr(option, "help", "") for option in command.params)]
        assert [text for text in helps if RETIRED.search(text or "")] == []
    assert len(found) > 25
