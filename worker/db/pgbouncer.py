"""Recognise PgBouncer's own errors by their words, which are the same in every language. Pure.

It has one SQLSTATE for most of them (08P01), whether Postgres is away or will never do what is asked, and
libpq keeps none of a refusal to connect. What libpq says of a login may be in the words, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STATEMENT_MODE: Final = "transaction blocks not allowed in statement pooling mode"
QUERY_TIMEOUT: Final = "query timeout"

FAULTS: Final = (STATEMENT_MODE, QUERY_TIMEOUT)
"""Errors with 08P01 that waiting does not fix; after others its server or its pool may be back."""

WITHOUT_PREPARES: Final = "behind PgBouncer set DATABASE_PREPARED_STATEMENTS=false"

_ADVICE: Final[Mapping[str, str]] = {
    STATEMENT_MODE: "set pool_mode = transaction in PgBouncer (or session)",
    QUERY_TIMEOUT: "raise query_timeout in PgBouncer, or set it to 0: statements have a time limit of ours",
    "unsupported startup parameter": f"{WITHOUT_PREPARES}, and see `PgBouncer` in operations.md",
    "query_wait_timeout": "raise default_pool_size in PgBouncer if Postgres behind it answers",
    "server login has been failing": "PgBouncer cannot log in to Postgres: its log says why",
    "server_login_retry": "PgBouncer cannot log in to Postgres: its log says why",
    "no more connections allowed": "raise max_client_conn in PgBouncer",
    "no such database": "name the database in [databases] of PgBouncer, or another one in DATABASE_URL",
    "bouncer config error": "name the database of DATABASE_URL in PgBouncer, under [databases]; see its log",
    "no such user": "name the user in auth_file of PgBouncer, or another one in DATABASE_URL",
}


def advice(words: str) -> str | None:
    """Return advice on an error of PgBouncer; None if the words are not its."""
    return next((fix for its, fix in _ADVICE.items() if its in words), None)
