"""Command line of ``make chaos``: ``python -m sandbox.chaos``."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sandbox.chaos.run import Broken, Tally, run
from worker.db.migrate import migrate
from worker.db.pool import new_pool
from worker.local.servers.postgres import EmbeddedPostgres
from worker.observe.logs import configure_logging

# The power is never cut here, so no write need wait for the disk.
_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


def main(
    runs: Annotated[int, typer.Option(min=1, help="How many sessions.")] = 1000,
    seed: Annotated[int | None, typer.Option(help="Of the first run; drawn if not given.")] = None,
) -> None:
    """Run sessions through every kind of fault, and count their tickets."""
    # The expected faults would log a hundred lines a second.
    configure_logging("CRITICAL")
    console = Console(stderr=True)
    first = secrets.randbelow(1_000_000_000) if seed is None else seed
    console.print(f"{runs} runs from seed {first}")
    began, tally, broken = time.monotonic(), Tally(), list[str]()
    with tempfile.TemporaryDirectory(prefix="threadsync-chaos-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres", settings=_SETTINGS)
        postgres.start()
        try:
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                migrate(connection)
            with new_pool(postgres.url) as pool:
                for number in track(range(runs), "Runs", console=console):
                    try:
                        tally.add(run(pool, first + number, f"{1_700_000_000 + number}.000100"))
                    except Broken as exc:
                        broken.append(str(exc))
        finally:
            postgres.stop()
    _report(Console(), tally, broken, time.monotonic() - began)
    raise typer.Exit(1 if broken else 0)


def _report(console: Console, tally: Tally, broken: list[str], seconds: float) -> None:
    for title, counts in (("Faults met", tally.faults), ("What happened", tally.events)):
        table = Table(title=title, title_justify="left", show_header=False)
        for name, count in counts.most_common():
            table.add_row(name, str(count))
        console.print(table)
    posts = ", ".join(f"{count} with {number}" for number, count in sorted(tally.attempts.items()))
    console.print(f"Creates a session: {posts}")
    for line in broken:
        console.print(f"[bold red]✗[/] {line}", soft_wrap=True)
    mark = "[bold red]✗[/]" if broken else "[green]✓[/]"
    console.print(
        f"{mark} {tally.runs} of {tally.runs + len(broken)} sessions have exactly one ticket, and its key; "
        f"{tally.faults.total()} faults met; {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.argv[0] = "make chaos"
    typer.run(main)
