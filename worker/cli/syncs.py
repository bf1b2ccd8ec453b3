"""``threadsync syncs``: how sessions get their tickets, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from worker.cli.place import Place, find_session
from worker.cli.signature import Actor, Reason, signed

if TYPE_CHECKING:
    from threadsync.models import ThreadSession
    from threadsync.syncs import SyncAction, SyncDetail, SyncState
    from worker.db.pool import Pool

app = typer.Typer(help="How sessions get their tickets.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="As JSON, on stdout alone.")]


@app.command("list")
def list_syncs(
    state: Annotated[
        Literal["pending", "inflight", "retry_wait", "unknown", "blocked", "failed", "review", "done"] | None,
        typer.Option(help="Only in this state."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind the session with this id.")] = None,
    as_json: _Json = False,
) -> None:
    """Syncs, those of the newest sessions first, and why they stand where they do."""
    from worker.cli.database import database
    from worker.cli.output import print_json, print_table, say
    from worker.db.sessions.statements import parse_cursor
    from worker.db.syncs.store import SyncStore

    with database() as pool:
        before = parse_cursor(cursor) if cursor else None
        syncs = SyncStore(pool).list_syncs(state, limit + 1, before)
    page = syncs[:limit]
    if as_json:
        print_json([sync.as_json() for sync in page])
        return
    columns = ("Session", "Channel", "Thread", "State", "Ticket", "Creates", "Next try", "Why")
    print_table(columns, map(_row, page))
    if len(syncs) > limit:
        say(f"There are more: --cursor {page[-1].session_id}")


@app.command()
def show(
    place: Place,
    draft: Annotated[bool, typer.Option("--draft", help="Also what the ticket is to say.")] = False,
    as_json: _Json = False,
) -> None:
    """One sync: how it stands, what was tried, and what people decided. JSON has the draft, too."""
    from worker.cli.database import database
    from worker.cli.output import print_json
    from worker.operate import decisions

    with database() as pool:
        detail = decisions.detail_of(pool, _session(pool, place))
    if as_json:
        print_json(detail.as_json())
        return
    _print_sync(detail, with_draft=draft)


@app.command()
def retry(
    reason: Reason,
    place: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID | CHANNEL THREAD_TS", help="The session's id, or its thread."),
    ] = None,
    all_blocked: Annotated[
        bool, typer.Option("--all-blocked", help="All that wait for a mended set-up, in place of one.")
    ] = False,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Try it again now. What may have been created is looked for first."""
    from worker.cli.database import database
    from worker.operate import decisions

    if bool(place) == all_blocked:
        raise typer.BadParameter("give one session, or --all-blocked")
    by = signed(actor, reason)
    with database() as pool:
        if all_blocked:
            _say_how_many(decisions.retry_all_blocked(pool, by), as_json=as_json)
        else:
            sync, sentence = decisions.retry(pool, _session(pool, place or []), by)
            _say(sync, sentence, as_json=as_json)


