"""Plan how many statements are run: one for many, or many down a pipeline; again after a refusal. No I/O.

statements -> trips, each one round trip and one transaction of at most STATEMENTS_AT_ONCE
    one kind, AT_ONCE and more, each row once -> one statement for all of them
  | the rest                                  -> a pipeline, in the order of the rows
and of each trip:
    accepted       -> their results; who waits for another's row, by its channel's other id, runs next
  | one refused    -> nothing was written; down the pipeline, then each half, to the one that is refused alone
  | a deadlock     -> nothing was written; the same trip again, TRIES times in all
  | Postgres away  -> DatabaseUnavailable, for all

A statement for many has a transaction of its own. It locks its rows in their order; a second one in the same
transaction would begin again in front, and so wait for those who wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, LiteralString, TypeVar

import psycopg
from psycopg import errors
from psycopg.rows import DictRow, RowMaker, dict_row
from pydantic import ValidationError

from threadsync.errors import InvalidCommand, ThreadsyncError, as_ours
from worker.db.driver_errors import translate
from worker.db.statement import Rows, Statement

if TYPE_CHECKING:
    from psycopg._cursor_base import BaseCursor

T = TypeVar("T")

STATEMENTS_AT_ONCE: Final = 1000
"""A limit, for rows stay locked until the trip commits: more would delay others, and would not be faster."""

MANY: Final = 16
"""The fewest for ``executemany``, which takes half the time for each, but a round trip of its own."""

AT_ONCE: Final = 24
"""The fewest for one statement for all of them: it is planned each time, and has a transaction of its own."""

PLAN_BY_KEY: Final[LiteralString] = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_bitmapscan', 'off', true),
       set_config('plan_cache_mode', 'force_custom_plan', true)
"""
"""Plans for one statement for many, made for the tables as large as they are now: each row by its key.

Until the end of the transaction. Statistics may be old or empty, and a connection would keep for a large
table what was best for an empty one: to read all of it, for each command.
"""

GIVE_UP: Final[LiteralString] = "SELECT 1 / 0"
"""Fails, so that Postgres undoes what stood in the pipeline before a statement that the driver refused.

After ``ROLLBACK`` psycopg would use prepared statements that it has just deallocated.
"""

TRIES: Final = 5
"""Tries of a trip. The winner of a deadlock has gone on, so the next try succeeds, as a rule."""


_Numbered = tuple[int, Statement[Any]]
Run = tuple[LiteralString, Sequence[Mapping[str, Any]]]
"""SQL, and the parameters of each time that it is run."""


@dataclass(frozen=True, slots=True)
class Trip(Generic[T]):
    """Statements that run in one transaction, in this order, each with its place in the caller's list.

    ``at_once``: one statement carries them all out.
    """

    numbered: Sequence[tuple[int, Statement[T]]]
    tries: int = 1
    at_once: LiteralString | None = None

    def halves(self) -> tuple[Trip[T], Trip[T]]:
        middle = len(self.numbered) // 2
        return Trip(self.numbered[:middle]), Trip(self.numbered[middle:])

    def __iter__(self) -> Iterator[Statement[T]]:
        return (statement for _, statement in self.numbered)

    def runs(self) -> Iterator[Run]:
        """Yield, in order, what is to be run once by ``execute``, or more often by ``executemany``."""
        if self.at_once:
            params = [statement.params for statement in self]
            yield PLAN_BY_KEY, [{}]
            yield self.at_once, [{name: [given[name] for given in params] for name in params[0]}]
            return
        for sql, group in groupby(self, lambda statement: statement.sql):
            alike = [statement.params for statement in group]
            yield from [(sql, alike)] if len(alike) >= MANY else ((sql, [params]) for params in alike)

    def rows(self, found: Sequence[Rows]) -> list[Rows | None]:
        """Return each statement's rows, of the rows of each run; None if it is to be run later."""
        if not self.at_once:
            return list(found)
        rows: list[Rows | None] = [()] * len(self.numbered)
        for row in found[-1]:
            rows[row["given_number"] - 1] = [row] if row["outcome"] else None
        return rows


