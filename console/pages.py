"""The console's pages. Each is a GET, runs in a thread, and changes nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, get_args

from starlette.requests import Request
from starlette.responses import Response

from console.access import actor_of
from console.chart import SPANS, Chart, Span, chart
from console.timeline import timeline
from console.view import View, to_path
from threadsync.commands import GetContext
from threadsync.dead_letters import DeadLetterState
from threadsync.errors import InvalidCommand, SyncNotFound
from threadsync.queues import QUEUES
from threadsync.sessions import ThreadSession
from threadsync.syncs import SyncStatus
from threadsync.types import Status
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.overview.changed import ChangedStore
from worker.db.overview.store import OverviewStore, Series
from worker.db.pool import Pool
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore
from worker.operate.decisions import detail_of

Page = Callable[..., Response]

PAGE_SIZE: Final = 50
WAITING: Final = ("blocked", "failed", "review", "unknown", "retry_wait", "inflight", "pending")
"""States of syncs that are not done; those that need attention come first."""

NEEDS_ATTENTION: Final = ("blocked", "failed", "review")
# Colours of the style sheet: blue, orange, green, violet, red.
_STEPS: Final = {"opened": 0, "ready": 1, "synced": 2}
_ATTEMPTS: Final = {"created": 2, "found": 0, "refused": 4, "no response, or postponed": 1}
_OUTCOMES: Final = {"no answer, or later": "no response, or postponed"}
_WAITS: Final = dict(zip(QUEUES, (0, 1, 3, 2), strict=True))


def signed_in(page: Page) -> Page:
    """Show a page only to signed-in visitors; others sign in first, and come back."""

    @functools.wraps(page)
    def guarded(self: Any, request: Request, *refusal: Any, **form: str) -> Response:
        if actor_of(request) is None and _is_a_refresh(request):
            # A part of a page cannot show the form: the whole page must go there.
            return Response(headers={"HX-Redirect": f"{request.scope.get('root_path', '')}/sign-in"})
        if actor_of(request) is None:
            path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
            return to_path(request, "/sign-in", {"then": path} if path != "/" else None)
        return page(self, request, *refusal, **form)

    return guarded


class Pages:
    """The pages, over ``pool``."""

    def __init__(self, pool: Pool, view: View) -> None:
        self._pool = pool
        self._view = view

    @signed_in
    def overview(self, request: Request) -> Response:
        """Show counts, what needs attention, and activity over time."""
        name = _one_of(given(request, "span"), tuple(SPANS), "span") or "24h"
        span = SPANS[name]
        changed = ChangedStore(self._pool)
        attention = [sync for state in NEEDS_ATTENTION for sync in changed.syncs(state, 10).rows]
        return self._view.page(
            request,
            "overview",
            counts=OverviewStore(self._pool).counts(),
            syncs=attention[:10],
            letters=changed.dead_letters("dead", 10).rows,
            # A refresh replaces the counts alone.
            charts=[] if _is_a_refresh(request) else self._charts(span),
            span=span,
            request_span=name,
            spans=SPANS,
        )

    @signed_in
    def sessions(self, request: Request) -> Response:
        """List sessions, last changed first: by status and channel, or by a search."""
        status, channel, text = (given(request, name) for name in ("status", "channel", "q"))
        checked = _one_of(status, get_args(Status), "status")
        found: list[ThreadSession] = []
        error, following = None, None
        try:
            if text:
                found = OverviewStore(self._pool).find(text)
            else:
                wanted = checked_id(self._view.names.channel_of(channel)) if channel else None
                page = ChangedStore(self._pool).sessions(wanted, checked, PAGE_SIZE, given(request, "cursor"))
                found, following = page.rows, page.following
        except InvalidCommand as exc:
            error = str(exc)
        return self._view.page(
            request,
            "sessions",
            400 if error else 200,
            error=error,
            found=found,
            sites=SyncStore(self._pool).sites_of([session.id for session in found if session.jira_key]),
            following=following,
            statuses=get_args(Status),
            asked={"status": status, "channel": channel, "q": text},
        )

    @signed_in
    def session(self, request: Request, error: str | None = None, status: int = 200, **form: str) -> Response:
        """Show one session, also after a refused decision: ``form`` has what was filled in."""
        session = self.find_session(request)
        try:
            detail = detail_of(self._pool, session)
        except SyncNotFound:
            detail = None
        decisions = None if detail else SyncStore(self._pool).actions(session.id)
        ready_at, synced_at = OverviewStore(self._pool).steps(session.id)
        return self._view.page(
            request,
            "session",
            status,
            error=error,
            form=form,
            session=session,
            detail=detail,
            can_retry=detail is not None
            and detail.sync.state in ("retry_wait", "unknown", "blocked", "failed", "review"),
            needs_attention=detail is not None and detail.sync.state in NEEDS_ATTENTION,
            can_give_up=detail is not None and detail.sync.state not in ("inflight", "done"),
            unlinked=SyncStore(self._pool).unlinked.of(session.id),
            steps=SyncStore(self._pool).steps.of(session.id),
            timeline=timeline(
                session, ready_at, synced_at, detail, decisions, OverviewStore(self._pool).actors(session.id)
            ),
        )

    @signed_in
    def draft(self, request: Request) -> Response:
        """Show the draft, on a page of its own."""
        session = self.find_session(request)
        detail = detail_of(self._pool, session)
        return self._view.page(
            request, "draft", session=session, draft=detail.draft, drafted_at=detail.drafted_at
        )

    @signed_in
    def syncs(self, request: Request, error: str | None = None, status: int = 200, **form: str) -> Response:
        """List syncs, last changed first, also after a refused decision."""
        wanted = _one_of(given(request, "state"), get_args(SyncStatus), "state")
        cursor = given(request, "cursor")
        store = ChangedStore(self._pool)
        if wanted:
            page = store.syncs(wanted, PAGE_SIZE, cursor)
            found, following = page.rows, page.following
        else:
            found = [sync for state in WAITING for sync in store.syncs(state, PAGE_SIZE).rows]
            following = None
        counts = OverviewStore(self._pool).counts().syncs
        return self._view.page(
            request,
            "syncs",
            status,
            error=error,
            form=form,
            found=found,
            following=following,
            state=wanted,
            states=(*WAITING, "done"),
            counts=counts,
            # Without a state each has at most one page.
            left_out=[state for state in WAITING if not wanted and counts[state] > PAGE_SIZE],
        )

    @signed_in
    def letters(self, request: Request) -> Response:
        """List dead letters in one state, last changed first."""
        state: DeadLetterState = _one_of(
            given(request, "state") or "dead", get_args(DeadLetterState), "state"
        )
        page = ChangedStore(self._pool).dead_letters(state, PAGE_SIZE, given(request, "cursor"))
        return self._view.page(
            request,
            "letters",
            found=page.rows,
            following=page.following,
            state=state,
            states=get_args(DeadLetterState),
        )

    @signed_in
    def letter(self, request: Request, error: str | None = None, status: int = 200, **form: str) -> Response:
        """Show one dead letter, also after a refused decision."""
        letter = DeadLetterStore(self._pool).get(request.path_params["id"])
        return self._view.page(request, "letter", status, error=error, form=form, letter=letter)

    @signed_in
    def audit(self, request: Request) -> Response:
        """List decisions, newest first."""
        found = OverviewStore(self._pool).decisions(PAGE_SIZE + 1, given(request, "cursor"))
        following = found[PAGE_SIZE - 1].cursor if len(found) > PAGE_SIZE else None
        of_tickets = [one.session_id for one in found if one.session_id and one.jira_key]
        sites = SyncStore(self._pool).sites_of(of_tickets)
        return self._view.page(request, "audit", found=found[:PAGE_SIZE], following=following, sites=sites)

    @signed_in
    def forget(self, request: Request, error: str | None = None, status: int = 200, **form: str) -> Response:
        """Show the forms, also after a refusal."""
        return self._view.page(request, "forget", status, error=error, form=form)

    def find_session(self, request: Request) -> ThreadSession:
        """Find the session that the path names. Raises ``SyncNotFound`` or ``InvalidCommand``."""
        session = SessionStore(self._pool).get_session(request.path_params["id"])
        if session is None:
            raise SyncNotFound(f"no session has the ID {request.path_params['id']}")
        return session

    def _charts(self, span: Span) -> list[Chart]:
        store, now = OverviewStore(self._pool), datetime.now(UTC)
        size = span.seconds, span.bucket
        steps, attempts, waits = (
            store.steps_over_time(*size),
            _renamed(store.attempts_over_time(*size)),
            store.waits_over_time(*size),
        )
        return [
            chart("Sessions opened, ready, synced", steps, _STEPS, span, now),
            chart("Ticket attempts by outcome", attempts, _ATTEMPTS, span, now),
            chart("Oldest waiting message in each queue", waits, _WAITS, span, now, kind="lines", unit=" s"),
        ]


def _renamed(series: Series) -> Series:
    return {_OUTCOMES.get(name, name): points for name, points in series.items()}


def _is_a_refresh(request: Request) -> bool:
    """Return True for htmx, which asks for a part of the page."""
    return request.headers.get("hx-request") == "true"


def checked_id(channel_id: str) -> str:
    """Return what may be the id of a channel. Raises ``InvalidCommand``."""
    return GetContext(channel_id=channel_id).channel_id


def given(request: Request, name: str) -> str | None:
    return request.query_params.get(name, "").strip() or None


def _one_of(value: str | None, allowed: tuple[Any, ...], name: str) -> Any:
    if value is not None and value not in allowed:
        raise InvalidCommand(f"{name}: must be one of {', '.join(allowed)}")
    return value
