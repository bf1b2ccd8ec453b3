"""The console's ASGI app, mounted at ``/console``, with a few connections to Postgres of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import structlog
from anyio import CapacityLimiter, to_thread
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access import SignIns, Visitors
from console.actions import Actions
from console.channel_pages import ChannelPages
from console.door import Door
from console.names import SlackNames
from console.pages import Pages
from console.view import View
from threadsync.config import Settings
from threadsync.errors import (
    DatabaseUnavailable,
    DeadLetterNotFound,
    InvalidCommand,
    SessionNotFound,
    SyncNotFound,
    ThreadsyncError,
    TransientError,
)
from worker.db.console_login.functions import ConsolePool
from worker.db.driver_errors import translated
from worker.db.pool import Pool, new_pool
from worker.observe.line_limit import LineLimit
from worker.operate.password_strength import refuse_weak_password

NEEDED_SETTINGS: Final = ("threadsync_console_password", "database_url", "broker_url")

_PIECE_BYTES: Final = 16_384
_PROBE_SECONDS: Final = 2.5
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    # A form's POST is recognised by its origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

log = structlog.get_logger("threadsync.console")
_troubles: Final = LineLimit("page not shown")


@dataclass(frozen=True)
class Console:
    """The console, and its view of the database."""

    app: Starlette
    pool: Pool
    limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))

    async def database_answers(self) -> bool:
        """Ask Postgres through the console's pool; False after ``_PROBE_SECONDS``."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await to_thread.run_sync(self._asked, limiter=self.limiter, abandon_on_cancel=True)
        except TimeoutError:
            return False

    def _asked(self) -> bool:
        try:
            with translated(), self.pool.connection() as connection:
                connection.execute("SELECT 1")
        except ThreadsyncError:
            return False
        return True


def create_console(settings: Settings) -> Console:
    """Build the console; it connects to nothing before its lifespan begins. Raises ``InvalidSettings``."""
    settings.require(*NEEDED_SETTINGS)
    refuse_weak_password(settings)
    password = _revealed(settings.threadsync_console_password)
    pool = new_pool(_revealed(settings.database_url), min_size=0, max_size=3, kind=ConsolePool)
    view = View(settings.jira_url, SlackNames.of_settings(settings))
    sign_ins = SignIns(pool, password)
    pages, actions = Pages(pool, view), Actions(pool, view, Door(password), sign_ins)
    channels = ChannelPages(pool, view)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # The pool connects on first use: the database may be away.
        pool.open(wait=False)
        try:
            yield
        finally:
            await run_in_threadpool(pool.close)

    app = Starlette(
        routes=[
            Route("/", pages.overview, name="overview"),
            Route("/sign-in", actions.sign_in, methods=["GET", "POST"], name="sign-in"),
            Route("/sign-out", actions.sign_out, methods=["POST"], name="sign-out"),
            Route("/sessions", pages.sessions, name="sessions"),
            Route("/sessions/{id}", pages.session, name="session"),
            Route("/sessions/{id}/draft", pages.draft, name="draft"),
            Route("/sessions/{id}/{action}", actions.decide_sync, methods=["POST"], name="decide-sync"),
            Route("/syncs", pages.syncs, name="syncs"),
            Route("/syncs/retry-blocked", actions.retry_blocked, methods=["POST"], name="retry-blocked"),
            Route("/dead", pages.letters, name="letters"),
            Route("/dead/{id}", pages.letter, name="letter"),
            Route("/dead/{id}/{action}", actions.settle_letter, methods=["POST"], name="settle-letter"),
            Route("/audit", pages.audit, name="audit"),
            Route("/channels", channels.channels, name="channels"),
            Route("/channels/{id}", channels.channel, name="channel"),
            Route("/channels/{id}/{action}", actions.configure, methods=["POST"], name="configure"),
            Route("/forget", pages.forget, name="forget"),
            Route("/forget/{what}", actions.forget, methods=["POST"], name="forget-what"),
            Mount("/static", _Static(directory=Path(__file__).parent / "static"), name="static"),
        ],
        middleware=[Middleware(_Headers), Middleware(Visitors, sign_ins=sign_ins)],
        exception_handlers={ThreadsyncError: _shown(view), HTTPException: _shown_http(view)},
        lifespan=lifespan,
    )
    # Starlette would redirect to any host that a request names.
    app.router.redirect_slashes = False
    return Console(app, pool)


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


class _Static(StaticFiles):
    """Send a file in small pieces, so that a client that does not read holds only one in memory."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        answer = super().file_response(*arguments, **options)
        if isinstance(answer, FileResponse):
            answer.chunk_size = _PIECE_BYTES
        return answer


class _Headers:
    """Set the security and cache headers of every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                is_static = scope["path"].rpartition("/console")[2].startswith("/static/")
                headers["Cache-Control"] = "public, max-age=3600" if is_static else "no-store"
            await send(message)

        await self._app(scope, receive, with_headers)


def _shown(view: View) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def show(request: Request, error: Exception) -> Response:
        status = status_of(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and _troubles.may_say():
            log.warning("page not shown", path=request.url.path, reason=type(error).__name__)
        return view.error(request, status, _words(error))

    return show


def _shown_http(view: View) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def show(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        return view.error(request, error.status_code, error.detail)

    return show


def status_of(error: Exception) -> int:
    """Return the HTTP status of one of our errors."""
    match error:
        case SessionNotFound() | SyncNotFound() | DeadLetterNotFound():
            return HTTPStatus.NOT_FOUND
        case InvalidCommand():
            return HTTPStatus.BAD_REQUEST
        case TransientError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.CONFLICT


def _words(error: Exception) -> str:
    if isinstance(error, DatabaseUnavailable):
        # The driver's message names hosts.
        return (
            "The database is not responding. A change may or may not have been made. Try again in a moment."
        )
    return str(error)
