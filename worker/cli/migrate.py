"""``threadsync migrate``."""

from __future__ import annotations

import typer


def migrate() -> None:
    """Bring the database's schema up to date. May be repeated, and run from many places at once."""
    from worker.db.migrate import migrate as apply_migrations
    from worker.db.pool import single_connection

    with single_connection() as connection:
        version = apply_migrations(connection)
    typer.echo(f"The database's schema is at version {version}.")
