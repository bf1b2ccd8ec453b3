"""The web process's ASGI app: Slack's requests, probes, and the console if it is on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, request_response

from handlers.body_gate import BodyGate
from handlers.form_limit import FormLimit
from handlers.probes import Probes
from handlers.public_hosts import HostCheck
from handlers.slack_endpoint import SlackEndpoint
from handlers.slack_side import SlackSide, reveal
from handlers.start_page import StartPage
from threadsync import AsyncSessionClient
from threadsync.config import Settings
from threadsync.hosts import PublicHosts

EVENTS = "/slack/events"
NEEDED_SETTINGS = ("slack_signing_secret", "slack_bot_token", "broker_url")


class MountedConsole(Protocol):
    """The console as this process mounts it. It reads the database, so it knows whether Postgres is there."""

    @property
    def app(self) -> Starlette:
        """The ASGI app below ``/console``."""

    async def database_answers(self) -> bool:
        """Ask Postgres; False after about 2 s."""


def create_app(
    settings: Settings, client: AsyncSessionClient | None = None, console: MountedConsole | None = None
) -> Starlette:
    """Build the app; it connects to nothing before the first request.

    Args:
        settings: raises ``InvalidSettings`` without one of ``NEEDED_SETTINGS``.
        client: made from the settings if None, with another one for readiness. The app closes it.
        console: mounted below ``/console``.
    """
    settings.require(*NEEDED_SETTINGS)
    # Readiness has connections and a thread of its own, so that no flood of probes delays an event.
    watcher = client or AsyncSessionClient(settings.broker_url, settings.result_backend_url, apart=True)
    client = client or AsyncSessionClient(settings.broker_url, settings.result_backend_url)
    side = SlackSide(settings, client)
    endpoint = SlackEndpoint(side.bolt, reveal(settings.slack_signing_secret), BodyGate())
    probes = Probes(watcher, console.database_answers if console else None)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if watcher is not client:
                stack.push_async_callback(watcher.close)
            await stack.enter_async_context(side)
            if console:
                # Starlette does not start the lifespan of mounted apps.
                await stack.enter_async_context(console.app.router.lifespan_context(console.app))
            yield

    app = Starlette(
        routes=[
            Route(EVENTS, endpoint.handle, methods=["POST"]),
            Route("/healthz", probes.health),
            Route("/readyz", probes.readiness),
            *_pages(settings, console),
        ],
        middleware=[Middleware(FormLimit, exempt=(EVENTS,))],
        lifespan=lifespan,
    )
    # Starlette would redirect to any host that a request names.
    app.router.redirect_slashes = False
    return app


def _pages(settings: Settings, console: MountedConsole | None) -> Iterator[BaseRoute]:
    """Yield the pages for browsers, each behind a check of the Host header."""
    hosts = PublicHosts(settings.public_hosts)
    if settings.threadsync_start_page:
        page = request_response(StartPage(settings.threadsync_start_page).show)
        yield Route("/", HostCheck(page, hosts), methods=["GET"])
    if console:
        yield Route("/console", _to_console)
        yield Mount("/console", HostCheck(console.app, hosts))


async def _to_console(request: Request) -> Response:
    return RedirectResponse("/console/", HTTPStatus.TEMPORARY_REDIRECT)
