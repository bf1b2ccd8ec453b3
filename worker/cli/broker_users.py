"""``threadsync broker-users``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.operate.rights.broker_users import Kind


def broker_users(
    prefix: Annotated[str, typer.Option(help="Prefix of all keys and channels (global_keyprefix).")] = "",
    database: Annotated[int, typer.Option(min=0, help="Database number in CELERY_BROKER_URL.")] = 0,
    redis: Annotated[bool, typer.Option("--redis", help="For Redis 7, which has fewer commands.")] = False,
) -> None:
    """Print configuration lines with the users of Valkey or Redis, one for each kind of process.

    Replace each name between two @ by the SHA-256 of a password.
    """
    from worker.operate.rights.broker_users import configuration

    kind: Kind = "redis" if redis else "valkey"
    typer.echo(configuration(prefix, database, kind), nl=False)
