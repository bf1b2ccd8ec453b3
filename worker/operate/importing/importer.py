"""Import sessions from a file in blocks; wait while Postgres is away.

Postgres works on ``AT_ONCE`` blocks at a time, while a thread reads the next one and makes its statements:

    read, parse      1  2  3  4  ..
    carry out           1  2  3  ..        begun in order
                           1  2  3  ..
    count                     1  2  3  ..  in order; the place is noted behind each
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final, Literal, Protocol

from threadsync.actors import AnyActor, as_json
from threadsync.errors import DatabaseUnavailable, InvalidCommand, ThreadsyncError
from threadsync.types import Outcome
from worker.db.sessions.store import SessionStore
from worker.operate.importing.at_work import AtWork, Begun, Results
from worker.operate.importing.bookmark import Bookmarks, Tally
from worker.operate.importing.lines import Lines, Place
from worker.operate.importing.parsing import BadLine, parsed

_PAUSE_SECONDS: Final = 0.5


class Listener(Protocol):
    """Listener to the progress of an import."""

    def advance(self, place: Place, tally: Tally) -> None:
        """Note that all lines before ``place`` are done."""

    def bad(self, lines: Sequence[BadLine]) -> None:
        """Record bad lines before it returns: they are not reported again."""

    def say(self, sentence: str) -> None:
        """Report an unusual event."""


class Importer:
    """Importer of lines from ``place`` on, which counts their outcomes.

    Args:
        bookmarks: keeps the place after each block; None if there is no file to go on with.
        tally: of the lines before ``place``.
        patience: seconds that Postgres may be away.
        stopped: returns whether to stop behind the next block.
        actor: of all commands; None if it is not known.
    """

    def __init__(
        self,
        store: SessionStore,
        bookmarks: Bookmarks | None,
        listener: Listener,
        *,
        place: Place,
        tally: Tally,
        patience: float,
        stopped: Callable[[], bool],
        actor: AnyActor | None = None,
    ) -> None:
        self.place = place
        self.tally = tally
        self._store = store
        self._bookmarks = bookmarks
        self._listener = listener
        self._patience = patience
        self._stopped = stopped
        self._actor = as_json(actor)
        self._was_there = False
        self._back_since = 0.0
        self._is_over = False

    def is_over(self) -> bool:
        """Return True when no more lines are wanted; for whoever reads them."""
        return self._is_over or self._stopped()

    def run(self, read: Callable[[], bytes | None]) -> bool:
        """Import the lines from ``read`` (see ``Lines``). Return True at their end.

        Raises ``DatabaseUnavailable`` only if Postgres was never there: then the set-up is probably wrong,
        and waiting would not help.
        """
        lines = Lines(read, self.place)
        at_work = AtWork(self._store, (parsed(block, self._actor) for block in lines), self._stopped)
        try:
            with closing(at_work.each()) as each:
                try:
                    for begun in each:
                        self._count(begun)
                        self.place = begun.block.end
                        self._keep_place()
                        self._listener.advance(self.place, self.tally)
                finally:
                    # Before it is closed, which waits for the thread that reads.
                    self._is_over = True
        except DatabaseUnavailable as exc:
            if not self._was_there:
                raise
            self._listener.say(f"Postgres is still away: {_in_a_line(exc)}")
            return False
        is_at_the_end = lines.exhausted and at_work.has_begun_all
        if is_at_the_end and self._bookmarks:
            self._bookmarks.remove()
        return is_at_the_end

    def _count(self, begun: Begun) -> None:
        bad = begun.block.bad
        results = iter(self._results(begun))
        for number, text, statements in begun.block.good:
            outcome = _outcome([next(results) for _ in statements])
            if isinstance(outcome, ThreadsyncError):
                bad.append(BadLine(number, str(outcome), text))
            elif outcome:
                setattr(self.tally, outcome, getattr(self.tally, outcome) + 1)
        self.tally.bad += len(bad)
        self._listener.bad(sorted(bad, key=lambda line: line.number))

    def _results(self, begun: Begun) -> Results:
        """Wait for a block's results. If Postgres went away, run its statements again once it is back."""
        away_since: float | None = None
        attempt = partial(self._first_results, begun)
        while True:
            try:
                results = attempt()
            except DatabaseUnavailable as exc:
                attempt = partial(self._store.execute_many, begun.statements)
                now = time.monotonic()
                if away_since is None and self._was_there:
                    away_since = now
                    self._listener.say(
                        f"Waiting for Postgres, {self._patience:g} s at most: {_in_a_line(exc)}"
                    )
                if away_since is None or self._stopped() or now - away_since >= self._patience:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                if away_since is not None:
                    self._back_since = time.monotonic()
                    self._listener.say("Postgres is back.")
                self._was_there = True
                return results

    def _first_results(self, begun: Begun) -> Results:
        try:
            return begun.results.result()
        except DatabaseUnavailable:
            if begun.since >= self._back_since:
                raise
            # It failed in the outage in which the block before it waited: that was reported, and is over.
            return self._store.execute_many(begun.statements)

    def _keep_place(self) -> None:
        if self._bookmarks is None:
            return
        try:
            self._bookmarks.save(self.place, self.tally)
        except OSError as exc:
            self._listener.say(f"{self._bookmarks.path}: {exc.strerror}; this import cannot be resumed.")
            self._bookmarks = None


def _in_a_line(exc: DatabaseUnavailable) -> str:
    # The driver breaks its lines as it likes.
    return " ".join(str(exc).split())


def _outcome(
    results: Sequence[Outcome | ThreadsyncError],
) -> Literal["created", "applied", "unchanged"] | ThreadsyncError | None:
    """Return a line's outcome from those of its commands, or why it is bad; None for a blank line."""
    outcomes: set[Outcome] = set()
    for result in results:
        if isinstance(result, ThreadsyncError):
            return result
        if result == "refused":
            return InvalidCommand("the channel's settings do not let this person act")
        outcomes.add(result)
    if "created" in outcomes:
        return "created"
    if "applied" in outcomes:
        return "applied"
    # A session that is further on than the line says is as it should be, too.
    return "unchanged" if outcomes else None
