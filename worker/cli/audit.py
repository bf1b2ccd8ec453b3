"""``threadsync audit``: what people decided."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="What people decided about syncs and dead letters.", no_args_is_help=True)


@app.command("list")
def list_decisions(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where the last page ended.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, on stdout alone.")] = False,
) -> None:
    """Who decided what about which thread or letter, when and why; newest first."""
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
    print_table(("When", "Who", "Decision", "About", "Session or letter", "Because"), rows)
    if len(decisions) > limit:
        say(f"There are more: --cursor {page[-1].cursor}")
