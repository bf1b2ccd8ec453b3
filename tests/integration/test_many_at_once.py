"""One statement for many commands: the results, rows and writes of the statements for one, in any history."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.support.at_once import ACTORS, DRAFTS, HISTORIES, MOMENTS, Batch, Event, World
from tests.support.scale import bounded
from tests.support.servers import PostgresForTests, ask
from threadsync.command import Command
from threadsync.commands import GetOrCreate, MarkSynced, RequestSync, UpdateStatus
from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from threadsync.sessions import SessionResult
from worker.db import SessionStore, pipeline
from worker.db.pool import Pool, new_pool
from worker.db.sessions.outcomes import closing, moving, opening
from worker.db.sessions.statements import FOR_MANY, statement_of
from worker.db.statement import Statement

COMMANDS: Final[dict[type[Command[Any]], Callable[..., Command[Any]]]] = {
    GetOrCreate: lambda **thread: GetOrCreate(**thread, user_id="U1"),
    UpdateStatus: lambda **thread: UpdateStatus(**thread, status="ready_to_sync"),
    MarkSynced: lambda **thread: MarkSynced(**thread, jira_key="PROJ-1"),
    RequestSync: lambda **thread: RequestSync(**thread, draft=DRAFTS[1], drafted_at=MOMENTS[1]),
}


@pytest.fixture(autouse=True)
def _one_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the statement for many carry out a single command, too."""
    monkeypatch.setattr(pipeline, "AT_ONCE", 1)


@pytest.fixture(scope="module")
def worlds(postgres: PostgresForTests) -> Iterator[tuple[World, World]]:
    """Two databases: one for many at once, and one for command after command."""
    with (
        postgres.database() as many,
        postgres.database() as single,
        new_pool(many) as many_pool,
        new_pool(single) as single_pool,
    ):
        for pool in (many_pool, single_pool):
            # As of the fixture ``pool``: Hypothesis refuses a connection that comes while it draws.
            pool.wait()
        pair = World(many, many_pool, is_at_once=True), World(single, single_pool, is_at_once=False)
        yield pair
        for world in pair:
            world.close()


def opened(store: SessionStore, count: int) -> list[dict[str, Any]]:
    """Open sessions, and return their threads."""
    threads: list[dict[str, Any]] = [
        {"channel_id": "C1", "thread_ts": f"{number:04}.1"} for number in range(count)
    ]
    store.run_many([GetOrCreate(**thread, user_id="U1") for thread in threads])
    return threads


def outcomes(results: list[Any]) -> Counter[str]:
    return Counter(getattr(result, "outcome", type(result).__name__) for result in results)


def test_each_command_for_many_is_in_this_suite() -> None:
    """Each command that has a statement for many is in this suite."""
    assert set(COMMANDS) == FOR_MANY


THREAD: Final[dict[str, Any]] = {"channel_id": "C2", "thread_ts": "1.1"}
OPENED: Final = Batch((GetOrCreate(**THREAD, user_id="U1"),))
BY_EACH: Final = [Batch(tuple(make(**THREAD, actor=actor) for make in COMMANDS.values())) for actor in ACTORS]
ASKED: Final = Batch((RequestSync(**THREAD, draft=DRAFTS[1], drafted_at=MOMENTS[1]),))


def batches_of(history: list[Batch | Event], worlds: tuple[World, World]) -> Iterator[Batch]:
    """Let a history happen in two new worlds, and yield its batches, to be run in both.

    After each step the two have written the same rows.
    """
    for world in worlds:
        world.clear()
    for step in history:
        since = [world.transaction() for world in worlds]
        if isinstance(step, Event):
            for world in worlds:
                world.happen(step)
        else:
            yield step
        rows = [world.rows(before) for world, before in zip(worlds, since, strict=True)]
        assert rows[0] == rows[1]


