"""``threadsync syncs``: how sessions get their tickets, and what a person can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from worker.cli.place import Place, find_session
from worker.cli.signature import Actor, Reason, signed
from worker.errors import SyncNotChanged, SyncNotFound

if TYPE_CHECKING:
    from worker.db.models import ThreadSession
    from worker.db.pool import Pool
    from worker.db.sync_models import SyncDetail, SyncState

app = typer.Typer(help="How sessions get their tickets.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="As JSON, on stdout alone.")]
_SOON = "A worker takes it up within seconds."


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
    from worker.db.statements import parse_cursor
    from worker.db.sync_store import SyncStore

    with database() as pool:
        before = parse_cursor(cursor) if cursor else None
        syncs = SyncStore(pool).list_syncs(state, limit + 1, before)
    page = syncs[:limit]
    if as_json:
        print_json([sync.model_dump(mode="json") for sync in page])
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

    with database() as pool:
        detail = _detail(pool, _session(pool, place))
    if as_json:
        print_json(detail.model_dump(mode="json"))
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
    from worker.db.sync_store import SyncStore

    if bool(place) == all_blocked:
        raise typer.BadParameter("give one session, or --all-blocked")
    actor, reason = signed(actor, reason)
    with database() as pool:
        store = SyncStore(pool)
        if all_blocked:
            ids = store.retry_all_blocked(actor=actor, reason=reason)
            _say_how_many(ids, as_json=as_json)
            return
        session = _session(pool, place or [])
        before = _detail(pool, session).sync
        if not store.retry(session.id, actor=actor, reason=reason):
            raise _not_changed(_detail(pool, session).sync, "retry")
        _say(_detail(pool, session).sync, f"Tried again. {_what_next(before)}", as_json=as_json)


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
    from worker.cli.output import print_json
    from worker.db.session_store import SessionStore
    from worker.db.sync_store import SyncStore

    *named, key = place
    if not named:
        raise typer.BadParameter("give the session, and then the ticket's key")
    actor, reason = signed(actor, reason)
    with database() as pool:
        session = _session(pool, named)
        linked = SessionStore(pool).mark_synced(session.channel_id, session.thread_ts, key)
        store = SyncStore(pool)
        sync = store.get_state(session.id)
        if sync:
            store.note_link(session.id, actor=actor, reason=reason)
    if as_json:
        print_json(linked.model_dump(mode="json"))
        return
    typer.echo(f"Linked {session.channel_id} / {session.thread_ts} to {linked.jira_key}: {linked.outcome}.")
    if sync and sync.state in ("inflight", "unknown"):
        typer.echo("A create may have made another ticket: it is looked for, and reported if it is there.")
    elif sync and sync.state != "done":
        # It had the ticket before, and a person was to look at the sync since.
        typer.echo(
            f"Its sync is still {sync.state}. To end it: threadsync syncs retry {session.id} --reason …"
        )


@app.command("give-up")
def give_up(place: Place, reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """End it without a ticket. A later retry, or another draft, begins again."""
    from worker.cli.database import database
    from worker.db.sync_store import SyncStore

    actor, reason = signed(actor, reason)
    with database() as pool:
        session = _session(pool, place)
        if not SyncStore(pool).give_up(session.id, actor=actor, reason=reason):
            raise _not_changed(_detail(pool, session).sync, "give up")
        detail = _detail(pool, session)
        sentence = "Given up."
        if any(attempt.step == "create" and attempt.outcome == "unknown" for attempt in detail.attempts):
            sentence += " A create may have made a ticket: nobody looks for it before the next retry."
        _say(detail.sync, sentence, as_json=as_json)


def _session(pool: Pool, place: list[str]) -> ThreadSession:
    from worker.db.session_store import SessionStore

    return find_session(SessionStore(pool), place)


def _detail(pool: Pool, session: ThreadSession) -> SyncDetail:
    from worker.db.sync_store import SyncStore

    detail = SyncStore(pool).get(session.id)
    if detail is None:
        raise SyncNotFound(f"nobody asked for a ticket of {session.channel_id} / {session.thread_ts}")
    return detail


def _not_changed(sync: SyncState, what: str) -> SyncNotChanged:
    match sync.state:
        case "done":
            why = f"it is done: {sync.jira_key}"
        case "inflight":
            why = "a create is under way, and cannot be called back; try again in a minute"
        case "pending":
            why = "it is about to be tried anyhow"
        case _:
            why = "a worker has it at the moment; try again in a minute"
    return SyncNotChanged(f"cannot {what} {sync.channel_id} / {sync.thread_ts}: {why}")


def _what_next(before: SyncState) -> str:
    from worker.jira.reasons import explain

    # Alone it would only wait for its site once more.
    return f"But all syncs of its site wait: {explain(before.reason)}" if before.parked else _SOON


def _say(sync: SyncState, sentence: str, *, as_json: bool) -> None:
    from worker.cli.output import print_json

    if as_json:
        print_json(sync.model_dump(mode="json"))
    else:
        typer.echo(f"{sync.summary()}. {sentence}")


def _say_how_many(ids: list[UUID], *, as_json: bool) -> None:
    from worker.cli.output import print_json

    if as_json:
        print_json([str(session_id) for session_id in ids])
    else:
        typer.echo(f"Tried again: {len(ids)}. {_SOON}" if ids else "Nothing is blocked.")


def _row(sync: SyncState) -> tuple[object, ...]:
    from worker.jira.reasons import explain

    return (
        sync.session_id,
        sync.channel_id,
        sync.thread_ts,
        sync.state,
        sync.jira_key,
        sync.attempts,
        sync.next_attempt_at if sync.state != "done" else None,
        explain(sync.reason) or None,
    )


def _print_sync(detail: SyncDetail, *, with_draft: bool) -> None:
    from worker.cli.output import print_fields, print_table
    from worker.jira.reasons import explain

    sync = detail.sync
    fields: dict[str, Any] = sync.model_dump(exclude={"reason", "parked", "attempts", "duplicates"})
    fields |= {
        "why": explain(sync.reason) or None,
        "jira says": detail.detail,
        "other tickets": ", ".join(sync.duplicates) or None,
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
    if detail.actions:
        typer.echo()
        rows = [(action.at, action.action, action.actor, action.reason) for action in detail.actions]
        print_table(("When", "Decision", "By", "Because"), rows)


def _attempt_row(attempt: Any) -> tuple[object, ...]:
    from worker.jira.reasons import explain

    took = attempt.finished_at and f"{(attempt.finished_at - attempt.started_at).total_seconds():.1f} s"
    why = " ".join(part for part in (explain(attempt.reason), attempt.detail) if part)
    return (
        attempt.number,
        attempt.step,
        attempt.started_at,
        took,
        attempt.outcome or "under way",
        attempt.http_status,
        attempt.trace_id,
        why or None,
    )
