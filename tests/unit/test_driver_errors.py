"""What an error of the driver means for a command: wait and try again, or never."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from worker.db.driver_errors import translate, translated
from worker.errors import DatabaseUnavailable, InvalidCommand, ThreadsyncError

WAIT = [
    psycopg.OperationalError("the connection is lost"),
    # Not an OperationalError: the connection was closed before the command.
    psycopg.InterfaceError("the connection is closed"),
    errors.AdminShutdown("terminating connection due to administrator command"),
    errors.CannotConnectNow("the database system is starting up"),
    errors.SerializationFailure("could not serialize access"),
    errors.DeadlockDetected("deadlock detected"),
    errors.LockNotAvailable("canceling statement due to lock timeout"),
    errors.QueryCanceled("canceling statement due to statement timeout"),
    errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"),
    errors.TooManyConnections("sorry, too many clients already"),
    errors.DiskFull("could not extend file"),
    errors.FeatureNotSupported("cached plan must not change result type"),
    PoolTimeout("couldn't get a connection after 2.00 sec"),
    PoolClosed("the pool is closed"),
    TooManyRequests("too many"),
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


@pytest.mark.parametrize("error", WAIT, ids=lambda error: type(error).__name__)
def test_it_may_succeed_later(error: psycopg.Error) -> None:
    """The command waits; the message has the driver's class and its reason."""
    ours = translate(error)
    assert type(ours) is DatabaseUnavailable
    assert str(ours) == f"Postgres: {type(error).__name__}: {error}"


@pytest.mark.parametrize("error", MIGRATE, ids=lambda error: type(error).__name__)
def test_a_database_that_is_not_set_up(error: psycopg.Error) -> None:
    """A person has to do something; the command waits for that, and is not lost."""
    ours = translate(error)
    assert type(ours) is DatabaseUnavailable
    assert "threadsync migrate" in str(ours)


@pytest.mark.parametrize("error", NEVER, ids=lambda error: type(error).__name__)
def test_it_will_never_succeed(error: psycopg.Error) -> None:
    """The command itself is wrong, although our own checks let it through."""
    ours = translate(error)
    assert type(ours) is InvalidCommand
    assert str(error) in str(ours)


def test_the_cause_is_kept() -> None:
    """`from exc`, so that a log has both."""
    cause = psycopg.OperationalError("gone")
    with pytest.raises(ThreadsyncError) as failure, translated():
        raise cause
    assert failure.value.__cause__ is cause


def test_other_errors_pass() -> None:
    """A bug of ours is not a database that is away."""
    with pytest.raises(ZeroDivisionError), translated():
        _ = 1 / 0
