"""Blocks that Postgres works on, some at a time, while a thread reads and parses the next one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from threadsync.errors import ThreadsyncError
from threadsync.types import Outcome
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement
from worker.operate.importing.parsing import Parsed

AT_ONCE: Final = 2
"""Blocks at a time, each on a connection of its own. While one commits, Postgres works on the other."""

Results = list[Outcome | ThreadsyncError]


@dataclass(frozen=True, slots=True)
class Begun:
    """A block that Postgres works on, or is done with; ``rows`` are those of its statements."""

    block: Parsed
    statements: list[Statement[Outcome]]
    rows: frozenset[tuple[str, ...] | None]
    results: Future[Results]
    since: float
    """Monotonic time at which it was begun."""


class AtWork:
    """The blocks that were begun and not yet yielded, oldest first.

    Of two lines for one session the first one has to win, so blocks at work have no row in common.
    """

    def __init__(self, store: SessionStore, blocks: Iterator[Parsed], stopped: Callable[[], bool]) -> None:
        self._store = store
        self._blocks = blocks
        self._stopped = stopped
        self._begun: deque[Begun] = deque()
        self.has_begun_all = False

    def each(self) -> Generator[Begun]:
        """Begin the blocks, and yield them in order: until there are no more, or it is stopped."""
        with ThreadPoolExecutor(1 + AT_ONCE, thread_name_prefix="import") as threads:
            ahead = threads.submit(next, self._blocks, None)
            while True:
                yield from self._done_before(ahead)
                if (block := ahead.result()) is None:
                    break
                ahead = threads.submit(next, self._blocks, None)
                statements = list(block.statements())
                rows = frozenset(statement.row for statement in statements)
                while self._has_to_wait(rows):
                    yield self._begun.popleft()
                if self._stopped():
                    break
                results = threads.submit(self._store.execute_many, statements)
                self._begun.append(Begun(block, statements, rows, results, time.monotonic()))
            self.has_begun_all = block is None
            while self._begun:
                yield self._begun.popleft()

    def _done_before(self, ahead: Future[Parsed | None]) -> Iterator[Begun]:
        """Yield what is done before the next block is read: the lines of a stream may come slowly."""
        while self._begun:
            either: list[Future[Any]] = [ahead, self._begun[0].results]
            wait(either, return_when=FIRST_COMPLETED)
            if ahead.done():
                break
            yield self._begun.popleft()

    def _has_to_wait(self, rows: frozenset[tuple[str, ...] | None]) -> bool:
        return len(self._begun) == AT_ONCE or not all(rows.isdisjoint(begun.rows) for begun in self._begun)
