"""A Jira on localhost, with faults on demand: ``python -m sandbox.jira.server``, or in a test

with JiraSandbox() as jira:
    jira.site.fail("create", CommitThenDrop())
    ...                                # JIRA_URL=jira.url, JIRA_EMAIL=jira.email, JIRA_API_TOKEN=jira.token
    jira.site.issues                   # all tickets
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Annotated, Final, Self

import typer
from aiohttp import web

from sandbox.jira.faults import CommitThenDrop, CommitThenStatus, DropBeforeCommit, Hang, RandomFaults
from sandbox.jira.replies import Drop, Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.site import JiraSite
from worker.cli.stop_request import StopRequest

_LARGEST_BODY: Final = 10_000_000
_POLL_SECONDS: Final = 0.1


class JiraSandbox:
    """HTTP server in a thread, on 127.0.0.1, between ``start`` and ``stop`` or in a ``with``.

    While it is stopped its port refuses connections; it may be started again, and keeps its port then.
    A site that ``is_down`` ends every connection without a response.

    Args:
        port: 0 takes a free one.
    """

    def __init__(self, site: JiraSite | None = None, port: int = 0) -> None:
        self.site = site or JiraSite()
        self.url = ""
        self._port = port
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

    def start(self) -> None:
        """Start the server, and return when it listens. Raises ``OSError`` if the port is taken."""
        listening: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening)), name="jira-sandbox", daemon=True
        )
        self._thread.start()
        self._port = listening.result(10)
        self.url = f"http://127.0.0.1:{self._port}"

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

    async def _serve(self, listening: Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            listening.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        except OSError as exc:
            listening.set_exception(exc)
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        ours = await _as_ours(request)
        outcome = Drop() if self.site.is_down else respond(self.site, ours)
        await asyncio.sleep(outcome.delay)
        if isinstance(outcome, Drop):
            return _drop(request)
        return await _cut(request, outcome) if outcome.cut else _whole(outcome)


async def _as_ours(request: web.Request) -> Request:
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
    project: Annotated[str, typer.Option(help="Key of the one project.")] = "PROJ",
    search_lag: Annotated[float, typer.Option(min=0, help="Seconds until the search sees a ticket.")] = 0.0,
    dropped: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: made, answer lost.")] = 0.0,
    lost: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: not made, no answer.")] = 0.0,
    failed: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: made, answer 503.")] = 0.0,
    hanging: Annotated[float, typer.Option(min=0, max=1, help="Share of creates: made, no answer.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same creates.")] = 0,
) -> None:
    """Run a Jira on localhost, with tickets in memory and faults on demand. Ctrl-C ends it."""
    site = JiraSite([project], search_lag=search_lag)
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
    with StopRequest() as request, JiraSandbox(site, port) as jira:
        typer.echo(f"JIRA_URL={jira.url}\nJIRA_EMAIL={jira.email}\nJIRA_API_TOKEN={jira.token}")
        typer.echo(f"JIRA_PROJECT_KEY={project}\nCtrl-C ends it.")
        while not request.wanted():
            time.sleep(_POLL_SECONDS)
        typer.echo(f"{len(site.issues)} tickets were made. Faults met: {dict(site.met) or 'none'}")


if __name__ == "__main__":
    typer.run(main)
