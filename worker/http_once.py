"""One HTTP exchange, sent once, within a deadline, whose failure is a value.

httpx repeats nothing of its own accord. Libraries that do make several tickets or messages of one POST
(https://github.com/pycontribs/jira/issues/1484; Slack's SDK when a connection ends early). httpx's exceptions
end here, for their text may quote the token.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx

from threadsync.hosts import is_loopback

T = TypeVar("T")

_CONNECT_SECONDS: Final = 5.0
"""Limit for a connection, below the deadline: without one by then, surely nothing was sent."""

_NOT_SENT: Final = (
    httpx.ConnectError,  # TLS failures are among these
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_AT_ONCE: Final = 1_048_576
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_WITH_GZIPS_HEADER: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of any status. A body that was too long is cut, and not ``is_whole``."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class NotSent:
    """Request that was surely not carried out: it did not arrive. ``status``: of an edge that refused it."""

    why: str
    status: int | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Request that was perhaps carried out, now or later: look before anything is sent again."""

    why: str
    status: int | None = None
    trace_id: str | None = None


def tls_context(*, trust_env: bool = True) -> ssl.SSLContext:
    """Return the one context of this process by which servers are verified.

    httpx would read the certificates again for each client, which takes longer than most exchanges.

    Args:
        trust_env: the environment may name other certificates, as httpx does by default.
    """
    return _tls_context(trust_env, *map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))


@cache
def _tls_context(trust_env: bool, file: str | None, folder: str | None) -> ssl.SSLContext:
    """Read the certificates. The environment's names of them are part of the key, and read by httpx."""
    return httpx.create_ssl_context(trust_env=trust_env)


class HttpOnce:
    """Client of one server. Threads wait for each other; not for use within an event loop.

    It is asynchronous inside because only that gives a deadline that holds: a time-out of a socket starts
    again with every byte. It opens at the first exchange, and again at the next one after ``close``.

    Args:
        peer: the server's name in explanations, such as ``Jira``.
        base: beginning of all addresses.
        timeout: seconds for a whole exchange.
        most_bytes: of a response's body, unpacked.
        transport: for tests, in place of sockets.
    """

    def __init__(
        self,
        peer: str,
        base: str,
        headers: Mapping[str, str | bytes],
        *,
        timeout: float,
        most_bytes: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._peer = peer
        self._base = base
        self._headers = headers
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._transport = transport
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        self._clients: dict[bool, httpx.AsyncClient] = {}

    def exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        content: bytes | None = None,
        timeout: float | None = None,
        fresh: bool = True,
    ) -> HttpResponse | NotSent | Unknown:
        """Send one request and read the response, whatever its status.

        Args:
            body: sent as JSON, if it is not None.
            headers: of this request, beside those of all.
            content: sent as it is, in place of ``body``.
            timeout: seconds for this exchange, in place of the client's.
            fresh: over a connection of its own. One that was kept open may be closed by the other side in
                the moment it is used, and then it is not known whether the request was read.
        """
        request: dict[str, Any] = {"method": method, "url": self._base + path, "params": params, "data": form}
        request["headers"] = {**(headers or {})}
        if body is not None:
            try:
                request["content"] = _json(body)
                request["headers"]["Content-Type"] = "application/json"
            except (TypeError, ValueError):
                return NotSent("the request cannot be written as JSON")
        elif content is not None:
            request["content"] = content
        if timeout is not None:
            request["timeout"] = _timeouts(timeout)
        try:
            return self._run(lambda: self._send(request, fresh, timeout or self._timeout))
        except Exception as exc:  # noqa: BLE001 - a signal's, such as that of a time limit
            return Unknown(f"the call was interrupted ({type(exc).__name__})")

    def close(self) -> None:
        """Close all connections. May be repeated."""
        with self._lock:
            self._close()

    def _run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._lock:
            try:
                self._runner = self._runner or self._open()
                return self._runner.run(call())
            except BaseException:
                # A call that is half done must end here: the next one's loop would go on with it.
                self._close()
                raise

    async def _send(
        self, request: dict[str, Any], fresh: bool, seconds: float
    ) -> HttpResponse | NotSent | Unknown:
        try:
            async with asyncio.timeout(seconds):
                async with self._clients[fresh].stream(**request) as response:
                    content, is_whole = await _read_body(response, self._most_bytes)
                    return HttpResponse(response.status_code, response.headers, content, is_whole)
        except _NOT_SENT as exc:
            return NotSent(f"no connection to {self._peer} ({type(exc).__name__})")
        except (TimeoutError, httpx.TimeoutException):
            return Unknown(f"no answer from {self._peer} within {seconds:g} seconds")
        except Exception as exc:  # noqa: BLE001 - whatever it was, the request may have been read by then
            return Unknown(f"the connection to {self._peer} failed ({type(exc).__name__})")

    def _open(self) -> asyncio.Runner:
        # Proxies and certificates of the environment; a server on this machine needs neither.
        trust_env = not is_loopback(self._base)
        options: dict[str, Any] = {
            "headers": {
                # httpx undoes gzip, brotli and zstd a chunk at a time and as far as each goes: 64 kB of them
                # may stand for gigabytes. So only gzip is asked for, and undone here.
                "Accept-Encoding": "gzip",
                "User-Agent": f"threadsync/{version('threadsync')}",
                **self._headers,
            },
            "timeout": _timeouts(self._timeout),
            "follow_redirects": False,
            "trust_env": trust_env,
            "verify": tls_context(trust_env=trust_env),
            "transport": self._transport,
        }
        self._clients = {
            False: httpx.AsyncClient(**options),
            True: httpx.AsyncClient(**options, limits=httpx.Limits(max_keepalive_connections=0)),
        }
        # Without a factory the runner would replace the thread's event loop by its own.
        return asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def _close(self) -> None:
        runner, clients = self._runner, tuple(self._clients.values())
        self._runner, self._clients = None, {}
        if runner:
            with suppress(Exception):
                runner.run(_end(clients))
            runner.close()


async def _end(clients: tuple[httpx.AsyncClient, ...]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for client in clients:
        await client.aclose()


def _timeouts(seconds: float) -> httpx.Timeout:
    connect = min(_CONNECT_SECONDS, seconds)
    return httpx.Timeout(seconds, connect=connect, pool=connect)


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


async def _read_body(response: httpx.Response, most: int) -> tuple[bytes, bool]:
    """Return the body and True, or its first ``most`` bytes and False; the rest is left unread."""
    body = bytearray()
    async for part in _parts(response):
        body += part[: most + 1 - len(body)]
        if len(body) > most:
            return bytes(body[:most]), False
    return bytes(body), True


async def _parts(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the body, decompressed from gzip only. Raises ``httpx.DecodingError``."""
    if response.is_stream_consumed:
        # The transport has the body in memory, as those of tests do.
        yield response.content
        return
    stream: Any = None
    if response.headers.get("Content-Encoding", "").strip().lower() in _GZIP:
        stream = zlib.decompressobj(_WITH_GZIPS_HEADER)
    async for part in response.aiter_raw():
        if stream is None:
            yield part
            continue
        try:
            while part and not stream.eof:
                yield stream.decompress(part, _AT_ONCE)
                part = stream.unconsumed_tail
        except zlib.error as exc:
            raise httpx.DecodingError(str(exc), request=response.request) from exc
