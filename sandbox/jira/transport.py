"""The sandbox Jira without sockets, as a transport of httpx that raises a socket's errors.

client = httpx.AsyncClient(transport=SandboxTransport(site, clock.advance), base_url="https://jira.example.com")

Atlassian's own hosts are the gateway and the token server there; every other host is the site.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx

from sandbox.jira.replies import Drop, Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.site import JiraSite

_GATEWAYS: Final = ("api.atlassian.com", "auth.atlassian.com")


class SandboxTransport(httpx.AsyncBaseTransport):
    """Transport that responds from ``site`` at once.

    Args:
        on_wait: called with the seconds that the client would have waited; ``VirtualClock.advance`` in tests.

    Raises ``ConnectError`` while the site is down, ``RemoteProtocolError`` where a connection ends early,
    ``ReadTimeout`` where a response takes longer than the client's read time-out.
    """

    def __init__(self, site: JiraSite, on_wait: Callable[[float], None] = lambda seconds: None) -> None:
        self.site = site
        self._on_wait = on_wait

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.site.is_down:
            raise httpx.ConnectError("All connection attempts failed", request=request)
        outcome = respond(self.site, await _as_ours(request))
        self._wait(outcome.delay, request)
        if isinstance(outcome, Drop):
            raise httpx.RemoteProtocolError(
                "Server disconnected without sending a response.", request=request
            )
        headers = {**outcome.headers, "Content-Length": str(len(outcome.body))}
        return httpx.Response(outcome.status, headers=headers, stream=_Body(outcome, request))

    def _wait(self, seconds: float, request: httpx.Request) -> None:
        patience = request.extensions.get("timeout", {}).get("read")
        if patience is not None and seconds > patience:
            self._on_wait(patience)
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        if seconds:
            self._on_wait(seconds)


class _Body(httpx.AsyncByteStream):
    def __init__(self, reply: Reply, request: httpx.Request) -> None:
        self._reply = reply
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._reply.sent
        if self._reply.cut:
            message = (
                "peer closed connection without sending complete message body "
                f"(received {len(self._reply.sent)} bytes, expected {len(self._reply.body)})"
            )
            raise httpx.RemoteProtocolError(message, request=self._request)


async def _as_ours(request: httpx.Request) -> Request:
    url = request.url
    query: dict[str, str] = {}
    for name, value in url.params.multi_items():
        query[name] = f"{query[name]},{value}" if name in query else value
    return Request(
        method=request.method,
        path=url.path,
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.aread(),
        base=str(url.copy_with(path="/", query=None, fragment=None)).rstrip("/"),
        at_gateway=url.host in _GATEWAYS,
    )
