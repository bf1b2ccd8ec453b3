"""What the commands print: tables for people, JSON for programs.

What is shown was written by strangers: it may not move the cursor, nor be taken for markup.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from threadsync.dto import Dto

_WIDE_ENOUGH: Final = 100_000


def speak_any_locale() -> None:
    """Let no letter that the terminal does not have end a command: it is shown as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_json(value: Any) -> None:
    """One JSON value, in ASCII: whatever the terminal or the pipe makes of other letters."""
    typer.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One line a row; in a pipe no line is wrapped or cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        # The first is the id, which people copy.
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(_as_text(value)) for value in row))
    _console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Name and value, one a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, Text(_as_text(value)))
    _console().print(table)


def tell(sentence: str) -> None:
    """The result in a sentence, which may hold what others wrote."""
    typer.echo(plain(sentence))


def say(sentence: str) -> None:
    """Beside the result, so not to stdout."""
    typer.echo(plain(sentence), err=True)


def marked(value: object, row: Dto) -> str:
    """A value of a row, and what of the row cannot be read."""
    return f"{value} (cannot be read: {', '.join(row.unreadable)})" if row.unreadable else f"{value}"


def fields_of(row: Dto, **options: Any) -> dict[str, Any]:
    """A row's members, and which of them cannot be read."""
    fields = row.model_dump(warnings=False, **options)
    return {**fields, "cannot be read": ", ".join(row.unreadable)} if row.unreadable else fields


def in_lines(text: str) -> str:
    """A text of several lines, such as a list or the end of a log; all but the first are indented."""
    first, *rest = text.splitlines() or [""]
    return "\n".join([plain(first), *(plain(line if line.startswith(" ") else f"  {line}") for line in rest)])


def plain(text: str) -> str:
    """One line of text that moves no cursor and hides nothing: all else is spelt out, as ``\\x1b``."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE_ENOUGH)


def _as_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return plain(str(value))
