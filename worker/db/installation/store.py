"""Which installation a database is, and what people decided about that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg import Connection

from threadsync.actors import AnyActor, as_json
from worker.db.driver_errors import translated
from worker.db.pool import Pool

_GET: Final[LiteralString] = "SELECT id FROM installation"

_RENEW: Final[LiteralString] = """
WITH renewed AS (
    UPDATE installation SET id = gen_random_uuid(), since = now() RETURNING old.id AS before, new.id
), noted AS (
    INSERT INTO installation_actions (action, actor, reason, installation, other, acted_by)
    SELECT 'renew', %(actor)s, %(reason)s, id, before::text, %(acted_by)s::jsonb FROM renewed
)
SELECT before, id FROM renewed
"""

_NOTE_ADOPTION: Final[LiteralString] = """
INSERT INTO installation_actions (action, actor, reason, installation, other, acted_by)
SELECT 'adopt', %(actor)s, %(reason)s, id, %(other)s, %(acted_by)s::jsonb FROM installation
"""


def installation_of(pool: Pool) -> str:
    """The installation of a pool's database. Raises ``DatabaseUnavailable``."""
    with translated(), pool.connection() as connection:
        return str(InstallationStore(connection).get())


class InstallationStore:
    """Over one connection, for those who start or decide. Raises ``DatabaseUnavailable``."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def get(self) -> UUID:
        """This database's installation."""
        with translated():
            row = self._connection.execute(_GET).fetchone()
        return UUID(str(row["id"])) if row else UUID(int=0)

    def renew(self, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> tuple[UUID, UUID]:
        """Give it a new id, as a copy needs one; returns the former and the new one."""
        with translated():
            params = {"actor": actor, "reason": reason, "acted_by": as_json(acted_by)}
            row = self._connection.execute(_RENEW, params).fetchone()
        assert row is not None  # noqa: S101 - the migration has made the row
        return UUID(str(row["before"])), UUID(str(row["id"]))

    @contextmanager
    def adopting(
        self, other: str | None, *, actor: str, reason: str, acted_by: AnyActor | None = None
    ) -> Iterator[None]:
        """Note that the broker of ``other`` is taken over, if what is done inside succeeds."""
        params = {"actor": actor, "reason": reason, "other": other, "acted_by": as_json(acted_by)}
        with translated(), self._connection.transaction():
            self._connection.execute(_NOTE_ADOPTION, params)
            yield
