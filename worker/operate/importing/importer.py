"""Import sessions from a file in blocks; wait while Postgres is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from threadsync.actors import AnyActor
from threadsync.command import Command
from threadsync.errors import DatabaseUnavailable, InvalidCommand, ThreadsyncError
from threadsync.sessions import SessionResult
from worker.db.sessions.store import SessionStore
from worker.operate.importing.bookmark import Bookmarks, Tally
from worker.operate.importing.lines import Block, Lines, Place
from worker.operate.importing.record import commands_of

_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not imported, and why."""

    number: int
    reason: str
    text: bytes


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
        self._actor = actor
        self._was_there = False

    def run(self, read: Callable[[], bytes | None]) -> bool:
        """Import the lines from ``read`` (see ``Lines``). Return True at their end.

        Raises ``DatabaseUnavailable`` only if Postgres was never there: then the set-up is probably wrong,
        and waiting would not help.
        """
        lines = Lines(read, self.place)
        try:
            for block in lines:
                self._carry_out(block)
                self.place = block.end
                self._keep_place()
                self._listener.advance(self.place, self.tally)
        except DatabaseUnavailable as exc:
            if not self._was_there:
                raise
            self._listener.say(f"Postgres is still away: {_in_a_line(exc)}")
            return False
        if lines.exhausted and self._bookmarks:
            self._bookmarks.remove()
        return lines.exhausted

    def _carry_out(self, block: Block) -> None:
        bad: list[BadLine] = []
        good: list[tuple[int, bytes, list[Command[SessionResult]]]] = []
        for number, text in block.lines:
            try:
                good.append((number, text, commands_of(text, self._actor)))
            except InvalidCommand as exc:
                bad.append(BadLine(number, str(exc), text))
        results = iter(self._run([command for _, _, commands in good for command in commands]))
        for number, text, commands in good:
            outcome = _outcome([next(results) for _ in commands])
            if isinstance(outcome, ThreadsyncError):
                bad.append(BadLine(number, str(outcome), text))
            elif outcome:
                setattr(self.tally, outcome, getattr(self.tally, outcome) + 1)
        self.tally.bad += len(bad)
        self._listener.bad(sorted(bad, key=lambda line: line.number))

    def _run(self, commands: Sequence[Command[SessionResult]]) -> list[SessionResult | ThreadsyncError]:
        away_since: float | None = None
        while True:
            try:
                results = self._store.run_many(commands)
            except DatabaseUnavailable as exc:
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
                    self._listener.say("Postgres is back.")
                self._was_there = True
                return results

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
    results: Sequence[SessionResult | ThreadsyncError],
) -> Literal["created", "applied", "unchanged"] | ThreadsyncError | None:
    """Return a line's outcome from those of its commands; None for a blank line."""
    outcomes = set()
    for result in results:
        if isinstance(result, ThreadsyncError):
            return result
        outcomes.add(result.outcome)
    if "created" in outcomes:
        return "created"
    if "applied" in outcomes:
        return "applied"
    # A session that is further on than the line says is as it should be, too.
    return "unchanged" if outcomes else None
