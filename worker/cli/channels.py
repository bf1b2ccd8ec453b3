"""``threadsync channels``."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.signature import login_actor

app = typer.Typer(help="The channels of Slack.", no_args_is_help=True)


@app.command()
def moved(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Its id before, such as G0123ABCD.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its id now, such as C0123ABCD.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say that Slack gave a channel another id. Either one leads to the same sessions then."""
    from worker.cli.database import database
    from worker.cli.output import print_json, tell
    from worker.db.sessions.store import SessionStore

    with database() as pool:
        move = SessionStore(pool).channel_moved(old, new, login_actor())
    if as_json:
        print_json(move.as_json())
        return
    tell(f"{move.summary()}. Slack is called by {move.newest_id}; sessions stand under {move.home_id}.")
    if move.sessions:
        typer.echo(f"Threads that had a session under both: {move.sessions}. Each has one now.")
