"""The upper limit: psycopg alone with the same statement on one connection, without queue and results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg

from benchmarks.process_tree import cpu_seconds
from benchmarks.stage import Installation
from benchmarks.threads import SlackThread, threads
from worker.db.sessions.sql import GET_OR_CREATE_SESSION

_BATCH: Final = 1000
_Run = Callable[[psycopg.Connection, Sequence[SlackThread]], None]


def single(connection: psycopg.Connection, batch: Sequence[SlackThread]) -> None:
    """Run each statement in its own transaction and round trip."""
    for thread in batch:
        connection.execute(GET_OR_CREATE_SESSION, thread.parameters()).fetchone()


def pipelined(connection: psycopg.Connection, batch: Sequence[SlackThread]) -> None:
    """Run a batch down a pipeline in one transaction, and read all rows."""
    with connection.cursor() as cursor:
        parameters = [thread.parameters() for thread in batch]
        cursor.executemany(GET_OR_CREATE_SESSION, parameters, returning=True)
        while cursor.fetchone() and cursor.nextset():
            pass


SINGLE: Final = "psycopg-single"
PIPELINED: Final = "psycopg-pipelined"
LIMITS: Final[dict[str, tuple[str, _Run]]] = {
    SINGLE: ("psycopg, single statements", single),
    PIPELINED: ("psycopg, pipelined", pipelined),
}


def measure(run: _Run, installation: Installation, count: int) -> dict[str, float]:
    """Return commands a second, and Postgres' CPU time for them."""
    wanted = threads(installation.sessions, count)
    postgres = installation.servers["postgres"]
    with psycopg.connect(installation.database_url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("SELECT 1")
        cpu, began = cpu_seconds(postgres), time.monotonic()
        for start in range(0, count, _BATCH):
            run(connection, wanted[start : start + _BATCH])
        seconds, cpu = time.monotonic() - began, cpu_seconds(postgres) - cpu
    return {"process_rate": count / seconds, "postgres_cpu_seconds_per_1000": cpu / count * 1000}
