"""``threadsync forget``: threads, channels and people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.signature import Actor, Reason, signed

if TYPE_CHECKING:
    from threadsync.sessions import ThreadSession
    from worker.db.pool import Pool
    from worker.operate.forgetting.act import Forgotten

app = typer.Typer(
    help="Forget a thread, a channel or a person. Tickets stay, at most one per thread.", no_args_is_help=True
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def thread(
    place: Annotated[
        list[str],
        typer.Argument(
            metavar="LINK | ID | CHANNEL THREAD_TS",
            help="A link to a message in it, its session, or its thread.",
        ),
    ],
    reason: Reason,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Erase what was said in a thread and by whom. Later commands on it change nothing."""
    from worker.cli.database import database
    from worker.operate.forgetting.act import forget_thread

    by = signed(actor, reason)
    with database() as pool:
        _tell(forget_thread(pool, session_of(pool, place), by), as_json)


@app.command()
def channel(
    channel_id: Annotated[str, typer.Argument(metavar="CHANNEL", help="Its ID, such as C0123ABCD.")],
    reason: Reason,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Erase all threads that a channel has now, and its context."""
    from worker.cli.database import database
    from worker.operate.forgetting.act import forget_channel

    by = signed(actor, reason)
    with database() as pool:
        _tell(forget_channel(pool, channel_id, by), as_json)


@app.command()
def user(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="The user's ID, such as U0123ABCD.")],
    reason: Reason,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name of the person, such as in the console; may be repeated."),
    ] = None,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Erase what a person opened, drafted or did. What other people wrote stays."""
    from worker.cli.database import database
    from worker.operate.forgetting.act import forget_user

    by = signed(actor, reason)
    with database() as pool:
        _tell(forget_user(pool, user_id, name or [], by), as_json)


def session_of(pool: Pool, place: list[str]) -> ThreadSession:
    """Find the thread's session, or make one: there may be dead letters of it, and events to come."""
    from threadsync.errors import InvalidCommand
    from worker.db.overview.store import OverviewStore, thread_in
    from worker.db.sessions.store import SessionStore

    text = " ".join(place)
    found: list[ThreadSession] = OverviewStore(pool).find(text)
    if not found and (named := thread_in(text)):
        # Slack writes IDs in capitals, people do not: the tombstone must stand where events arrive.
        channel_id, thread_ts = named[0].upper(), named[1]
        found = [SessionStore(pool).get_or_create_session(channel_id, thread_ts, "forgotten")]
    if len(found) != 1:
        raise InvalidCommand(
            f"that names {len(found) or 'no'} threads: give a link to a message in one thread"
        )
    return found[0]


def _tell(forgotten: Forgotten, as_json: bool) -> None:
    from worker.cli.output import print_result

    print_result(forgotten.as_json(), forgotten.sentence(), as_json=as_json)
