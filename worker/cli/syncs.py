"""``threadsync syncs``: the syncs of sessions, and the decisions about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from worker.cli.place import Place, find_session
from worker.cli.signature import Actor, Reason, signed

if TYPE_CHECKING:
    from threadsync.sessions import ThreadSession
    from threadsync.syncs import SyncAction, SyncDetail, SyncState
    from threadsync.ticket_steps import TicketStep
    from worker.db.pool import Pool

app = typer.Typer(help="Syncs: how sessions get their tickets.", no_args_is_help=True)

_OF_A_RESULT = ("made_with", "is_refused")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_syncs(
    state: Annotated[
        Literal["pending", "inflight", "retry_wait", "unknown", "blocked", "failed", "review", "done"] | None,
        typer.Option(help="Only in this state."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Maximum number of rows.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue after this session ID.")] = None,
    as_json: _Json = False,
) -> None:
    """List syncs with state and reason, those of the newest sessions first."""
    from worker.cli.database import database
    from worker.cli.output import print_json, print_table, say
    from worker.db.paging import parse_cursor
    from worker.db.syncs.store import SyncStore

    with database() as pool:
        before = parse_cursor(cursor) if cursor else None
        syncs = SyncStore(pool).list_syncs(state, limit + 1, before)
    page = syncs[:limit]
    if as_json:
        print_json([sync.as_json() for sync in page])
        return
    columns = ("Session", "Channel", "Thread", "State", "Ticket", "Creates", "Next attempt", "Reason")
    print_table(columns, map(_row, page))
    if len(syncs) > limit:
        say(f"More rows: --cursor {page[-1].session_id}")


@app.command()
def show(
    place: Place,
    draft: Annotated[bool, typer.Option("--draft", help="Also show the draft.")] = False,
    as_json: _Json = False,
) -> None:
    """Show one sync: state, attempts and decisions. JSON includes the draft."""
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
        typer.Argument(metavar="ID | CHANNEL THREAD_TS", help="The session's ID, or its thread."),
    ] = None,
    all_blocked: Annotated[
        bool, typer.Option("--all-blocked", help="All blocked syncs, after the configuration was fixed.")
    ] = False,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Retry a sync now. It first looks for a ticket that an earlier attempt may have created."""
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
        typer.Argument(metavar="ID | CHANNEL THREAD_TS, then KEY", help="The session and the ticket's key."),
    ],
    reason: Reason,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Link an existing ticket to the session. No other ticket is created."""
    from worker.cli.database import database
    from worker.cli.output import print_result
    from worker.operate import decisions

    *named, key = place
    if not named:
        raise typer.BadParameter("give the session, then the ticket's key")
    by = signed(actor, reason)
    with database() as pool:
        linked, sentence = decisions.link(pool, _session(pool, named), key, by)
    print_result(linked.as_json(), sentence, as_json=as_json)


@app.command()
def unlink(
    place: Place,
    reason: Reason,
    key: Annotated[
        str | None, typer.Option(help="Unlink only this ticket. Default: the one that the session has.")
    ] = None,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Unlink the session's ticket. Another one is created only on a new request."""
    from worker.cli.database import database
    from worker.cli.output import print_result
    from worker.operate import decisions

    by = signed(actor, reason)
    with database() as pool:
        left, sentence = decisions.unlink(pool, _session(pool, place), by, key)
    print_result(left.as_json(), sentence, as_json=as_json)


@app.command("give-up")
def give_up(place: Place, reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """End a sync without a ticket. A later retry or a new draft starts it again."""
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
    from worker.cli.output import print_result

    print_result(sync.as_json(), f"{sync.summary()}. {sentence}", as_json=as_json)


def _say_how_many(ids: Sequence[UUID], *, as_json: bool) -> None:
    from worker.cli.output import print_result
    from worker.operate.decisions import SOON

    sentence = f"Retried: {len(ids)}. {SOON}" if ids else "No sync is blocked."
    print_result([str(session_id) for session_id in ids], sentence, as_json=as_json)


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
    from threadsync.channel_settings.resolution import describe
    from threadsync.reasons import explain
    from worker.cli.output import fields_of, print_fields, print_table

    sync = detail.sync
    fields = fields_of(sync, exclude={"reason", "parked", "attempts", "duplicates", *_OF_A_RESULT})
    fields |= {
        "made with": describe(sync.made_with) if sync.made_with else None,
        "reason": explain(sync.reason) or None,
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
        columns = ("No.", "Step", "Started", "Took", "Outcome", "HTTP", "Trace ID", "Reason")
        print_table(columns, map(_attempt_row, detail.attempts))
    if detail.unlinked:
        typer.echo()
        rows = [(gone.left_at, gone.jira_key, gone.state, gone.detail) for gone in detail.unlinked]
        print_table(("Unlinked", "Ticket", "State", "Jira says"), rows)
    print_steps(detail.steps)
    if detail.actions:
        typer.echo()
        print_table(("When", "Decision", "Actor", "Reason"), map(action_row, detail.actions))


def print_steps(steps: Sequence[TicketStep]) -> None:
    """Print what follows the session's tickets, if anything does."""
    from worker.cli.output import marked, print_table

    if steps:
        typer.echo()
        columns = ("Ticket", "Step", "State", "Next attempt", "Jira says")
        rows = [
            (step.jira_key, marked(step.name, step), step.state, step.next_attempt_at, step.said)
            for step in steps
        ]
        print_table(columns, rows)


def action_row(action: SyncAction) -> tuple[object, ...]:
    """Format a decision as a row."""
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
        attempt.outcome or "in progress",
        attempt.http_status,
        attempt.trace_id,
        why or None,
    )
