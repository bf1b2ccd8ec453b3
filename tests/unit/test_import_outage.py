"""An import while Postgres is away for two blocks at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import cast

import pytest

from threadsync.errors import DatabaseUnavailable
from threadsync.types import Outcome
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement
from worker.operate.importing import importer
from worker.operate.importing.bookmark import Tally
from worker.operate.importing.importer import Importer
from worker.operate.importing.lines import Place
from worker.operate.importing.parsing import BadLine


class Store:
    """A store that is away from block 2 on, for as many tries as it is told."""

    def __init__(self, tries: int) -> None:
        self._tries = tries
        self._lock = threading.Lock()
        self._together = threading.Barrier(2)

    def execute_many(self, statements: Sequence[Statement[Outcome]]) -> list[Outcome]:
        thread = statements[0].params["thread_ts"]
        with self._lock:
            is_away = thread != "1.1" and self._tries > 0
            self._tries -= is_away
            is_first = is_away and threading.current_thread() is not threading.main_thread()
        if is_first:
            # Both blocks fail in one outage.
            assert self._together.wait(10) < 2
        if is_away:
            raise DatabaseUnavailable("gone")
        return ["created" for _ in statements]


class Listener:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.lines: list[int] = []

    def advance(self, place: Place, tally: Tally) -> None:
        self.lines.append(place.line)

    def bad(self, lines: Sequence[BadLine]) -> None:
        assert not lines

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def imported(tries: int, patience: float) -> tuple[bool, Listener, Tally]:
    """Import three blocks of a line each; return whether all are in, what was heard and the numbers."""
    blocks = [
        json.dumps({"channel_id": "C1", "thread_ts": f"{number}.1", "user_id": "U1"}).encode() + b"\n"
        for number in range(1, 4)
    ]
    listener, tally, waiting = Listener(), Tally(), iter([*blocks, b""])
    work = Importer(
        cast("SessionStore", Store(tries)),
        None,
        listener,
        place=Place(),
        tally=tally,
        patience=patience,
        stopped=lambda: False,
    )
    return work.run(lambda: next(waiting)), listener, tally


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "_PAUSE_SECONDS", 0.01)


def test_an_outage_of_two_blocks_is_reported_once() -> None:
    """Two blocks that fail in one outage are both run again, and it is reported once."""
    is_at_the_end, listener, tally = imported(tries=4, patience=60)
    assert is_at_the_end
    assert listener.said == ["Waiting for Postgres, 60 s at most: gone", "Postgres is back."]
    assert listener.lines == [1, 2, 3]
    assert tally == Tally(created=3)


def test_a_long_outage_ends_the_import_before_its_first_block() -> None:
    """After the patience the import ends, in front of the first of the blocks that failed."""
    is_at_the_end, listener, tally = imported(tries=1_000_000, patience=0.05)
    assert not is_at_the_end
    assert listener.said == ["Waiting for Postgres, 0.05 s at most: gone", "Postgres is still away: gone"]
    assert (listener.lines, tally) == ([1], Tally(created=1))
