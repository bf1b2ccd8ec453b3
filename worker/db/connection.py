"""Connections to Postgres that set what our SQL relies on, fail in time, and close once they are useless.

connect     host after host, address after address (reach.py), then what the server says otherwise is set
wait        silent for longer than a statement may take, or interrupted: closed, as it is out of step then
__exit__    an error after which nothing will work on it any more (sqlstates.py): closed
checkout    the server has hung up, has become read-only, or is silent: closed (pool.py)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq.abc import PGconn
from psycopg.rows import DictRow, tuple_row

from worker.db.names import addresses_of, looked_up
from worker.db.reach import Reach
from worker.db.sqlstates import spoils

T = TypeVar("T")

START_UP_SETTINGS: Final[Mapping[str, str]] = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "30s",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # What people wrote does not go into the server's log with an error. The rest is the server's to set.
    "log_parameter_max_length_on_error": "0",
}
"""Settings that statements need. ``default_transaction_read_only`` is not among them: it demotes a primary
without ending its sessions, and a client that turned it off would go on writing to the old one."""

REPORTED_SETTINGS: Final[Mapping[str, str]] = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
}
"""Settings that a server reports by itself, and that PgBouncer keeps for each of its clients."""

ANSWER_MARGIN_SECONDS: Final = 0.5
"""Margin in which the server's own time limit arrives first."""

IDLE_SECONDS: Final = 1.0
"""Idle time after which a connection is probed before its use."""

PROBE_SECONDS: Final = 1.5
"""Limit of that probe, less than a checkout may take, so that another host can still be tried."""

_USUAL_STATEMENT_SECONDS: Final = 5.0
_SETTING_UP_SECONDS: Final = 3.0
_NOT_FOR_LIBPQ: Final = ("autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory")

# Our tables are where their register is, whatever stands before it in the search_path. Elsewhere nothing is
# looked for: two installations may share a database, each in a schema of its own.
_FIND_TABLES: Final = """
WITH home AS (
    SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'threadsync_schema' AND n.nspname = ANY(current_schemas(false))
    ORDER BY array_position(current_schemas(false), n.nspname) LIMIT 1
)
SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float8,
       (SELECT set_config('search_path', quote_ident(nspname), false) FROM home
        WHERE nspname <> (current_schemas(false))[1])
"""
_READ_LIMIT: Final = "SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float8"


class NoAnswer(psycopg.OperationalError):
    """Silence of the server for longer than any statement may take: it is frozen, or out of reach."""


class _Guard:
    pgconn: PGconn
    answer_seconds = _SETTING_UP_SECONDS
    met_read_only = False
    """True once a write was refused because the server is read-only."""
    used_at = 0.0
    """Monotonic time at which a command last ended on it."""
    _reach: Reach | None = None
    _attempt: Mapping[str, Any]
    _began_read_only = False

    def _begin(self, reach: Reach, attempt: Mapping[str, Any], statement_seconds: float) -> None:
        reach.succeeded(attempt)
        self._reach, self._attempt = reach, attempt
        self.used_at = time.monotonic()
        self._began_read_only = self._is_read_only()
        self.answer_seconds = (statement_seconds or _USUAL_STATEMENT_SECONDS) + ANSWER_MARGIN_SECONDS

    def _is_read_only(self) -> bool:
        names = (b"in_hot_standby", b"default_transaction_read_only")
        return any(self.pgconn.parameter_status(name) == b"on" for name in names)

    def _is_spoilt_by(self, error: BaseException | None) -> bool:
        if error is None or not spoils(error):
            return False
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
            self.met_read_only = True
            if self._reach:
                self._reach.led_to_read_only()
        return True

    def _lost_step(self, error: BaseException) -> None:
        """Close the connection after silence or an interruption: the response's rest is still to come."""
        if isinstance(error, NoAnswer) and self._reach:
            self._reach.failed(self._attempt, self.answer_seconds, error)
        if isinstance(error, NoAnswer) or not isinstance(error, psycopg.Error):
            # A time limit, Ctrl-C: what leaves a pipeline or a transaction now must not wait for the rest.
            self.pgconn.finish()

    @property
    def is_idle(self) -> bool:
        """Return True after ``IDLE_SECONDS`` without a command: much may have happened to the server."""
        return time.monotonic() - self.used_at > IDLE_SECONDS

    def look(self) -> str | None:
        """Return why the connection is useless, or None; read only what has arrived, without a round trip."""
        try:
            self.pgconn.consume_input()  # what the server said last …
            self.pgconn.consume_input()  # … and that it hung up
        except psycopg.Error as exc:
            return str(exc)
        if self._is_read_only() and not self._began_read_only:
            return "the server has become read-only"
        return None


