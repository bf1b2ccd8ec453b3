"""The page's server, on a port of loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self

import uvicorn

from sandbox.playground.app import Playground

_STOP_SECONDS: Final = 1
_START_SECONDS: Final = 10


class PlaygroundServer:
    """HTTP server in a thread, on 127.0.0.1, between ``start`` and ``stop`` or in a ``with``."""

    def __init__(self, playground: Playground, port: int) -> None:
        self._playground = playground
        self._listens = threading.Event()
        config = uvicorn.Config(
            playground.app(),
            host="127.0.0.1",
            port=port,
            # The peer is the peer: nobody's X-Forwarded-For replaces it.
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
            ws="none",
            loop="asyncio",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._server = _Server(config, self._listens)
        self._thread = threading.Thread(target=self._run, name="playground", daemon=True)

    def start(self) -> None:
        """Start the server, and return when it listens. Raises ``OSError`` if it does not."""
        self._thread.start()
        self._listens.wait(_START_SECONDS)
        if not self._server.started:
            raise OSError("the page's server did not start; its port may be taken")

    def stop(self) -> None:
        """Stop the server, and return when its port is closed."""
        self._playground.end_feeds()
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            # SystemExit is how uvicorn says that it could not bind; it has logged why.
            with contextlib.suppress(SystemExit):
                self._server.run()
        finally:
            self._listens.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """A server that tells when it listens."""

    def __init__(self, config: uvicorn.Config, listens: threading.Event) -> None:
        super().__init__(config)
        self._listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()