@app.command()
def link(
    place: Annotated[
        list[str],
        typer.Argument(metavar="ID | CHANNEL THREAD_TS, then KEY", help="The session, and its ticket's key."),
    ],
    reason: Reason,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Name the session's ticket yourself. No other is created for it."""
    from worker.cli.database import database
    from worker.cli.output import print_json, tell
    from worker.operate import decisions

    *named, key = place
    if not named:
        raise typer.BadParameter("give the session, and then the ticket's key")
    by = signed(actor, reason)
    with database() as pool:
        linked, sentence = decisions.link(pool, _session(pool, named), key, by)
    if as_json:
        print_json(linked.as_json())
    else:
        tell(sentence)


@app.command()
def unlink(
    place: Place,
    reason: Reason,
    key: Annotated[
        str | None, typer.Option(help="Only if the session has this ticket. Default: whichever it has.")
    ] = None,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Take the session's ticket off. Only a ticket that is asked for anew takes its place."""
    from worker.cli.database import database
    from worker.cli.output import print_json, tell
    from worker.operate import decisions

    by = signed(actor, reason)
    with database() as pool:
        left, sentence = decisions.unlink(pool, _session(pool, place), by, key)
    if as_json:
        print_json(left.as_json())
    else:
        tell(sentence)


@app.command("give-up")
def give_up(place: Place, reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """End it without a ticket. A later retry, or another draft, begins again."""
    from worker.cli.database import database
    from worker.operate import decisions

    by = signed(actor, reason)
    with database() as pool:
        sync, sentence = decisions.give_up(pool, _session(pool, place), by)
    _say(sync, sentence, as_json=as_json)


def _session(pool: Pool, place: list[str]) -> ThreadSession:
    from worker.db.sessions.store import SessionStore

    return find_session(SessionStore(pool), place)


def _say(sync: SyncState, sentence: str, *, as_json: bool) -> None:
    from worker.cli.output import print_json, tell

    if as_json:
        print_json(sync.as_json())
    else:
        tell(f"{sync.summary()}. {sentence}")


def _say_how_many(ids: Sequence[UUID], *, as_json: bool) -> None:
    from worker.cli.output import print_json
    from worker.operate.decisions import SOON

    if as_json:
        print_json([str(session_id) for session_id in ids])
    else:
        typer.echo(f"Tried again: {len(ids)}. {SOON}" if ids else "Nothing is blocked.")


def _row(sync: SyncState) -> tuple[object, ...]:
    from threadsync.reasons import explain
    from worker.cli.output import marked

    return (
        sync.session_id,
        sync.channel_id,
        sync.thread_ts,
        marked(sync.state, sync),
        sync.jira_key,
        sync.attempts,
        sync.next_attempt_at if sync.state != "done" else None,
        explain(sync.reason) or None,
    )


def _print_sync(detail: SyncDetail, *, with_draft: bool) -> None:
    from threadsync.reasons import explain
    from worker.cli.output import fields_of, print_fields, print_table

    sync = detail.sync
    fields = fields_of(sync, exclude={"reason", "parked", "attempts", "duplicates"})
    fields |= {
        "why": explain(sync.reason) or None,
        "jira says": detail.detail,
        "other tickets": ", ".join(sync.duplicates) or None,
        "slack says": detail.slack_trouble,
        "marker": detail.marker,
        "drafted_at": detail.drafted_at,
    }
    if with_draft:
        fields |= {f"draft.{name}": value for name, value in detail.draft.model_dump().items()}
    print_fields(fields)
    if detail.attempts:
        typer.echo()
        columns = ("No.", "Step", "Started", "Took", "Outcome", "HTTP", "Trace id", "Why")
        print_table(columns, map(_attempt_row, detail.attempts))
    if detail.unlinked:
        typer.echo()
        rows = [(gone.left_at, gone.jira_key, gone.state, gone.detail) for gone in detail.unlinked]
        print_table(("Taken off", "Ticket", "State", "Jira says"), rows)
    if detail.actions:
        typer.echo()
        print_table(("When", "Decision", "By", "Because"), map(action_row, detail.actions))


def action_row(action: SyncAction) -> tuple[object, ...]:
    """A decision as a line."""
    from worker.cli.output import marked

    what = " ".join(filter(None, (marked(action.action, action), action.jira_key)))
    return (action.at, what, action.by, action.reason or None)


def _attempt_row(attempt: Any) -> tuple[object, ...]:
    from threadsync.reasons import explain
    from worker.cli.output import marked

    took = attempt.finished_at and f"{(attempt.finished_at - attempt.started_at).total_seconds():.1f} s"
    why = " ".join(part for part in (explain(attempt.reason), attempt.detail) if part)
    return (
        attempt.number,
        marked(attempt.step, attempt),
        attempt.started_at,
        took,
        attempt.outcome or "under way",
        attempt.http_status,
        attempt.trace_id,
        why or None,
    )
