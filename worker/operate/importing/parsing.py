"""A block of lines as statements, and as faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from threadsync.errors import InvalidCommand
from threadsync.types import Outcome
from worker.db.statement import Statement
from worker.operate.importing.lines import Block, Place
from worker.operate.importing.record import statements_of


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not imported, and why."""

    number: int
    reason: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """A block's lines, with the statements of the good ones."""

    end: Place
    good: list[tuple[int, bytes, list[Statement[Outcome]]]]
    bad: list[BadLine]

    def statements(self) -> Iterator[Statement[Outcome]]:
        """Yield the statements of all lines, in order."""
        for _, _, statements in self.good:
            yield from statements


def parsed(block: Block, actor: str | None) -> Parsed:
    """Parse a block; ``actor``, as it is stored, imports it."""
    result = Parsed(block.end, [], [])
    for number, text in block.lines:
        try:
            result.good.append((number, text, statements_of(text, actor)))
        except InvalidCommand as exc:
            result.bad.append(BadLine(number, str(exc), text))
    return result
