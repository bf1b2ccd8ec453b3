"""``threadsync sessions import``."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

if TYPE_CHECKING:
    from worker.db.pool import Pool
    from worker.operate.importing.bookmark import Bookmarks, Tally
    from worker.operate.importing.importer import Importer
    from worker.operate.importing.lines import Place
    from worker.operate.importing.source import Source

SOME_LINES_ARE_BAD: Final = 1
NOT_FINISHED: Final = 3


def import_sessions(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, one session each; - is stdin.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue after the last imported line.")] = False,
    errors: Annotated[Path | None, typer.Option(help="Write bad lines to this file, as JSON lines.")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait while Postgres is away.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object.")] = False,
) -> None:
    """Import sessions from a file. Safe to repeat.

    A line has channel_id, thread_ts and user_id, and may have status and jira_key. No session is moved back,
    and no ticket key replaced. Exit code 1: some lines are bad, the rest is in. 3: stopped before the end.
    """
    from worker.cli.database import database
    from worker.cli.import_report import ImportReport
    from worker.cli.signature import login_actor
    from worker.cli.stop_request import StopRequest
    from worker.db.sessions.store import SessionStore
    from worker.operate.importing.at_work import AT_ONCE
    from worker.operate.importing.importer import Importer
    from worker.operate.importing.source import Source

    # The importer reports a lost connection itself.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    with Source(file) as source, StopRequest() as request, database(AT_ONCE) as pool:
        bookmarks = _bookmarks(file, source, pool)
        place, tally = _beginning(bookmarks, resume=resume)
        with _open_errors(errors, file, place) as bad, ImportReport(source.size, bad) as report:
            if resume:
                report.say(f"Starting at line {place.line + 1}.")
            importer = Importer(
                SessionStore(pool),
                bookmarks,
                report,
                place=place,
                tally=tally,
                patience=patience,
                stopped=request.wanted,
                actor=login_actor(),
            )
            finished = importer.run(source.reader(place.offset, importer.is_over))
    _summarize(importer, finished=finished, as_json=as_json)
    if not finished:
        raise typer.Exit(NOT_FINISHED)
    if tally.bad:
        raise typer.Exit(SOME_LINES_ARE_BAD)


def _bookmarks(file: Path, source: Source, pool: Pool) -> Bookmarks | None:
    from worker.db.driver_errors import translated
    from worker.operate.importing.bookmark import Bookmarks

    if source.size is None:
        return None
    with translated(), pool.connection() as connection:
        info = connection.info
        return Bookmarks(file, source.descriptor, f"{info.host}:{info.port}/{info.dbname}")


def _beginning(bookmarks: Bookmarks | None, *, resume: bool) -> tuple[Place, Tally]:
    from worker.operate.importing.bookmark import Tally
    from worker.operate.importing.lines import Place

    if resume and bookmarks is None:
        raise typer.BadParameter("a stream cannot be resumed; import it again from the start, which is safe")
    bookmark = bookmarks.load() if resume and bookmarks else None
    return (bookmark.place, bookmark.tally) if bookmark else (Place(), Tally())


def _open_errors(errors: Path | None, file: Path, place: Place) -> AbstractContextManager[TextIO | None]:
    if errors is None:
        return nullcontext()
    if errors.exists() and file.exists() and errors.samefile(file):
        raise typer.BadParameter("--errors names the imported file")
    try:
        return errors.open("a" if place.line else "w", encoding="utf-8")
    except OSError as exc:
        raise typer.BadParameter(f"{errors}: {exc.strerror}") from exc


def _summarize(importer: Importer, *, finished: bool, as_json: bool) -> None:
    from worker.cli.output import print_json, say

    tally, next_line = importer.tally, importer.place.line + 1
    if as_json:
        place = {"finished": finished, "next_line": None if finished else next_line}
        print_json({"lines": tally.lines, **tally.model_dump(), **place})
    else:
        typer.echo(
            f"{tally.lines} lines: {tally.created} created, {tally.applied} moved forward, "
            f"{tally.unchanged} unchanged, {tally.bad} bad."
        )
    if not finished:
        say(f"Stopped before line {next_line}. --resume continues there; repeating everything is safe.")
