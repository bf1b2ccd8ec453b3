"""The table of SQLSTATEs: whether a connection is kept, and how long a command waits."""

from __future__ import annotations

from typing import Final

import psycopg
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from psycopg import errors

from threadsync.errors import DatabaseFault, InvalidCommand
from worker.db.sqlstates import VERDICTS, judge, judge_sqlstate, spoils

ALL_CODES: Final = sorted(
    {
        kind.sqlstate
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, psycopg.Error) and kind.sqlstate
    }
)
"""Every SQLSTATE that the driver knows by a name: Postgres' appendix A."""

LEAVE_NOTHING_BEHIND: Final = ("22", "23", "40P01", "53100", "54", "55P03", "57014", "P0")
"""The only SQLSTATEs after which a connection is kept."""

OUTAGES: Final = ("08", "25006", "25P03", "25P04", "28", "3D000", "53100", "53200", "53300", "57")
"""The only SQLSTATEs that are waited out however long they last."""


@pytest.mark.parametrize("code", ALL_CODES)
def test_a_connection_is_kept_only_where_nothing_can_be_left_behind(code: str) -> None:
    """A connection is kept only for the codes that leave nothing behind on it."""
    assert judge_sqlstate(code).keep == code.startswith(LEAVE_NOTHING_BEHIND)


@pytest.mark.parametrize("code", ALL_CODES)
def test_only_an_outage_is_waited_for_without_bound(code: str) -> None:
    """Only an outage is waited for without bound; a refusal ends a command at once, a fault in an hour."""
    is_outage = code.startswith(OUTAGES) and code != "57014"
    refused = code.startswith(("22", "23", "54"))
    assert judge_sqlstate(code).meaning == ("outage" if is_outage else "refused" if refused else "fault")


def test_the_table_names_codes_that_exist() -> None:
    """Every code in the table exists in the driver."""
    assert [code for code in VERDICTS if not any(known.startswith(code) for known in ALL_CODES)] == []


def test_a_code_of_a_server_to_come_is_a_fault() -> None:
    """An unknown code, as extensions and proxies make, is a fault."""
    assert judge_sqlstate("ZX001") == judge_sqlstate("") == judge_sqlstate("XX000")


@pytest.mark.parametrize(
    ("error", "spoilt"),
    [
        (psycopg.OperationalError("lost"), True),
        (psycopg.DataError("NUL"), False),
        (errors.CheckViolation("x"), False),
        (errors.ReadOnlySqlTransaction("x"), True),
        (InvalidCommand("x"), False),
        (SoftTimeLimitExceeded(), True),
        (KeyboardInterrupt(), True),
        (ValueError("x"), True),
    ],
)
def test_what_spoils_a_connection(error: BaseException, spoilt: bool) -> None:
    """Any error spoils a connection, except those that leave nothing behind on it."""
    assert spoils(error) is spoilt


def test_the_cause_of_our_error_is_what_counts() -> None:
    """An error of ours spoils a connection if its cause in the driver does."""
    ours = DatabaseFault("x")
    ours.__cause__ = errors.FeatureNotSupported("cached plan must not change result type")
    assert spoils(ours)
    ours.__cause__ = errors.QueryCanceled("statement timeout")
    assert not spoils(ours)


def test_the_drivers_own_errors_are_judged_by_their_class() -> None:
    """An error of the driver without SQLSTATE is judged by its class."""
    assert judge(psycopg.InterfaceError("closed")).meaning == "outage"
    assert judge(psycopg.InternalError("unexpected")).meaning == "fault"


@pytest.mark.parametrize("words", ["out of memory", "cannot allocate memory for output buffer"])
def test_what_this_process_has_no_memory_for_is_no_outage(words: str) -> None:
    """A lack of memory in this process is a fault, not an outage that is waited for without bound."""
    assert judge(psycopg.OperationalError(f"sending query and params failed: {words}")).meaning == "fault"
    assert judge(psycopg.OperationalError("connection lost")).meaning == "outage"
