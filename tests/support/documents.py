"""The project's documents as the tests read them: fenced blocks, tables, links, command lines."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import typer.main

from handlers.serve import parser as serve_options
from tests.support import forked
from worker.cli.program import app as threadsync

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = tuple(
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/README.md"])
)
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``language`` is the word behind the fence."""

    language: str
    text: str


def name_of(path: Path) -> str:
    """Return a document's name for people."""
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    """A document's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(language, body) for language, body in _FENCE.findall(text)]


def prose(text: str) -> str:
    """Return the text without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[tuple[str, str]]:
    """Words and target of each link outside of code."""
    return _LINK.findall(prose(text))


def code_words(text: str) -> list[str]:
    """Return the words between backticks in the prose."""
    return _CODE.findall(prose(text))


def anchors(text: str) -> set[str]:
    """Return a document's anchors: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(text: str, first_heading: str) -> list[list[str]]:
    """The rows below the heading of the table whose first column is called so, as cells."""
    _, found, rest = text.partition(f"| {first_heading} |")
    assert found, f"no table begins with the column {first_heading}"
    rows = takewhile(lambda line: line.startswith("|"), rest.splitlines()[2:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def shell_lines(text: str) -> Iterator[str]:
    """The command lines of a document: those in `sh` blocks and those between backticks."""
    for block in blocks(text):
        if block.language == "sh":
            yield from block.text.splitlines()
    for word in code_words(text):
        if re.match(r"(threadsync|make|celery|uvicorn|python|\.venv/bin/python) [^(]", word):
            yield word


def fault_of(line: str | Sequence[str], env: Mapping[str, str] | None = None) -> str | None:
    """Why a command line is not one that we have, or None. Runs nothing but ``--help``."""
    words = shlex.split(line) if isinstance(line, str) else list(line)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    program, arguments = words[0], words[1:]
    if words[:2] == ["threadsync", "worker"]:
        # Its options are Celery's.
        program, words = "celery", ["worker.cli", *arguments]
    if program == "threadsync":
        return _fault_of_threadsync(arguments)
    if program == "make":
        return _fault_of_make(arguments)
    if program.endswith("python"):
        return _fault_of_python(arguments)
    if program in ("celery", "uvicorn"):
        done = forked.run(*words, "--help", env={**os.environ, **(env or {})}, folder=ROOT)
        return None if done.returncode == 0 else done.stderr
    return f"{program} is none of ours"


def _fault_of_threadsync(arguments: list[str]) -> str | None:
    command: Any = typer.main.get_command(threadsync)
    while hasattr(command, "commands"):
        if not arguments:
            return None
        name = arguments.pop(0)
        if name not in command.commands:
            return f"no command {name} among {sorted(command.commands)}"
        command = command.commands[name]
    try:
        command.make_context(command.name, arguments)
    except Exception as exc:  # noqa: BLE001 - typer brings a click of its own, whose classes have no public name
        # In running text the arguments that a command needs may be left out.
        return None if type(exc).__name__ == "MissingParameter" else f"{type(exc).__name__}: {exc}"
    return None


def _fault_of_make(arguments: list[str]) -> str | None:
    makefile = read("Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\((\w+)\)", makefile))
    for argument in arguments:
        name, assigned, _ = argument.partition("=")
        if name not in (variables if assigned else targets):
            return f"neither a target nor a variable: {argument}"
    return None


def _fault_of_python(arguments: list[str]) -> str | None:
    if arguments[0] == "-m":
        module, *arguments = arguments[1:]
        if find_spec(module) is None:
            return f"no module {module}"
        if module == "handlers.serve":
            unknown = serve_options().parse_known_args(arguments)[1]
            return f"no option {unknown}" if unknown else None
    missing = [word for word in arguments if word.endswith(".py") and not (ROOT / word).exists()]
    return f"no file {missing}" if missing else None
