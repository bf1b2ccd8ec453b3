"""``threadsync sessions``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from worker.cli.place import Place, find_session
from worker.cli.session_import import import_sessions

app = typer.Typer(help="Sessions of Slack threads.", no_args_is_help=True)
app.command("import")(import_sessions)


@app.command("list")
def list_sessions(
    channel: Annotated[str | None, typer.Option(help="Only in this channel, such as C0123ABCD.")] = None,
    status: Annotated[
        Literal["collecting", "ready_to_sync", "synced"] | None, typer.Option(help="Only with this status.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Maximum number of rows.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue after this ID.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List sessions, newest first."""
    from worker.cli.database import database
    from worker.cli.output import marked, print_json, print_table, say
    from worker.db.sessions.store import SessionStore

    with database() as pool:
        store = SessionStore(pool)
        if channel is None:
            page = store.list_sessions(status, limit, cursor)
        else:
            page = store.list_sessions_by_channel(channel, status, limit, cursor)
    if as_json:
        print_json([session.as_json() for session in page.sessions])
        return
    print_table(
        ("ID", "Channel", "Thread", "User", "Status", "Ticket", "Updated"),
        [
            (
                item.id,
                item.channel_id,
                item.thread_ts,
                item.user_id,
                marked(item.status, item),
                item.jira_key,
                item.updated_at,
            )
            for item in page.sessions
        ],
    )
    if page.next_cursor:
        say(f"More rows: --cursor {page.next_cursor}")


@app.command()
def show(
    place: Place,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one session."""
    from worker.cli.database import database
    from worker.cli.output import fields_of, print_fields, print_json, print_table
    from worker.cli.syncs import action_row, print_steps
    from worker.db.overview.store import OverviewStore
    from worker.db.sessions.store import SessionStore
    from worker.db.syncs.store import SyncStore

    with database() as pool:
        session = find_session(SessionStore(pool), place)
        actors = OverviewStore(pool).actors(session.id)
        decisions = SyncStore(pool).actions(session.id)
        unlinked = SyncStore(pool).unlinked.of(session.id)
        steps = SyncStore(pool).steps.of(session.id)
    if as_json:
        # Unknown fields are left out, as in the result of `sessions.get`.
        known = {
            **actors.model_dump(mode="json", exclude_none=True),
            "decisions": [decision.as_json() for decision in decisions],
            "unlinked": [ticket.as_json() for ticket in unlinked],
            "steps": [step.as_json() for step in steps],
        }
        print_json(session.as_json() | {name: value for name, value in known.items() if value})
        return
    print_fields(fields_of(session) | {name: by for name, by in actors if by is not None})
    if unlinked:
        typer.echo()
        print_table(
            ("Unlinked", "Ticket", "State"), [(item.left_at, item.jira_key, item.state) for item in unlinked]
        )
    print_steps(steps)
    if decisions:
        typer.echo()
        print_table(("When", "Decision", "Actor", "Reason"), map(action_row, decisions))
