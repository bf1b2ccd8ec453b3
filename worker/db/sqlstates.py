"""Judge an error of Postgres by its SQLSTATE, for the connection and for the command. Pure.

A connection is kept only after errors that leave nothing behind on it. All others may come again for as long
as the connection lives: a server that became read-only, is shutting down, or plans that no longer fit. The
words of a server's error are never looked at, because they are in the language of its administrator. English
are those of PgBouncer, which has one code for most of its own (pgbouncer.py), and of the library in this
process, which has no codes.

Codes: https://www.postgresql.org/docs/18/errcodes-appendix.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import psycopg
from psycopg import errors

from threadsync.errors import ThreadsyncError
from worker.db import pgbouncer

_OUT_OF_MEMORY: Final = re.compile(r"out of memory|cannot allocate memory", re.IGNORECASE)

Meaning = Literal["outage", "fault", "refused"]
"""``outage``: nothing is wrong with the command, wait for as long as it takes. ``fault``: Postgres is there
and refuses, wait for an operator, but not for ever. ``refused``: the command itself is wrong."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Meaning of an error for the command; ``keep``: the connection may serve the next one."""

    meaning: Meaning
    keep: bool = False


OUTAGE: Final = Verdict("outage")
FAULT: Final = Verdict("fault")
BUSY: Final = Verdict("fault", keep=True)
REFUSED: Final = Verdict("refused", keep=True)

VERDICTS: Final[Mapping[str, Verdict]] = {
    "08": OUTAGE,  # connection exceptions, the protocol out of step among them
    "22": REFUSED,  # data
    "23": REFUSED,  # constraints
    "25006": OUTAGE,  # read-only: a standby, or a primary that was demoted
    "25P03": OUTAGE,  # ended: idle in a transaction
    "25P04": OUTAGE,  # ended: transaction_timeout
    "28": OUTAGE,  # authorization: the login is gone, or may not enter any more
    "3D000": OUTAGE,  # the database is gone
    "40001": FAULT,  # serialization, or a standby's conflict with recovery
    "40P01": BUSY,  # deadlock
    "53100": Verdict("outage", keep=True),  # disk full
    "53200": OUTAGE,  # out of memory
    "53300": OUTAGE,  # too many connections
    "54": REFUSED,  # program limits: too big, too deep, too many
    "55P03": BUSY,  # lock_timeout
    "57014": BUSY,  # statement_timeout
    "57": OUTAGE,  # shutting down, crashed, starting up, database dropped, idle for too long
    "P0": BUSY,  # raised by a trigger
}
"""Verdicts by SQLSTATE or its first two characters; the longer one prevails. Others are a ``FAULT``: 0A000 (a
cached plan whose result changed), 26000 (a prepared statement that is gone), 42, XX (a type that is)."""


def judge_sqlstate(code: str) -> Verdict:
    """Return the verdict on a SQLSTATE."""
    return VERDICTS.get(code) or VERDICTS.get(code[:2]) or FAULT


def judge(error: psycopg.Error) -> Verdict:
    """Return the verdict on an error of the driver, which has a SQLSTATE if it is the server's."""
    if isinstance(error, errors.ProtocolViolation):
        return _judge_protocol_violation(error)
    if error.sqlstate:
        return judge_sqlstate(error.sqlstate)
    if isinstance(error, psycopg.DataError):
        return REFUSED  # such as NUL in a text; nothing was sent
    if isinstance(error, psycopg.OperationalError) and _OUT_OF_MEMORY.search(str(error)):
        return FAULT  # this process has none for what it is to send or was sent, however long it waits
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return OUTAGE
    return FAULT


def _judge_protocol_violation(error: errors.ProtocolViolation) -> Verdict:
    """Judge 08P01: Postgres keeps the connection, PgBouncer always ends it."""
    words = error.diag.message_primary or str(error)
    refuses = error.diag.severity_nonlocalized == "ERROR" or words in pgbouncer.FAULTS
    return FAULT if refuses else judge_sqlstate("08P01")


def spoils(error: BaseException) -> bool:
    """Return True if an error makes its connection useless.

    An error of neither Postgres nor ours, such as a time limit, may have struck in the middle of a response.
    """
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    if isinstance(cause, errors.PipelineAborted):
        cause = cause.__context__
    if isinstance(cause, psycopg.Error):
        return not judge(cause).keep
    return not isinstance(error, ThreadsyncError)