class GuardedConnection(_Guard, Connection[DictRow]):
    """A ``psycopg.Connection`` with the settings, limits and checks that the head of this file describes."""

    @classmethod
    def connect(cls, conninfo: str = "", *, reach: Reach | None = None, **kwargs: Any) -> Self:  # type: ignore[override]
        """Connect to the first host that accepts, or raise the errors of all."""
        reach = reach or Reach()
        options, parameters = _divided(conninfo, kwargs)
        failures: list[tuple[Mapping[str, Any], psycopg.Error]] = []
        for host in reach.attempts(parameters):
            begun = time.monotonic()
            for attempt in reach.each_address(host, addresses_of(host)):
                try:
                    connection = super().connect("", **looked_up(attempt), **options)
                    connection._configure(reach, attempt)
                except psycopg.Error as exc:
                    reach.failed(attempt, time.monotonic() - begun, exc)
                    failures.append((attempt, exc))
                    begun = time.monotonic()
                else:
                    return connection
        raise _failure(reach, failures)

    def _configure(self, reach: Reach, attempt: Mapping[str, Any]) -> None:
        try:
            cursor = self.cursor(row_factory=tuple_row)
            for name, value in _unlike(self.pgconn):
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value], prepare=False)
            sql = _FIND_TABLES if "options" in attempt else _READ_LIMIT
            [(seconds, *_)] = cursor.execute(sql, prepare=False).fetchall()
            if not self.autocommit:
                self.rollback()
        except BaseException:
            self.close()
            raise
        self._begin(reach, attempt, seconds)

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for a response; after ``answer_seconds`` close the connection, and raise ``NoAnswer``."""
        try:
            return super().wait(_within(self.answer_seconds, gen), *args, **kwargs)
        except BaseException as exc:
            self._lost_step(exc)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_spoilt_by(exc):
            self.close()
        super().__exit__(kind, exc, trace)


class GuardedAsyncConnection(_Guard, AsyncConnection[DictRow]):
    """A ``GuardedConnection`` for asyncio."""

    @classmethod
    async def connect(cls, conninfo: str = "", *, reach: Reach | None = None, **kwargs: Any) -> Self:  # type: ignore[override]
        """Connect to the first host that accepts, or raise the errors of all."""
        reach = reach or Reach()
        options, parameters = _divided(conninfo, kwargs)
        failures: list[tuple[Mapping[str, Any], psycopg.Error]] = []
        for host in reach.attempts(parameters):
            begun = time.monotonic()
            for attempt in reach.each_address(host, await asyncio.to_thread(addresses_of, host)):
                try:
                    connection = await super().connect("", **looked_up(attempt), **options)
                    await connection._configure(reach, attempt)
                except psycopg.Error as exc:
                    reach.failed(attempt, time.monotonic() - begun, exc)
                    failures.append((attempt, exc))
                    begun = time.monotonic()
                else:
                    return connection
        raise _failure(reach, failures)

    async def _configure(self, reach: Reach, attempt: Mapping[str, Any]) -> None:
        try:
            cursor = self.cursor(row_factory=tuple_row)
            for name, value in _unlike(self.pgconn):
                await cursor.execute("SELECT set_config(%s, %s, false)", [name, value], prepare=False)
            sql = _FIND_TABLES if "options" in attempt else _READ_LIMIT
            [(seconds, *_)] = await (await cursor.execute(sql, prepare=False)).fetchall()
            if not self.autocommit:
                await self.rollback()
        except BaseException:
            await self.close()
            raise
        self._begin(reach, attempt, seconds)

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for a response; after ``answer_seconds`` close the connection, and raise ``NoAnswer``."""
        try:
            return await super().wait(_within(self.answer_seconds, gen), *args, **kwargs)
        except BaseException as exc:
            self._lost_step(exc)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_spoilt_by(exc):
            await self.close()
        await super().__aexit__(kind, exc, trace)


@contextmanager
def answering_within(connection: Connection[Any] | AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Change the limit for a response, for a migration say, if the connection is one of ours."""
    if not isinstance(connection, _Guard):
        yield
        return
    before, connection.answer_seconds = connection.answer_seconds, seconds
    try:
        yield
    finally:
        connection.answer_seconds = before


def start_up_options(given: str = "") -> str:
    """Return libpq's ``options`` for ``START_UP_SETTINGS``; the URL's stand last, and so prevail."""
    ours = (f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in START_UP_SETTINGS.items())
    return " ".join((*ours, given)).strip()


def _divided(conninfo: str, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    options = {name: value for name, value in kwargs.items() if name in _NOT_FOR_LIBPQ}
    rest = {name: value for name, value in kwargs.items() if name not in _NOT_FOR_LIBPQ}
    return options, conninfo_to_dict(conninfo, **rest)


def _unlike(pgconn: PGconn) -> Iterator[tuple[str, str]]:
    """Yield settings that the server did not take: PgBouncer ignored them, or PGTZ or the URL prevailed."""
    for name, value in REPORTED_SETTINGS.items():
        reported = pgconn.parameter_status(name.encode())
        if reported is not None and not reported.decode().startswith(value):
            yield name, value


def _within(seconds: float, gen: PQGen[T]) -> Generator[Any, Any, T]:
    deadline = time.monotonic() + seconds
    try:
        state = next(gen)
        while True:
            # False if only some time has passed: psycopg looks up ten times a second.
            ready = yield state
            if not ready and time.monotonic() > deadline:
                raise NoAnswer(f"the server gave no answer within {seconds:g} s")
            state = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _failure(reach: Reach, failures: list[tuple[Mapping[str, Any], psycopg.Error]]) -> psycopg.Error:
    last = failures[-1][1]
    if len(failures) > 1:
        said = (f"{_place(attempt)}: {exc}" for attempt, exc in failures)
        last = type(last)("; ".join(said))
        reach.trouble = last
    return last.with_traceback(None)


def _place(attempt: Mapping[str, Any]) -> str:
    host, address = attempt.get("host"), attempt.get("hostaddr")
    return f"{host}:{attempt.get('port', 5432)}{f' ({address})' if host and address else ''}"