class Batch(Generic[T]):
    """Statements and their results.

    Run each of ``trips`` and report its end by ``accepted`` or ``refused``. Then ``results`` is complete.
    """

    def __init__(self, statements: Sequence[Statement[T]]) -> None:
        self._results: list[Any] = [None] * len(statements)
        self._waiting = deque(_trips(statements))

    def trips(self) -> Iterator[Trip[T]]:
        while self._waiting:
            yield self._waiting.popleft()

    def accepted(self, trip: Trip[T], found: Sequence[Rows]) -> None:
        """Read the rows of a committed trip, a list for each time that a statement was run."""
        later = []
        for (place, statement), rows in zip(trip.numbered, trip.rows(found), strict=True):
            if rows is None:
                later.append((place, statement))
            else:
                self._results[place] = _read(statement, rows)
        if later:
            self._waiting.appendleft(Trip(later))

    def refused(self, trip: Trip[T], fault: psycopg.Error) -> None:
        """Plan again after a rollback. Raises ``DatabaseUnavailable`` when no statement is to blame."""
        if isinstance(fault, errors.DeadlockDetected | errors.SerializationFailure) and trip.tries < TRIES:
            self._waiting.appendleft(replace(trip, tries=trip.tries + 1))
            return
        error = translate(fault)
        error.__cause__ = fault
        if not isinstance(error, InvalidCommand):
            raise error
        if trip.at_once:
            self._waiting.appendleft(Trip(trip.numbered))
        elif len(trip.numbered) == 1:
            self._results[trip.numbered[0][0]] = error
        else:
            # The first half stays in front: later statements count on what earlier ones did.
            self._waiting.extendleft(reversed(trip.halves()))

    @property
    def results(self) -> list[T | ThreadsyncError]:
        """Return each statement's result or error, in the caller's order."""
        return self._results


class FirstFault:
    """Keeper of a pipeline's first error; enter it around the pipeline and, once more, in it.

    psycopg reports a failed statement while later ones are sent, then the later ones as aborted when the
    pipeline is left: the second error would replace the first one, or be logged as a warning.
    """

    def __init__(self) -> None:
        self.fault: psycopg.Error | None = None

    @property
    def is_of_the_driver(self) -> bool:
        """Return True if Postgres knows nothing of the fault."""
        return self.fault is not None and self.fault.sqlstate is None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(exc, psycopg.Error):
            return False
        self.fault = self.fault or _root(exc)
        return True


def _root(exc: psycopg.Error) -> psycopg.Error:
    while isinstance(exc, errors.PipelineAborted) and isinstance(exc.__context__, psycopg.Error):
        exc = exc.__context__
    return exc


def _trips(statements: Sequence[Statement[T]]) -> Iterator[Trip[T]]:
    """Sort each trip by its rows, so that two trips wait for each other's locks in one direction only.

    A statement that reads many rows keeps its place between those before it and those after it.
    """
    for _, group in groupby(enumerate(statements), lambda item: item[1].row is None):
        numbered = list(group)
        for start in range(0, len(numbered), STATEMENTS_AT_ONCE):
            # Sorting is stable: the statements of one row stay in the order given.
            ordered = sorted(numbered[start : start + STATEMENTS_AT_ONCE], key=_row)
            yield from _rounds([deque(of_row) for _, of_row in groupby(ordered, _row)])


def _rounds(by_row: Sequence[deque[_Numbered]]) -> Iterator[Trip[Any]]:
    """Take, again and again, the largest group of one kind that is next in its rows; then all the rest."""
    while True:
        kinds: dict[LiteralString, list[deque[_Numbered]]] = {}
        for of_row in by_row:
            if of_row and (kind := of_row[0][1].for_many):
                kinds.setdefault(kind, []).append(of_row)
        kind, largest = max(kinds.items(), key=lambda item: len(item[1]), default=(None, []))
        if len(largest) < AT_ONCE:
            break
        yield Trip([of_row.popleft() for of_row in largest], at_once=kind)
    if rest := [item for of_row in by_row for item in of_row]:
        yield Trip(rest)


def _row(item: _Numbered) -> tuple[str, ...]:
    return item[1].row or ()


def _read(statement: Statement[T], rows: Rows) -> T | ThreadsyncError:
    try:
        return statement.read(rows)
    except ThreadsyncError as exc:
        return exc
    except ValidationError as exc:
        # A row that does not fit its model is no reason to keep the others' results back.
        error = as_ours(exc)
        error.__cause__ = exc
        return error


class SameColumns:
    """psycopg's ``dict_row`` for one cursor, whose results all have the same columns: it looks them up once.

    By itself it does so for each result, which takes as long as the row.
    """

    def __init__(self) -> None:
        self._make: RowMaker[DictRow] | None = None

    def __call__(self, cursor: BaseCursor[Any, Any]) -> RowMaker[DictRow]:
        if self._make is None:
            make = dict_row(cursor)
            if not cursor.description:
                return make
            self._make = make
        return self._make
