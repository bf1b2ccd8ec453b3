"""One call of Slack's Web API: sent once, within a deadline, and what went wrong is a value.

Slack's SDK posts again when a connection ends without an answer, and logs what it sent. Its urllib also
cannot tell a connection that was never made from one that ended while it was written to.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import httpx

from threadsync.loopback import is_loopback
from worker.http_body import HEADERS, read_body
from worker.status_message.answers import MOST_BYTES, Answer, NotSent, Unknown, read

_NOT_SENT: Final = (
    httpx.ConnectError,  # TLS failures are among these
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


class Connection:
    """Calls with one token. Threads wait for each other; not for use within an event loop.

    It is asynchronous inside because only that gives a deadline that holds: a time-out of a socket starts
    anew with every byte. It opens at the first call, and again at the next one after ``close``.

    Args:
        api_url: such as ``https://slack.com/api/``.
        timeout: of a whole call, in seconds.
    """

    def __init__(self, token: str, api_url: str, timeout: float = 10.0) -> None:
        self._token = token
        self._api_url = f"{api_url.strip().rstrip('/')}/"
        self._timeout = timeout
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        self._client: httpx.AsyncClient | None = None

    def call(self, method: str, **arguments: Any) -> Answer:
        """Ask once. Arguments that are None are left out; what is no text or number travels as JSON."""
        form = {name: _spelt(value) for name, value in arguments.items() if value is not None}
        try:
            return self._run(method, form)
        except Exception as exc:  # noqa: BLE001 - a signal's, such as that of a time limit
            return Unknown(f"the call was interrupted ({type(exc).__name__})")

    def close(self) -> None:
        """May be repeated."""
        with self._lock:
            self._close()

    def _run(self, method: str, form: Mapping[str, str]) -> Answer:
        with self._lock:
            try:
                self._runner = self._runner or asyncio.Runner()
                return self._runner.run(self._send(method, form))
            except BaseException:
                # A call that is half done must end here: the next one's loop would go on with it.
                self._close()
                raise

    async def _send(self, method: str, form: Mapping[str, str]) -> Answer:
        self._client = self._client or self._new_client()
        try:
            async with asyncio.timeout(self._timeout):
                async with self._client.stream("POST", f"{self._api_url}{method}", data=form) as response:
                    content, is_whole = await read_body(response, MOST_BYTES)
        except _NOT_SENT as exc:
            return NotSent(type(exc).__name__)
        # Its text may quote what was sent.
        except (TimeoutError, httpx.HTTPError, OSError) as exc:
            return Unknown(type(exc).__name__)
        if not is_whole:
            return Unknown("an answer that is too long")
        return read(response.status_code, response.headers, content)

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers={**HEADERS, "Authorization": f"Bearer {self._token}"},
            timeout=self._timeout,
            # One that is kept open may be closed by Slack just when we post, and then nobody knows.
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            # Proxies and certificates of the environment; a sandbox on this machine needs neither.
            trust_env=not is_loopback(self._api_url),
        )

    def _close(self) -> None:
        runner, client = self._runner, self._client
        self._runner = self._client = None
        if runner is not None:
            with suppress(Exception):
                if client is not None:
                    runner.run(client.aclose())
            runner.close()


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
