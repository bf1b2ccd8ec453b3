"""The web process: Slack's requests, and two probes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from handlers.probes import Probes
from handlers.slack_endpoint import SlackEndpoint
from handlers.slack_side import SlackSide, reveal
from handlers.start_page import StartPage
from tasks.client import AsyncSessionClient
from worker.config import Settings

NEEDED_SETTINGS = ("slack_signing_secret", "slack_bot_token", "broker_url")


def create_app(
    settings: Settings, client: AsyncSessionClient | None = None, console: Starlette | None = None
) -> Starlette:
    """The ASGI app; nothing is connected to before the first request.

    Args:
        settings: ``InvalidSettings`` is raised when one of ``NEEDED_SETTINGS`` is not there.
        client: one on the settings' broker if None. The app closes it at the end.
        console: what answers below ``/console``, if anything.
    """
    settings.require(*NEEDED_SETTINGS)
    client = client or AsyncSessionClient(settings.broker_url, settings.result_backend_url)
    side = SlackSide(settings, client)
    endpoint = SlackEndpoint(side.bolt, reveal(settings.slack_signing_secret))
    probes = Probes(client, reveal(settings.database_url))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(side)
            if console:
                # Starlette does not begin those of what is mounted.
                await stack.enter_async_context(console.router.lifespan_context(console))
            yield

    page = settings.threadsync_start_page
    return Starlette(
        routes=[
            *([Route("/", StartPage(page).show)] if page else ()),
            Route("/slack/events", endpoint.handle, methods=["POST"]),
            Route("/healthz", probes.health),
            Route("/readyz", probes.readiness),
            *([Mount("/console", console)] if console else ()),
        ],
        lifespan=lifespan,
    )
