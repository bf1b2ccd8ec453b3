"""Print tables for people and JSON for programs.

Texts may come from strangers: they must not move the cursor, nor be taken for markup.
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
    """Show characters that the terminal cannot encode as question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_json(value: Any) -> None:
    """Print one JSON value, in ASCII, whatever the terminal's encoding."""
    typer.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print one line per row; in a pipe no line is wrapped or cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        # The first column is the ID, which people copy.
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(_as_text(value)) for value in row))
    _console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one name and value per line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, Text(_as_text(value)))
    _console().print(table)


def tell(sentence: str) -> None:
    """Print the result, a sentence that may hold texts of others, to stdout."""
    typer.echo(plain(sentence))


def print_result(value: Any, sentence: str, *, as_json: bool) -> None:
    """Print a result as JSON or as a sentence."""
    if as_json:
        print_json(value)
    else:
        tell(sentence)


def say(sentence: str) -> None:
    """Print a notice to stderr."""
    typer.echo(plain(sentence), err=True)


def marked(value: object, row: Dto) -> str:
    """Format a value of a row, with the fields of the row that cannot be read."""
    return f"{value} (cannot be read: {', '.join(row.unreadable)})" if row.unreadable else f"{value}"


def fields_of(row: Dto, **options: Any) -> dict[str, Any]:
    """Return a row's fields, and the names of those that cannot be read."""
    fields = row.model_dump(warnings=False, **options)
    return {**fields, "cannot be read": ", ".join(row.unreadable)} if row.unreadable else fields


def in_lines(text: str) -> str:
    """Format a text of several lines; all but the first are indented."""
    first, *rest = text.splitlines() or [""]
    return "\n".join([plain(first), *(plain(line if line.startswith(" ") else f"  {line}") for line in rest)])


def plain(text: str) -> str:
    """Escape unprintable characters, as ``\\x1b``, so that a line moves no cursor and hides nothing."""
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
