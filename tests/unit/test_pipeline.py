"""Order and transactions of a batch's statements, and its handling of refusals. Pure functions."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors

from threadsync.commands import GetContext, GetOrCreate, GetSession, MarkSynced
from threadsync.errors import CommandFailed, DatabaseUnavailable, InvalidCommand
from worker.db import pipeline
from worker.db.pipeline import Batch, FirstFault, Trip
from worker.db.sessions.statements import AllSessions, statement_of
from worker.db.statement import Statement

LISTING = statement_of(AllSessions(status="synced"))


def opening(channel_id: str, thread_ts: str, user_id: str = "U1") -> Statement[Any]:
    return statement_of(GetOrCreate(channel_id=channel_id, thread_ts=thread_ts, user_id=user_id))


def synced(channel_id: str, thread_ts: str) -> Statement[Any]:
    return statement_of(MarkSynced(channel_id=channel_id, thread_ts=thread_ts, jira_key="PROJ-1"))


def orders(commands: list[Statement[Any]]) -> list[list[int]]:
    """Return, for each trip, the places of its statements in the given list."""
    return [[place for place, _ in trip.numbered] for trip in Batch(commands).trips()]


def test_a_turn_is_in_the_order_of_its_rows() -> None:
    """Statements run in the order of channel and thread, with a channel's context before its threads."""
    context = statement_of(GetContext(channel_id="C2"))
    assert orders([opening("C2", "2.1"), opening("C2", "1.1"), context, opening("C1", "9.1")]) == [
        [3, 2, 1, 0]
    ]


def test_the_order_of_one_row_is_kept() -> None:
    """The commands of one row keep their order, on which their results depend."""
    same = [
        synced("C1", "1.1"),
        opening("C1", "1.1"),
        statement_of(GetSession(channel_id="C1", thread_ts="1.1")),
    ]
    assert orders([opening("C1", "2.1"), *same]) == [[1, 2, 3, 0]]


def test_what_reads_many_rows_is_a_turn_of_its_own() -> None:
    """A statement that reads many rows is a trip of its own, between what came before and after."""
    assert orders([opening("C1", "2.1"), opening("C1", "1.1"), LISTING, LISTING, opening("C1", "0.1")]) == [
        [1, 0],
        [2, 3],
        [4],
    ]


def test_many_of_one_text_are_one_run() -> None:
    """Many statements of the same text run together; fewer run one by one."""
    many = [opening("C1", f"{number}.1") for number in range(pipeline.MANY)]
    few = [synced("C2", f"{number}.1") for number in range(pipeline.MANY - 1)]
    assert list(Trip(list(enumerate([*many, *few]))).runs()) == [
        (many[0].sql, [statement.params for statement in many]),
        *((statement.sql, [statement.params]) for statement in few),
    ]


def test_many_of_one_kind_are_one_statement() -> None:
    """Many commands of one kind are one statement, whose parameters are arrays in the order of the rows."""
    many = range(pipeline.AT_ONCE)
    [trip] = Batch([opening("C1", f"{number:02}.1") for number in reversed(many)]).trips()
    settings, (sql, [params]) = trip.runs()
    assert settings == (pipeline.PLAN_BY_KEY, [{}])
    assert sql == trip.at_once == trip.numbered[0][1].for_many
    assert params["thread_ts"] == [f"{number:02}.1" for number in many]
    assert params["actor"] == [None for _ in many]


def test_few_of_a_kind_go_down_the_pipeline() -> None:
    """Fewer than pay for a transaction of their own go down the pipeline, with all else."""
    few = [opening("C1", f"{number}.1") for number in range(pipeline.AT_ONCE - 1)]
    [trip] = Batch([*few, *(synced("C2", f"{number}.1") for number in range(pipeline.AT_ONCE - 1))]).trips()
    assert trip.at_once is None


def test_the_commands_of_a_row_are_statements_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is in one statement once; its next command comes with the largest group that may be next."""
    monkeypatch.setattr(pipeline, "AT_ONCE", 2)
    same = [opening("C1", "1.1"), synced("C1", "1.1"), opening("C1", "1.1")]
    commands = [*same, opening("C1", "2.1"), synced("C1", "2.1"), synced("C1", "3.1")]
    trips = list(Batch(commands).trips())
    assert [[place for place, _ in trip.numbered] for trip in trips] == [[0, 3], [1, 4, 5], [2]]
    assert [trip.at_once is not None for trip in trips] == [True, True, False]


def test_who_must_wait_for_another_is_run_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose row another one had, under its channel's other id, is run next, before later ones."""
    monkeypatch.setattr(pipeline, "AT_ONCE", 8)
    commands = [opening("C1", f"{number}.1") for number in range(8)]
    batch = Batch([Statement(c.sql, c.params, list, row=c.row, for_many=c.for_many) for c in commands])
    trips = batch.trips()
    trip = next(trips)
    numbers = (1, 2, 3, 4, 5, 6, 8)
    rows = [{"given_number": number, "outcome": None if number == 2 else "created"} for number in numbers]
    batch.accepted(trip, [[{}], rows])
    [later] = trips
    assert [place for place, _ in later.numbered] == [1]
    assert later.at_once is None
    assert batch.results[6] == []
    assert batch.results[7] == [{"given_number": 8, "outcome": "created"}]