@pytest.mark.bounded
@given(history=HISTORIES)
# The same draft again; a draft from before its person was forgotten; a key that a person took away.
@example(history=[OPENED, ASKED, ASKED])
@example(history=[OPENED, Event("person", "1.1"), ASKED])
# People whom a channel's settings do not let act, on sessions that are there and that are not.
@example(history=[Event("who", "1.1"), *BY_EACH, OPENED, *BY_EACH, Event("anyone", "1.1"), *BY_EACH])
@example(history=[Event("who", "1700000000.000100"), *BY_EACH])
@example(history=[OPENED, Event("who", "4000000000.000100"), *BY_EACH])
@example(
    history=[OPENED, Event("link", "1.1"), Event("unlink", "1.1"), Batch((COMMANDS[MarkSynced](**THREAD),))]
)
@settings(max_examples=bounded(500, 20), suppress_health_check=list(HealthCheck))
def test_many_at_once_is_as_good_as_one_by_one(
    worlds: tuple[World, World], history: list[Batch | Event]
) -> None:
    """In any history a batch has the results, the rows and the writes of its commands one by one."""
    many, single = worlds
    for batch in batches_of(history, worlds):
        assert many.results(batch.statements()) == single.results(batch.statements())


IMPORTED: Final[dict[type[Command[Any]], Callable[..., Statement[Any]]]] = {
    GetOrCreate: opening,
    UpdateStatus: moving,
    MarkSynced: closing,
}


def imported(command: Command[Any]) -> Statement[Any]:
    """Return the statement by which an import carries out a command."""
    return IMPORTED[type(command)](**statement_of(command).params)


@pytest.mark.bounded
@given(history=HISTORIES)
@settings(max_examples=bounded(200, 15), suppress_health_check=list(HealthCheck))
def test_an_import_has_the_outcomes_of_its_commands(
    worlds: tuple[World, World], history: list[Batch | Event]
) -> None:
    """In any history a block of an import has the outcomes, the errors and the rows of its commands."""
    many, single = worlds
    for batch in batches_of(history, worlds):
        commands = [command for command in batch.commands if not isinstance(command, RequestSync)]
        one_by_one = single.results([statement_of(command) for command in commands])
        # An error has its name in front, a session its fields.
        outcomes = [one if isinstance(one[0], str) else one[0]["outcome"] for one in one_by_one]
        assert many.results([imported(command) for command in commands]) == outcomes


@pytest.mark.parametrize("command", COMMANDS)
def test_two_ids_of_one_channel_in_one_batch(store: SessionStore, command: type[Command[Any]]) -> None:
    """Two commands for one thread, under two ids of its channel, are carried out one after the other."""
    store.channel_moved("C1", "G1")
    if command is not GetOrCreate:
        store.get_or_create_session("C1", "1.1", "U1")
    make = COMMANDS[command]
    first, second, missing = store.run_many(
        [make(channel_id=channel, thread_ts="1.1") for channel in ("C1", "G1")]
        + [make(channel_id="C2", thread_ts="1.1")]
    )
    assert isinstance(first, SessionResult)
    assert isinstance(second, SessionResult)
    assert first.id == second.id
    assert {first.outcome, second.outcome} == {
        "created" if command is GetOrCreate else "applied",
        "unchanged",
    }
    assert isinstance(missing, SessionResult if command is GetOrCreate else SessionNotFound)


