"""``threadsync dead``: messages that failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from worker.cli.signature import Actor, Reason, signed

if TYPE_CHECKING:
    from threadsync.dead_letters import DeadLetter

app = typer.Typer(help="Dead letters: messages that failed for good.", no_args_is_help=True)

_SHOWN_OF_AN_ERROR: Final = 200
_Id = Annotated[str, typer.Argument(metavar="ID", help="The dead letter's ID, from `list`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_letters(
    state: Annotated[
        Literal["dead", "retried", "discarded"],
        typer.Option(help="State of the dead letters; open ones are `dead`."),
    ] = "dead",
    limit: Annotated[int, typer.Option(min=1, max=200, help="Maximum number of rows.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue after this ID.")] = None,
    as_json: _Json = False,
) -> None:
    """List dead letters in one state, newest first."""
    from worker.cli.database import database
    from worker.cli.output import print_json, print_table, say
    from worker.db.dead_letters.store import DeadLetterStore
    from worker.db.paging import parse_cursor

    with database() as pool:
        before = parse_cursor(cursor) if cursor else None
        letters = DeadLetterStore(pool).list_by_state(state, limit + 1, before)
    page = letters[:limit]
    if as_json:
        print_json([letter.as_json() for letter in page])
        return
    print_table(("ID", "Failed", "Task", "Attempts", "Error", "Settled by"), map(_row, page))
    if len(letters) > limit:
        say(f"More rows: --cursor {page[-1].id}")


@app.command()
def show(letter_id: _Id, as_json: _Json = False) -> None:
    """Show one dead letter: its arguments, its error, and who settled it."""
    from worker.cli.database import database
    from worker.cli.output import fields_of, print_fields, print_json
    from worker.db.dead_letters.store import DeadLetterStore

    with database() as pool:
        letter = DeadLetterStore(pool).get(letter_id)
    if as_json:
        print_json(letter.as_json())
        return
    body = f"{len(letter.body)} bytes; --json prints them in base64" if letter.body else None
    print_fields({**fields_of(letter, exclude={"body"}), "body": body})


@app.command()
def retry(letter_id: _Id, reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """Send the command again as a new task, and record actor and reason."""
    from worker.cli.database import database
    from worker.cli.output import print_result
    from worker.operate import decisions

    by = signed(actor, reason)
    with database() as pool:
        letter, task_id = decisions.replay(pool, letter_id, by)
    sentence = f"Sent {letter.task_name} again, as task {task_id}."
    print_result({**letter.as_json(), "new_task_id": task_id}, sentence, as_json=as_json)


@app.command()
def discard(letter_id: _Id, reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """Discard the command, and record actor and reason. The dead letter is kept."""
    from worker.cli.database import database
    from worker.cli.output import print_result
    from worker.operate import decisions

    by = signed(actor, reason)
    with database() as pool:
        letter = decisions.discard(pool, letter_id, by)
    print_result(letter.as_json(), f"Discarded {letter.task_name} {letter.id}.", as_json=as_json)


def _row(letter: DeadLetter) -> tuple[object, ...]:
    from worker.cli.output import marked

    error = f"{letter.error_type}: {letter.error}"
    if len(error) > _SHOWN_OF_AN_ERROR:
        error = f"{error[:_SHOWN_OF_AN_ERROR]}…"
    return letter.id, letter.died_at, letter.task_name, letter.attempts, marked(error, letter), letter.actor
