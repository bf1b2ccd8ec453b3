"""``threadsync channels``."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.signature import login_actor

app = typer.Typer(help="Slack channels.", no_args_is_help=True)


@app.command()
def moved(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The old ID, such as G0123ABCD.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new ID, such as C0123ABCD.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Record that Slack gave a channel a new ID. Afterwards both IDs lead to the same sessions."""
    from worker.cli.database import database
    from worker.cli.output import print_json, tell
    from worker.db.sessions.store import SessionStore

    with database() as pool:
        move = SessionStore(pool).channel_moved(old, new, login_actor())
    if as_json:
        print_json(move.as_json())
        return
    tell(
        f"{move.summary()}. Slack is called with {move.newest_id}; sessions are stored under {move.home_id}."
    )
    if move.sessions:
        typer.echo(f"Threads with a session under both IDs: {move.sessions}. Each has one now.")
