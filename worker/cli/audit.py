"""``threadsync audit``: the decisions of operators and users."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Show the audit trail: decisions about syncs and dead letters.", no_args_is_help=True)


@app.command("list")
def list_decisions(
    limit: Annotated[int, typer.Option(min=1, max=200, help="Maximum number of rows.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue after the last page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List decisions with actor, subject and reason, newest first."""
    from worker.cli.database import database
    from worker.cli.output import marked, print_json, print_table, say
    from worker.db.overview.store import OverviewStore

    with database() as pool:
        decisions = OverviewStore(pool).decisions(limit + 1, cursor)
    page = decisions[:limit]
    if as_json:
        print_json([decision.as_json() for decision in page])
        return
    rows = [
        (
            decision.at,
            decision.by,
            marked(decision.action, decision),
            f"{decision.channel_id} / {decision.thread_ts}" if decision.session_id else decision.task_name,
            decision.session_id or decision.dead_letter_id,
            decision.reason,
        )
        for decision in page
    ]
    print_table(("When", "Actor", "Decision", "Subject", "Session or dead letter", "Reason"), rows)
    if len(decisions) > limit:
        say(f"More rows: --cursor {page[-1].cursor}")
