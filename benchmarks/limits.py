"""The upper limit: psycopg alone with the same statement on one connection, without queue and results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg

from benchmarks.threads import SlackThread, threads
from worker.db.sessions.sql import GET_OR_CREATE_SESSION

_BATCH: Final = 1000
_Run = Callable[[psycopg.Connection, Sequence[SlackThread]], None]


def single(database_url: str, first: int, count: int) -> float:
    """Return commands a second, each in its own transaction and round trip."""

    def run(connection: psycopg.Connection, batch: Sequence[SlackThread]) -> None:
        for thread in batch:
            connection.execute(GET_OR_CREATE_SESSION, thread.parameters()).fetchone()

    return _rate(run, database_url, first, count)


def pipelined(database_url: str, first: int, count: int) -> float:
    """Return commands a second down a pipeline, a thousand in a transaction, all rows read."""

    def run(connection: psycopg.Connection, batch: Sequence[SlackThread]) -> None:
        with connection.cursor() as cursor:
            parameters = [thread.parameters() for thread in batch]
            cursor.executemany(GET_OR_CREATE_SESSION, parameters, returning=True)
            while cursor.fetchone() and cursor.nextset():
                pass

    return _rate(run, database_url, first, count)


PIPELINED: Final = "psycopg-pipelined"
LIMITS: Final[dict[str, tuple[str, Callable[[str, int, int], float]]]] = {
    "psycopg-single": ("psycopg, single statements", single),
    PIPELINED: ("psycopg, pipelined", pipelined),
}


def _rate(run: _Run, database_url: str, first: int, count: int) -> float:
    wanted = threads(first, count)
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("SELECT 1")
        began = time.monotonic()
        for start in range(0, count, _BATCH):
            run(connection, wanted[start : start + _BATCH])
        return count / (time.monotonic() - began)
