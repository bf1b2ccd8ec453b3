"""A Jira on localhost, with faults on demand: ``python -m sandbox.jira.server``, or in a test

with JiraSandbox() as jira:
    jira.site.fail("create", CommitThenDrop())
    environment |= jira.settings("classic")    # or "scoped", "oauth", "datacenter"
    jira.site.issues                           # all tickets
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Annotated, Final, Literal, Self

import typer
from aiohttp import web

from sandbox.jira.faults import CommitThenDrop, CommitThenStatus, DropBeforeCommit, Hang, RandomFaults
from sandbox.jira.logins import CLIENT_ID, CLIENT_SECRET, SCOPED_TOKEN
from sandbox.jira.replies import Drop, Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.showcase import showcase
from sandbox.jira.site import JiraSite
from worker.cli.stop_request import StopRequest

_LARGEST_BODY: Final = 60_000_000
_POLL_SECONDS: Final = 0.1


Login = Literal["classic", "scoped", "oauth", "datacenter"]


class JiraSandbox:
    """HTTP server in a thread, on 127.0.0.1, between ``start`` and ``stop`` or in a ``with``.

    It listens on two ports: at ``url`` is the site, at ``gateway_url`` are gateway and token server. While it
    is stopped its ports refuse connections; it may be started again, and keeps its ports then. A site that
    ``is_down`` ends each connection without a response.

    Args:
        port: of the site; 0 takes a free one.
        gateway_port: of the gateway; 0 takes a free one.
    """

    def __init__(self, site: JiraSite | None = None, port: int = 0, gateway_port: int = 0) -> None:
        self.site = site or JiraSite()
        self.url = ""
        self.gateway_url = ""
        self._ports = (port, gateway_port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def email(self) -> str:
        """The e-mail address of the site's account."""
        return self.site.email

    @property
    def token(self) -> str:
        """The token of the site's account."""
        return self.site.token

    @property
    def token_url(self) -> str:
        """The address of the token server for OAuth client credentials."""
        return f"{self.gateway_url}/oauth/token"

    def settings(self, login: Login = "classic") -> dict[str, str]:
        """Return the settings of threadsync for one of the logins, as environment variables."""
        site = {"JIRA_URL": self.url}
        account = {**site, "JIRA_EMAIL": self.email}
        gateway = {"JIRA_CLOUD_ID": "auto", "JIRA_API_GATEWAY": self.gateway_url}
        match login:
            case "classic":
                return {**account, "JIRA_API_TOKEN": self.token}
            case "scoped":
                return {**account, "JIRA_API_TOKEN": SCOPED_TOKEN, **gateway}
            case "oauth":
                client = {"JIRA_OAUTH_CLIENT_ID": CLIENT_ID, "JIRA_OAUTH_CLIENT_SECRET": CLIENT_SECRET}
                return {**site, **client, **gateway, "JIRA_OAUTH_TOKEN_URL": self.token_url}
            case "datacenter":
                return {**site, "JIRA_DEPLOYMENT": "datacenter", "JIRA_API_TOKEN": self.token}

    def start(self) -> None:
        """Start the server, and return when it listens. Raises ``OSError`` if a port is taken."""
        listening: Future[tuple[int, int]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening)), name="jira-sandbox", daemon=True
        )
        self._thread.start()
        self._ports = listening.result(10)
        self.url = f"http://127.0.0.1:{self._ports[0]}{self.site.context_path}"
        self.gateway_url = f"http://127.0.0.1:{self._ports[1]}"
        self.site.url = self.url

    def stop(self) -> None:
        """Stop the server, and return when its port is closed; calls that hang are ended."""
        if self._loop and self._stopping and self._thread:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, listening: Future[tuple[int, int]]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            for port in self._ports:
                await web.TCPSite(runner, "127.0.0.1", port).start()
            site, gateway = (address[1] for address in runner.addresses)
            self._ports = (site, gateway)
            listening.set_result(self._ports)
            await self._stopping.wait()
        except OSError as exc:
            listening.set_exception(exc)
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        ours = await _as_ours(request, self._ports[1])
        outcome = Drop() if self.site.is_down else respond(self.site, ours)
        await asyncio.sleep(outcome.delay)
        if isinstance(outcome, Drop):
            return _drop(request)
        return await _cut(request, outcome) if outcome.cut else _whole(outcome)


async def _as_ours(request: web.Request, gateway_port: int) -> Request:
    listening = request.transport.get_extra_info("sockname") if request.transport else None
    query: dict[str, str] = {}
    for name, value in request.query.items():
        query[name] = f"{query[name]},{value}" if name in query else value
    return Request(
        method=request.method,
        path=request.path,
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.read(),
        base=f"{request.scheme}://{request.host}",
        at_gateway=listening is not None and listening[1] == gateway_port,
    )


def _whole(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


async def _cut(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Announce the whole body, send a part of it, and end the connection."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.sent)
    if request.transport:
        request.transport.abort()
    return response


def _drop(request: web.Request) -> web.Response:
    """End the connection now; the returned response is never sent."""
    if request.transport:
        request.transport.abort()
    return web.Response()


def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    gateway_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    project: Annotated[str, typer.Option(help="Key of the first project.")] = "PROJ",
    fields: Annotated[bool, typer.Option(help="Add projects with every kind of field.")] = False,
    login: Annotated[Login, typer.Option(help="The login whose settings are printed.")] = "classic",
    scoped_only: Annotated[bool, typer.Option(help="Refuse every token at the site.")] = False,
    scoped_after: Annotated[
        int | None, typer.Option(min=0, help="Refuse every token at the site from so many tickets on.")
    ] = None,
    token_seconds: Annotated[float, typer.Option(min=1, help="Life of an OAuth token, in seconds.")] = 3600.0,
    search_lag: Annotated[float, typer.Option(min=0, help="Seconds until the search sees a ticket.")] = 0.0,
    dropped: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: made, answer lost.")] = 0.0,
    lost: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: not made, no answer.")] = 0.0,
    failed: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: made, answer 503.")] = 0.0,
    hanging: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: made, no answer.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same creates.")] = 0,
) -> None:
    """Run a Jira on localhost, with tickets in memory and faults on demand. Ctrl-C ends it."""
    site = JiraSite([project], search_lag=search_lag)
    site.logins.scoped_only, site.scoped_after = scoped_only, scoped_after
    site.logins.token_seconds = token_seconds
    if fields:
        showcase(site)
    shares = (
        (CommitThenDrop(), dropped),
        (DropBeforeCommit(), lost),
        (CommitThenStatus(), failed),
        (Hang(300, committed=True), hanging),
    )
    try:
        site.plan = RandomFaults(shares, seed)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    # StopRequest, because a shell lets the processes that it starts in the background ignore Ctrl-C.
    with StopRequest() as request, JiraSandbox(site, port, gateway_port) as jira:
        typer.echo("\n".join(f"{name}={value}" for name, value in jira.settings(login).items()))
        typer.echo(f"JIRA_PROJECT_KEY={project}\nCtrl-C ends it.")
        while not request.wanted():
            time.sleep(_POLL_SECONDS)
        typer.echo(f"{len(site.issues)} tickets were made. Faults met: {dict(site.met) or 'none'}")


if __name__ == "__main__":
    typer.run(main)
