"""A Slack on localhost: Web API, files, response URLs and Socket Mode, with faults on demand.

with SlackSandbox() as slack:
    slack.fail("chat.postMessage", RateLimited(1), Dropped())
    ...                                # SLACK_API_URL=slack.api_url, SLACK_BOT_TOKEN=slack.token
    slack.messages                     # all posted messages
    slack.calls("chat.postMessage")    # all calls, also those that met a fault
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import WSMsgType, web

from sandbox.faults import CutOff, Dropped, Fault, FaultQueue, Hangs, Page, RateLimited, Refused
from sandbox.slack.http import PAGE, SIGN_IN, arguments_of, drop, rate_limited, token_of
from sandbox.slack.response_urls import Place, ResponseUrl
from sandbox.slack.scopes import SCOPES
from sandbox.slack.workspace import Message, SlackError, SlackWorkspace

RESPONSE_URL: Final = "response_url"
"""Name of response URLs in ``fail`` and ``calls``."""

FILES: Final = "files"
"""Name of downloads in ``fail`` and ``calls``."""

SOCKET: Final = "socket"
"""Name of requested WebSockets in ``calls``."""

_CONNECTIONS_OPEN: Final = "apps.connections.open"


@dataclass(frozen=True)
class Call:
    """A request that reached the sandbox."""

    method: str
    arguments: Mapping[str, Any]


class SlackSandbox:
    """HTTP server in a thread, on 127.0.0.1, between ``start`` and ``stop`` or in a ``with``.

    It runs on aiohttp, not uvicorn: only aiohttp lets a handler drop its connection without a response.

    Args:
        channels: ids of the channels that exist; None: every well-formed id.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        channels: Collection[str] | None = None,
        token: str = "xoxb-sandbox",  # noqa: S107 - nobody's
        app_token: str = "xapp-sandbox",  # noqa: S107
        port: int = 0,
    ) -> None:
        self._port = port
        self.workspace = SlackWorkspace(channels)
        self.token = token
        self.app_token = app_token
        self.scopes: tuple[str, ...] = SCOPES
        self.refuses: str | None = None
        """Error with which every call refuses the token, by Slack's name, such as ``token_revoked``."""
        self.url = ""
        self._faults = FaultQueue()
        self._calls: list[Call] = []
        self._numbers = itertools.count(1)
        self._acknowledged: dict[str, Any] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self.refuses_sockets = False
        """True while WebSockets are refused. As with Slack, an address works once, not after a refusal."""
        self.deaf_and_dumb = False
        """True while open sockets stay open but send neither hello nor pong."""
        self.is_down = False
        """True while every call ends without a response."""
        self._addresses: set[str] = set()
        self._response_urls: dict[str, ResponseUrl] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def api_url(self) -> str:
        """The value for ``SLACK_API_URL``."""
        return f"{self.url}/api/"

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, in order."""
        return tuple(self.workspace.messages)

    @property
    def responses(self) -> tuple[Mapping[str, Any], ...]:
        """The arguments of all requests to response URLs, also those that met a fault."""
        return tuple(call.arguments for call in self.calls(RESPONSE_URL))

    @property
    def socket_count(self) -> int:
        """The number of open connections of Socket Mode."""
        return len(self._sockets)

    @property
    def acknowledged(self) -> Mapping[str, Any]:
        """The payload in the response to each envelope, by envelope id; None for a bare acknowledgement."""
        return dict(self._acknowledged)

    def calls(self, method: str) -> tuple[Call, ...]:
        """Return every call of the method, also those that met a fault."""
        return tuple(call for call in tuple(self._calls) if call.method == method)

    def fail(self, method: str, *faults: Fault) -> None:
        """Spoil the next calls of ``method`` with these faults, one each."""
        self._faults.add(method, *faults)

    def new_response_url(self, place: Place | None = None) -> str:
        """Make a response URL for a payload. Its answers appear at ``place``; without one none does."""
        name = secrets.token_hex(8)
        self._response_urls[name] = ResponseUrl(place, time.monotonic())
        return f"{self.url}/response/{name}"

    def send_over_socket(self, payload: Mapping[str, Any], kind: str = "events_api") -> str:
        """Deliver a payload to the app's open socket; return the envelope's id."""
        envelope_id = f"envelope-{next(self._numbers)}"
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        socket = next(iter(self._sockets))
        assert self._loop is not None  # noqa: S101 - there is a socket
        asyncio.run_coroutine_threadsafe(socket.send_json(envelope), self._loop).result(5)
        return envelope_id

    def close_sockets(self) -> None:
        """End every open socket, as Slack does now and then."""
        assert self._loop is not None  # noqa: S101 - it is started
        for socket in tuple(self._sockets):
            asyncio.run_coroutine_threadsafe(socket.close(), self._loop).result(5)

    def start(self) -> None:
        """Start the server, and return when it listens."""
        listening: Future[str] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening)), name="slack-sandbox", daemon=True
        )
        self._thread.start()
        self.url = self.workspace.site = listening.result(10)

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

    async def _serve(self, listening: Future[str]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._web_api)
        app.router.add_post("/response/{name}", self._response_url)
        app.router.add_get("/files-pri/{file}/{rest:.*}", self._file)
        app.router.add_get("/socket", self._socket)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            host, port = runner.addresses[0][:2]
            listening.set_result(f"http://{host}:{port}")
            await self._stopping.wait()
        except OSError as exc:
            listening.set_exception(exc)
        finally:
            for socket in tuple(self._sockets):
                await socket.close()
            await runner.cleanup()

    async def _web_api(self, request: web.Request) -> web.StreamResponse:
        method, arguments = request.match_info["method"], await arguments_of(request)
        self._calls.append(Call(method, arguments))
        if self.is_down:
            return drop(request)
        fault = self._faults.take(method)
        match fault:
            case RateLimited():
                return rate_limited(fault)
            case Refused():
                return web.json_response({"ok": False, "error": fault.error})
            case Page():
                text = PAGE if fault.text is None else fault.text
                return web.Response(text=text, status=fault.status, content_type=fault.content_type)
            case Hangs():
                await asyncio.sleep(fault.seconds)
            case Dropped(committed=False):
                return drop(request)
        answer = self._answer(method, request, arguments)
        headers = {"X-OAuth-Scopes": ",".join(self.scopes)} if answer["ok"] else {}
        if isinstance(fault, CutOff):
            text = json.dumps(answer)
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        return drop(request) if isinstance(fault, Dropped) else web.json_response(answer, headers=headers)

    def _answer(self, method: str, request: web.Request, arguments: Mapping[str, Any]) -> dict[str, Any]:
        token = token_of(request) or str(arguments.get("token", ""))
        expected = self.app_token if method == _CONNECTIONS_OPEN else self.token
        if token != expected:
            return {"ok": False, "error": "invalid_auth" if token else "not_authed"}
        if self.refuses is not None:
            return {"ok": False, "error": self.refuses}
        if method == _CONNECTIONS_OPEN:
            ticket = f"{next(self._numbers)}"
            self._addresses.add(ticket)
            return {"ok": True, "url": f"{self.url.replace('http', 'ws', 1)}/socket?ticket={ticket}"}
        try:
            return self.workspace.call(method, arguments, self.scopes)
        except SlackError as exc:
            return {"ok": False, "error": str(exc), **exc.more}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Send a file to the bot. Anybody else gets what Slack sends then: a page to sign in, status 200."""
        file_id = request.match_info["file"]
        self._calls.append(Call(FILES, {"file": file_id, "token": token_of(request)}))
        if self.is_down:
            return drop(request)
        match fault := self._faults.take(FILES):
            case RateLimited():
                return rate_limited(fault)
            case Refused() | Page():
                status, text = (fault.status, fault.text) if isinstance(fault, Page) else (404, None)
                return web.Response(text=text or PAGE, status=status, content_type="text/html")
            case Hangs(seconds):
                await asyncio.sleep(seconds)
            case Dropped():
                return drop(request)
        file = self.workspace.file(file_id)
        is_ours = token_of(request) == self.token and self.refuses is None and "files:read" in self.scopes
        if file is None or not is_ours:
            return web.Response(text=SIGN_IN, content_type="text/html")
        content = file.content[: len(file.content) // 2] if isinstance(fault, CutOff) else file.content
        return web.Response(body=content, headers={"Content-Type": file.mimetype})

    async def _response_url(self, request: web.Request) -> web.StreamResponse:
        arguments = await arguments_of(request)
        self._calls.append(Call(RESPONSE_URL, arguments))
        if self.is_down:
            return drop(request)
        match self._faults.take(RESPONSE_URL):
            case RateLimited() as fault:
                return rate_limited(fault)
            case Refused(error):
                return web.Response(text=error, status=404)
            case Page(status):
                return web.Response(text=PAGE, status=status, content_type="text/html")
            case Hangs(seconds):
                await asyncio.sleep(seconds)
            case Dropped():
                return drop(request)
        return self._responded(request.match_info["name"], arguments)

    def _responded(self, name: str, answer: dict[str, Any]) -> web.Response:
        url = self._response_urls.get(name)
        if url is None or url.place is None:
            return web.Response(text="ok")
        fault = url.fault(time.monotonic())
        if fault:
            return web.json_response({"ok": False, "error": fault}, status=404)
        url.uses += 1
        try:
            self.workspace.respond(url.place, answer)
        except SlackError as exc:
            return web.json_response({"ok": False, "error": str(exc)}, status=500)
        return web.Response(text="ok")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        self._calls.append(Call(SOCKET, dict(request.query)))
        is_good = ticket in self._addresses
        self._addresses.discard(ticket)
        if self.refuses_sockets or not is_good:
            return web.Response(status=503 if is_good else 408, text="no")
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        if not self.deaf_and_dumb:
            await socket.send_json({"type": "hello", "num_connections": 1})
        self._sockets.add(socket)
        try:
            async for item in socket:
                if item.type is WSMsgType.PING and not self.deaf_and_dumb:
                    await socket.pong(item.data)
                if item.type is WSMsgType.TEXT:
                    answer = json.loads(item.data)
                    self._acknowledged[answer["envelope_id"]] = answer.get("payload")
        finally:
            self._sockets.discard(socket)
        return socket