def test_what_is_refused_at_once_goes_down_the_pipeline() -> None:
    """A statement for many that is refused is run again as statements for one."""
    batch = Batch([opening("C1", f"{number}.1") for number in range(pipeline.AT_ONCE)])
    trips = batch.trips()
    batch.refused(next(trips), errors.CheckViolation("no such user"))
    again = next(trips)
    assert (len(again.numbered), again.at_once) == (pipeline.AT_ONCE, None)


def test_a_turn_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trip is bounded: a long list runs in many transactions, each sorted for itself."""
    monkeypatch.setattr(pipeline, "STATEMENTS_AT_ONCE", 2)
    assert orders([opening("C1", f"{number}.1") for number in (4, 3, 2, 1, 0)]) == [[1, 0], [3, 2], [4]]


def carried_out(batch: Batch[Any], bad: set[str]) -> list[list[int]]:
    """Run the trips on a database that refuses some users; return the places in each trip."""
    seen = []
    for trip in batch.trips():
        seen.append([place for place, _ in trip.numbered])
        if any(statement.params["user_id"] in bad for statement in trip):
            batch.refused(trip, errors.CheckViolation("no such user"))
        else:
            batch.accepted(trip, [[] for _ in trip])
    return seen


def test_a_refused_turn_is_halved() -> None:
    """A refused trip is halved, down to the statement that is refused alone; the order stays."""
    commands = [opening("C1", f"{number}.1", "bad" if number == 2 else "U1") for number in range(4)]
    commands = [Statement(item.sql, item.params, lambda rows: "done", row=item.row) for item in commands]
    batch = Batch(commands)
    assert carried_out(batch, {"bad"}) == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]
    assert [type(result) for result in batch.results] == [str, str, InvalidCommand, str]


@pytest.mark.parametrize("fault", [errors.DeadlockDetected, errors.SerializationFailure])
def test_a_lost_race_is_run_again(fault: type[psycopg.Error]) -> None:
    """A trip that lost a race is run again, a bounded number of times."""
    batch = Batch([opening("C1", "1.1"), opening("C1", "2.1")])
    trips = batch.trips()
    for _ in range(pipeline.TRIES - 1):
        batch.refused(next(trips), fault("lost"))
    last = next(trips)
    assert [place for place, _ in last.numbered] == [0, 1]
    with pytest.raises(DatabaseUnavailable):
        batch.refused(last, fault("lost"))


def test_postgres_away_ends_all() -> None:
    """An outage of Postgres ends the batch, with the driver's error as its cause."""
    batch = Batch([opening("C1", "1.1"), opening("C1", "2.1")])
    fault = psycopg.OperationalError("gone")
    with pytest.raises(DatabaseUnavailable) as failure:
        batch.refused(next(batch.trips()), fault)
    assert failure.value.__cause__ is fault


def test_a_row_that_cannot_be_read_is_one_failure() -> None:
    """A row that cannot be read fails its own command only; the others have their results."""
    commands = [opening("C1", "1.1"), statement_of(GetSession(channel_id="C1", thread_ts="2.1"))]
    batch = Batch(commands)
    batch.accepted(next(batch.trips()), [[{"id": "nonsense"}], []])
    assert isinstance(batch.results[0], CommandFailed)
    assert batch.results[1] is None


def test_halves_have_everything_once() -> None:
    """The halves of a trip have every statement once, also of an odd number."""
    numbered = list(enumerate(opening("C1", f"{number}.1") for number in range(5)))
    first, second = Trip(numbered).halves()
    assert [*first.numbered, *second.numbered] == numbered


def test_the_first_fault_is_kept() -> None:
    """The first fault is kept, whatever the driver raises over it or after it."""
    first = FirstFault()
    with first:
        try:
            raise errors.CheckViolation("no such user")
        finally:
            raise errors.PipelineAborted("pipeline aborted")
    with first:
        raise errors.PipelineAborted("pipeline aborted")
    assert isinstance(first.fault, errors.CheckViolation)


def test_other_errors_go_on() -> None:
    """An error that is not the pipeline's, such as a time limit, is raised."""
    with pytest.raises(TimeoutError), FirstFault():
        raise TimeoutError
