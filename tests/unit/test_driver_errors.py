"""Errors of the driver as errors of a command: to be tried again, or permanent."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from threadsync.errors import DatabaseFault, DatabaseUnavailable, InvalidCommand, ThreadsyncError
from worker.db.driver_errors import translate, translated

OUTAGES = [
    psycopg.OperationalError("the connection is lost"),
    # Not an OperationalError: the connection was closed before the command.
    psycopg.InterfaceError("the connection is closed"),
    errors.AdminShutdown("terminating connection due to administrator command"),
    errors.CrashShutdown("terminating connection because of crash of another server process"),
    errors.CannotConnectNow("the database system is starting up"),
    errors.DatabaseDropped("terminating connection because the database was dropped"),
    errors.IdleSessionTimeout("terminating connection due to idle-session timeout"),
    errors.IdleInTransactionSessionTimeout("terminating connection due to idle-in-transaction timeout"),
    errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"),
    errors.InvalidPassword("password authentication failed"),
    errors.InvalidAuthorizationSpecification('role "x" is not permitted to log in'),
    errors.InvalidCatalogName("database does not exist"),
    errors.TooManyConnections("sorry, too many clients already"),
    errors.OutOfMemory("out of memory"),
    errors.DiskFull("could not extend file"),
    errors.ProtocolViolation("out of step"),
    PoolTimeout("couldn't get a connection after 2.00 sec"),
    PoolClosed("the pool is closed"),
    TooManyRequests("too many"),
]
FAULTS = [
    errors.SerializationFailure("could not serialize access"),
    errors.DeadlockDetected("deadlock detected"),
    errors.LockNotAvailable("canceling statement due to lock timeout"),
    errors.QueryCanceled("canceling statement due to statement timeout"),
    errors.FeatureNotSupported("cached plan must not change result type"),
    errors.InvalidSqlStatementName('prepared statement "_pg3_0" does not exist'),
    errors.DuplicatePreparedStatement('prepared statement "_pg3_0" already exists'),
    errors.InternalError_("cache lookup failed for type 4711"),
    errors.DataCorrupted("invalid page in block 0"),
    errors.IoError("could not read block 0"),
    errors.ConfigurationLimitExceeded("temporary file size exceeds temp_file_limit"),
    errors.ObjectNotInPrerequisiteState("not in the state needed"),
    errors.SyntaxError("syntax error"),
    errors.DatatypeMismatch("column is of another type"),
    errors.RaiseException("by somebody's trigger"),
    errors.ExternalRoutineException("of a procedural language"),
    psycopg.ProgrammingError("of the driver's own"),
    psycopg.NotSupportedError("can't parse a date"),
]
MIGRATE = [
    errors.UndefinedTable('relation "thread_sessions" does not exist'),
    errors.UndefinedColumn("no column"),
    errors.UndefinedFunction("no function"),
    errors.InsufficientPrivilege("permission denied"),
]
NEVER = [
    errors.CheckViolation("a check of no name that we know"),
    errors.NotNullViolation("null value"),
    errors.InvalidTextRepresentation("invalid input syntax for type json"),
    errors.UntranslatableCharacter("\\u0000 cannot be converted to text"),
    errors.ProgramLimitExceeded("index row size exceeds maximum"),
    psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
]


@pytest.mark.parametrize(
    ("error", "kind"),
    [*((error, DatabaseUnavailable) for error in OUTAGES), *((error, DatabaseFault) for error in FAULTS)],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_it_may_succeed_later(error: psycopg.Error, kind: type[ThreadsyncError]) -> None:
    """An outage or a fault of the database becomes an error that may be tried again, with its reason."""
    ours = translate(error)
    assert type(ours) is kind
    assert str(ours).startswith(f"Postgres: {type(error).__name__}: {error}")


@pytest.mark.parametrize("error", MIGRATE, ids=lambda error: type(error).__name__)
def test_a_database_that_is_not_set_up(error: psycopg.Error) -> None:
    """A database without tables is a fault whose message says `threadsync migrate`."""
    ours = translate(error)
    assert type(ours) is DatabaseFault
    assert "threadsync migrate" in str(ours)


@pytest.mark.parametrize("error", NEVER, ids=lambda error: type(error).__name__)
def test_it_will_never_succeed(error: psycopg.Error) -> None:
    """An error of the command's own values becomes InvalidCommand, although our checks let them through."""
    ours = translate(error)
    assert type(ours) is InvalidCommand
    assert str(error) in str(ours)


def test_the_cause_is_kept() -> None:
    """The driver's error is kept as the cause, so that a log has both."""
    cause = psycopg.OperationalError("gone")
    with pytest.raises(ThreadsyncError) as failure, translated():
        raise cause
    assert failure.value.__cause__ is cause


def test_other_errors_pass() -> None:
    """Other errors pass unchanged: a bug of ours is no outage of the database."""
    with pytest.raises(ZeroDivisionError), translated():
        _ = 1 / 0
