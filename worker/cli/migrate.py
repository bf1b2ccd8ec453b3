"""``threadsync migrate``."""

from __future__ import annotations

import typer


def migrate() -> None:
    """Bring the database schema up to date. Safe to repeat, and to run in several places at once."""
    from worker.db.migrate import migrate as apply_migrations
    from worker.db.pool import single_connection

    with single_connection() as connection:
        version = apply_migrations(connection)
    typer.echo(f"The database schema is at version {version}.")