def test_two_keys_under_two_ids(store: SessionStore) -> None:
    """Of two tickets under two ids of one channel in one batch one is written, the other one is refused."""
    store.channel_moved("C1", "G1")
    store.get_or_create_session("C1", "1.1", "U1")
    commands = [
        MarkSynced(channel_id=channel, thread_ts="1.1", jira_key=key)
        for channel, key in (("C1", "PROJ-1"), ("G1", "PROJ-2"))
    ]
    assert outcomes(store.run_many(commands)) == {"applied": 1, "JiraKeyConflict": 1}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refused_command_fails_alone(store: SessionStore, command: type[Command[Any]]) -> None:
    """A command that the driver or the database refuses fails alone among two hundred."""
    threads = opened(store, 200)
    statements = [statement_of(COMMANDS[command](**thread)) for thread in threads]
    for place, name, value in ((7, "thread_ts", "7\x00.1"), (150, "actor", "no JSON"), (151, "actor", None)):
        broken = {**statements[place].params, name: value}
        statements[place] = replace(statements[place], params=broken)
    results = store.execute_many(statements)
    assert [place for place, result in enumerate(results) if isinstance(result, InvalidCommand)] == [7, 150]
    assert sum(isinstance(result, SessionResult) for result in results) == 198


def test_a_lane_of_mixed_commands_in_few_trips(store: SessionStore) -> None:
    """Commands of all kinds, each thread's in the order given, run in one statement for each kind."""
    threads = [{"channel_id": "C1", "thread_ts": f"{number}.1"} for number in range(30)]
    statements = [statement_of(make(**thread)) for thread in threads for make in COMMANDS.values()]
    trips = list(pipeline.Batch(statements).trips())
    assert [len(trip.numbered) for trip in trips] == [30] * 4
    assert all(trip.at_once for trip in trips)
    assert outcomes(store.execute_many(statements)) == {"created": 30, "applied": 60, "unchanged": 30}


def shuffled(seed: int, count: int) -> list[Command[Any]]:
    """Return commands for the same threads, in an order of their own."""
    chance = random.Random(seed)
    chosen: list[Command[Any]] = []
    for _ in range(count):
        thread = {"channel_id": "C1", "thread_ts": f"{chance.randrange(40):04}.1"}
        actor = chance.choice(ACTORS)
        chosen.append(
            chance.choice(
                [
                    GetOrCreate(**thread, user_id="U1", actor=actor),
                    UpdateStatus(**thread, status="ready_to_sync", actor=actor),
                    RequestSync(**thread, draft=DRAFTS[0], drafted_at=chance.choice(MOMENTS), actor=actor),
                    MarkSynced(**thread, jira_key=f"PROJ-{chance.randrange(1, 3)}", actor=actor),
                ]
            )
        )
    return chosen


@pytest.mark.bounded
@pytest.mark.parametrize("at_once", [1, 8])
def test_batches_at_the_same_time(
    pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Batches over the same threads in any order end without a deadlock, as if one after the other."""
    monkeypatch.setattr(pipeline, "AT_ONCE", at_once)
    monkeypatch.setattr(pipeline, "TRIES", 1)
    together = threading.Barrier(4)

    def run(number: int) -> list[tuple[Command[Any], Any]]:
        ended: list[tuple[Command[Any], Any]] = []
        for batch in range(bounded(40, 8)):
            commands = shuffled(number * 1000 + batch, 5 if batch % 4 == 0 else 120)
            together.wait()
            ended.extend(zip(commands, SessionStore(pool).run_many(commands), strict=True))
        return ended

    with ThreadPoolExecutor(4) as executor:
        ended = [pair for pairs in executor.map(run, range(4)) for pair in pairs]
    created: Counter[str] = Counter()
    keys: dict[str, set[str]] = {}
    for command, result in ended:
        thread = command.arguments()["thread_ts"]
        if isinstance(result, SessionResult):
            created[thread] += result.outcome == "created"
            if isinstance(command, MarkSynced):
                keys.setdefault(thread, set()).add(command.jira_key)
        else:
            assert isinstance(result, SessionNotFound | JiraKeyConflict)
    assert set(created.values()) == {1}
    assert all(len(of_thread) == 1 for of_thread in keys.values())
    assert ask(database_url, "SELECT count(*) FROM thread_sessions") == len(created)
    assert ask(database_url, "SELECT count(*) FROM thread_sessions WHERE jira_key IS NOT NULL") == len(keys)
