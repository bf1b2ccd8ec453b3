"""``threadsync roles``."""

from __future__ import annotations

import typer


def roles() -> None:
    """Print the SQL that creates the least-privilege roles: threadsync roles | psql "$ADMIN_URL".

    Run `threadsync migrate` afterwards to grant their rights.
    """
    from worker.db.roles import roles_sql

    typer.echo(roles_sql(), nl=False)
