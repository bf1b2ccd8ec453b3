"""One HTTP exchange with Jira: sent once, within a deadline, and what went wrong is a value.

httpx repeats nothing of its own accord; libraries that do make several tickets of one POST
(https://github.com/pycontribs/jira/issues/1484). Its exceptions end here, for their text may quote the token.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx

from threadsync.loopback import is_loopback
from worker.http_body import HEADERS, read_body
from worker.jira.answers import JiraAccount, NotSent, Unknown

T = TypeVar("T")

_CONNECT_SECONDS: Final = 5.0
"""Less than the deadline: who is not connected by then has surely sent nothing, which is worth knowing."""

MOST_BYTES: Final = 16_000_000
"""Of an answer, unpacked. The largest that we ask for is a page of a create screen with all its options."""

_NOT_SENT: Final = (
    httpx.ConnectError,  # TLS failures are among these
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, whatever its status. A body that was too long is cut, so that it is no JSON any more."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class Connection:
    """Connections to one site. Threads wait for each other; not for use within an event loop.

    It is asynchronous inside because only that gives a deadline that holds: a time-out of a socket starts
    anew with every byte. It opens at the first exchange, and again at the next one after ``close``.

    Args:
        base: what all paths begin with.
        transport: for tests, in place of sockets.
    """

    def __init__(self, account: JiraAccount, base: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self._account = account
        self._base = base
        self._transport = transport
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        self._clients: dict[bool, httpx.AsyncClient] = {}

    def exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        *,
        fresh: bool,
    ) -> HttpAnswer | NotSent | Unknown:
        """Send one request and read the answer, whatever its status, up to `MOST_BYTES`.

        Args:
            body: sent as JSON, if it is not None.
            fresh: over a connection of its own. One that was kept open may be closed by the other side in
                the moment it is used, and then nobody knows whether the request was read.
        """
        try:
            content = None if body is None else _json(body)
        except (TypeError, ValueError):
            return NotSent("the request cannot be written as JSON")
        try:
            return self._run(lambda: self._send(method, path, content, params, fresh))
        except Exception as exc:  # noqa: BLE001 - a signal's, such as that of a time limit
            return Unknown(f"the call was interrupted ({type(exc).__name__})")

    def close(self) -> None:
        """May be repeated."""
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
        self, method: str, path: str, sent: bytes | None, params: Mapping[str, str] | None, fresh: bool
    ) -> HttpAnswer | NotSent | Unknown:
        headers = {"Content-Type": "application/json"} if sent is not None else None
        try:
            async with asyncio.timeout(self._account.timeout):
                async with self._clients[fresh].stream(
                    method, self._base + path, content=sent, params=params, headers=headers
                ) as answer:
                    content, _ = await read_body(answer, MOST_BYTES)
                    return HttpAnswer(answer.status_code, answer.headers, content)
        except _NOT_SENT as exc:
            return NotSent(f"no connection to Jira ({type(exc).__name__})")
        except (TimeoutError, httpx.TimeoutException):
            return Unknown(f"no answer from Jira within {self._account.timeout:g} seconds")
        except Exception as exc:  # noqa: BLE001 - whatever it was, the request may have been read by then
            return Unknown(f"the connection to Jira failed ({type(exc).__name__})")

    def _open(self) -> asyncio.Runner:
        # Proxies and certificates of the environment; a Jira on this machine needs neither.
        trust_env = not is_loopback(self._base)
        timeout = self._account.timeout
        connect = min(_CONNECT_SECONDS, timeout)
        options: dict[str, Any] = {
            "headers": {
                **HEADERS,
                "Accept": "application/json",
                "Authorization": _authorization(self._account),
                "User-Agent": f"threadsync/{version('threadsync')}",
            },
            "timeout": httpx.Timeout(timeout, connect=connect, pool=connect),
            "follow_redirects": False,
            "trust_env": trust_env,
            "verify": httpx.create_ssl_context(trust_env=trust_env),
            "transport": self._transport,
        }
        self._clients = {
            False: httpx.AsyncClient(**options),
            True: httpx.AsyncClient(**options, limits=httpx.Limits(max_keepalive_connections=0)),
        }
        # Without a factory it would make its loop the thread's, and take away the one that is.
        return asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def _close(self) -> None:
        runner, clients = self._runner, tuple(self._clients.values())
        self._runner, self._clients = None, {}
        if runner:
            with suppress(Exception):
                runner.run(_end(clients))
            runner.close()


async def _end(clients: tuple[httpx.AsyncClient, ...]) -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for client in clients:
        await client.aclose()


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _authorization(account: JiraAccount) -> bytes:
    if not account.email:
        return b"Bearer " + account.token.encode()
    return b"Basic " + base64.b64encode(f"{account.email}:{account.token}".encode())
