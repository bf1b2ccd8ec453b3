"""Progress and messages of ``threadsync sessions import``, on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from worker.cli.output import plain

if TYPE_CHECKING:
    from worker.operate.importing.bookmark import Tally
    from worker.operate.importing.lines import Place
    from worker.operate.importing.parsing import BadLine

_BAD_LINES_SHOWN: Final = 20


class ImportReport:
    """A progress bar on a terminal, messages, and the file of bad lines.

    Args:
        size: of the file in bytes; None if unknown.
        errors: receives each bad line as a line of JSON.
    """

    def __init__(self, size: int | None, errors: TextIO | None) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=size)
        self._errors = errors
        self._shown = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, place: Place, tally: Tally) -> None:
        """Show that everything before ``place`` is done."""
        described = f"{place.line:,} lines, {tally.bad:,} bad"
        self._bar.update(self._task, completed=place.offset, description=described)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._console.print(Text(plain(sentence)))

    def bad(self, lines: Iterable[BadLine]) -> None:
        """Show the first bad lines, write all."""
        for line in lines:
            if self._errors:
                self._errors.write(_as_json(line))
            self._shown += 1
            if self._shown <= _BAD_LINES_SHOWN:
                self.say(f"line {line.number}: {line.reason}")
            elif self._shown == _BAD_LINES_SHOWN + 1 and not self._errors:
                self.say("Further bad lines are not shown; --errors FILE writes them all.")
        if self._errors:
            # Before the bookmark says that these lines are done.
            self._errors.flush()


def _as_json(line: BadLine) -> str:
    text = line.text.decode("utf-8", "backslashreplace")
    return json.dumps({"line": line.number, "reason": line.reason, "text": text}) + "\n"
