"""The Jira and the Slack of a thread on sockets, for real workers, with the sandboxes behind them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
from aiohttp import web

from sandbox.jira.server import JiraSandbox
from sandbox.slack.server import SlackSandbox
from tests.support.thread_servers import TOKEN, ThreadSlack, TicketJira

_OF_THREADS: Final = (
    *("chat.getPermalink", "conversations.replies", "files.info", "users.info", "usergroups.list"),
)
_OF_ONE_HOP: Final = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding"})
_LARGEST_BODY: Final = 20_000_000


class Front:
    """HTTP server in a thread, on 127.0.0.1, in a ``with``. A transport responds to each request.

    An error of the transport ends the connection without a response.
    """

    def __init__(self, route: Callable[[httpx.Request], httpx.AsyncBaseTransport]) -> None:
        self.url = ""
        self._route = route
        self._silent: list[str] = []
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._waiting = threading.Event()

    def keep_silent(self, endpoint: str) -> None:
        """Carry out the next POST whose path ends like this, and never respond to it."""
        self._waiting.clear()
        self._silent.append(endpoint)

    @property
    def is_silent(self) -> bool:
        """True when such a POST was carried out, and its sender waits."""
        return self._waiting.is_set()

    def __enter__(self) -> Front:
        listening: Future[str] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening)), name="front", daemon=True
        )
        self._thread.start()
        self.url = listening.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop and self._stopping and self._thread:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    async def _serve(self, listening: Future[str]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        listening.set_result(f"http://{host}:{port}")
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        url = f"{self.url}{request.rel_url}"
        asked = httpx.Request(request.method, url, headers=request.headers, content=await request.read())
        try:
            answer = await self._route(asked).handle_async_request(asked)
            content = await answer.aread()
        except httpx.TransportError:
            return _drop(request)
        endpoint = request.path.rpartition("/")[2]
        if request.method == "POST" and endpoint in self._silent:
            self._silent.remove(endpoint)
            self._waiting.set()
            assert self._stopping is not None
            await self._stopping.wait()
        headers = {name: value for name, value in answer.headers.items() if name not in _OF_ONE_HOP}
        return web.Response(status=answer.status_code, body=content, headers=headers)


def _drop(request: web.Request) -> web.Response:
    """End the connection now; the returned response is never sent."""
    if request.transport:
        request.transport.abort()
    return web.Response()


class Behind(httpx.AsyncBaseTransport):
    """Transport to a server that stands behind the front."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        there = httpx.URL(self._url())
        request.url = request.url.copy_with(host=there.host, port=there.port)
        async with httpx.AsyncHTTPTransport() as transport:
            answer = await transport.handle_async_request(request)
            await answer.aread()
            return answer


@dataclass
class ThreadSite:
    """A Jira that takes attachments, and a Slack with one thread, with the sandboxes for all else."""

    jira: JiraSandbox
    slack: SlackSandbox
    tickets: TicketJira = field(default_factory=lambda: TicketJira(time.time))
    thread: ThreadSlack = field(default_factory=ThreadSlack)
    jira_front: Front = field(init=False)
    slack_front: Front = field(init=False)

    def __post_init__(self) -> None:
        jira, slack = Behind(lambda: self.jira.url), Behind(lambda: self.slack.url)
        self.jira_front = Front(lambda request: self.tickets if _is_attachment(request) else jira)
        self.slack_front = Front(lambda request: self.thread if _is_of_thread(request) else slack)

    @property
    def files_url(self) -> str:
        return f"{self.slack_front.url}/files/"

    @property
    def env(self) -> dict[str, str]:
        """Settings of a worker."""
        return {
            "JIRA_URL": self.jira_front.url,
            "JIRA_EMAIL": self.jira.email,
            "JIRA_API_TOKEN": self.jira.token,
            "JIRA_PROJECT_KEY": "PROJ",
            "SLACK_API_URL": f"{self.slack_front.url}/api/",
            "SLACK_BOT_TOKEN": TOKEN,
        }


def _is_attachment(request: httpx.Request) -> bool:
    return request.url.path.endswith("/attachments") or request.url.params.get("fields") == "attachment"


def _is_of_thread(request: httpx.Request) -> bool:
    return request.url.path.startswith("/files/") or request.url.path.endswith(_OF_THREADS)


@contextmanager
def thread_site() -> Iterator[ThreadSite]:
    with JiraSandbox() as jira, SlackSandbox(token=TOKEN) as slack:
        site = ThreadSite(jira, slack)
        with site.jira_front, site.slack_front:
            yield site
