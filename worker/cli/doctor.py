"""``threadsync doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.doctor.roles import Role

if TYPE_CHECKING:
    from worker.doctor.finding import Finding, Level

_MARKS: Final[dict[Level, str]] = {
    "ok": "[green]✓[/]",
    "info": "[blue]i[/]",
    "warning": "[yellow]![/]",
    "error": "[red]✗[/]",
    "skipped": "[dim]·[/]",
}

_ASCII_MARKS: Final[dict[Level, str]] = {"ok": "+", "warning": "!", "error": "x", "skipped": "-"}


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")] = False,
    flower_url: Annotated[str, typer.Option(help="URL of Flower.")] = "http://127.0.0.1:5555",
    role: Annotated[
        Role | None,
        typer.Option(
            help="Check only what concerns this process. Default: THREADSYNC_ROLE, else everything.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the whole configuration, and say what is wrong and how to fix it.

    It changes nothing, posts no message and creates no ticket. Exit code 0: no error; 1: at least one.
    """
    from rich.console import Console

    from worker.cli.output import print_json
    from worker.doctor.examination import examine

    found: dict[str, list[Finding]] = {}
    with Console(stderr=True).status("Checking Postgres, broker, Slack, Jira, Flower …") as status:
        for area, findings in examine(flower_url, role):
            found[area] = findings
            status.update(f"Checked: {', '.join(found)} …")
    everything = [finding for findings in found.values() for finding in findings]
    if as_json:
        print_json([vars(finding) for finding in everything])
    else:
        _show(found)
    levels = [finding.level for finding in everything]
    if "error" in levels or (strict and "warning" in levels):
        raise typer.Exit(1)


def _show(found: dict[str, list[Finding]]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from worker.cli.output import plain

    console = Console(highlight=False, soft_wrap=True)
    marks = _MARKS if _can_write("✓✗·→", console.encoding) else _ASCII_MARKS
    arrow = "→" if marks is _MARKS else "->"
    for findings in found.values():
        for finding in findings:
            console.print(
                f"{marks[finding.level]} [bold]{finding.check}[/]  {escape(plain(finding.message))}"
            )
            if finding.fix:
                console.print(f"    {arrow} {escape(plain(finding.fix))}")
    levels: list[str] = [finding.level for findings in found.values() for finding in findings]
    counts = [
        f"{levels.count('error')} errors",
        f"{levels.count('warning')} warnings",
        f"{levels.count('ok') + levels.count('info')} ok",
        f"{levels.count('skipped')} skipped",
    ]
    console.print(f"\n{', '.join(counts)}")


def _can_write(letters: str, encoding: str) -> bool:
    try:
        letters.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
