"""Console logins: each is a row with the hash of a random word, until it expires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, LiteralString

from worker.db.store import Store

SESSION_SECONDS: Final = 12 * 3600
MOST_SESSIONS: Final = 1_000
"""Most console sessions: people need fewer. The oldest are deleted first."""

_LONGEST_ADDRESS: Final = 100

# Beyond the newest there are rows only where a program signs in again and again.
_BEGIN: Final[LiteralString] = """
WITH gone AS (
    DELETE FROM console_sessions
    WHERE id_hash = %(earlier)s
        OR expires_at <= now()
        OR id_hash IN (
            SELECT id_hash FROM console_sessions ORDER BY created_at DESC, id_hash OFFSET %(most)s - 1
        )
)
INSERT INTO console_sessions (id_hash, name, address, expires_at)
VALUES (%(id_hash)s, %(name)s, %(address)s, now() + make_interval(secs => %(seconds)s))
"""

# One that would last for longer than any that begins now was made by a clock that was ahead. Some minutes are
# let go: after a failover another server's clock counts.
_FIND: Final[LiteralString] = """
SELECT name, address FROM console_sessions
WHERE id_hash = %(id_hash)s
    AND expires_at > now()
    AND expires_at <= now() + make_interval(secs => %(seconds)s) + interval '5 minutes'
"""

_END: Final[LiteralString] = "DELETE FROM console_sessions WHERE id_hash = %(id_hash)s"

_PURGE: Final[LiteralString] = "DELETE FROM console_sessions WHERE expires_at <= now()"


@dataclass(frozen=True)
class ConsoleSession:
    """The name that was given when signing in, and the address that it came from."""

    name: str
    address: str | None


class ConsoleSessionStore(Store):
    """Console logins. Moments are the database's."""

    def begin(self, id_hash: bytes, session: ConsoleSession, earlier: bytes | None = None) -> None:
        """Keep a session for ``SESSION_SECONDS``; delete ``earlier``, and all that have expired."""
        address = session.address[:_LONGEST_ADDRESS] if session.address else None
        self._rows(
            _BEGIN,
            {
                "id_hash": id_hash,
                "name": session.name,
                "address": address,
                "earlier": earlier,
                "most": MOST_SESSIONS,
                "seconds": SESSION_SECONDS,
            },
        )

    def find(self, id_hash: bytes) -> ConsoleSession | None:
        """Return the session, unless it has ended or expired."""
        rows = self._rows(_FIND, {"id_hash": id_hash, "seconds": SESSION_SECONDS})
        return ConsoleSession(**rows[0]) if rows else None

    def end(self, id_hash: bytes) -> None:
        self._rows(_END, {"id_hash": id_hash})

    def purge(self) -> None:
        self._rows(_PURGE, {})
