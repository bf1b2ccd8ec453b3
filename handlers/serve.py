"""Run the web process on uvicorn, with limits: ``python -m handlers.serve --port 3000``.

``uvicorn handlers.asgi:app`` serves the same app without these limits, for use behind a proxy with limits.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn

from handlers.connections import Connections, accepted_at_once, places, raise_descriptor_limit
from handlers.http_protocol import BoundedProtocol

_STOP_SECONDS: Final = 3
"""Time for open connections at a stop, which they would block otherwise."""

_WAITING_TO_BE_ACCEPTED: Final = 4_096
"""Connections that the kernel may queue, as far as `net.core.somaxconn` allows; others try again."""

_FAILED: Final = 3
"""uvicorn's exit code for an app that does not start."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until TERM or INT."""
    options = parser().parse_args(arguments)
    descriptors = raise_descriptor_limit()
    BoundedProtocol.connections_of_process = Connections(places(descriptors))
    config = uvicorn.Config(
        "handlers.asgi:app",
        host=options.host,
        port=options.port,
        uds=options.uds,
        forwarded_allow_ips=options.forwarded_allow_ips,
        # uvloop, where it is installed, would read 256 kB at once.
        loop="asyncio",
        http=BoundedProtocol,
        # Not used; uvicorn would hand such a connection to a protocol without these limits.
        ws="none",
        timeout_graceful_shutdown=_STOP_SECONDS,
        # asyncio uses it for both: the kernel's queue, and the connections accepted at once.
        backlog=accepted_at_once(descriptors),
    )
    server = _Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if options.uds:
        with suppress(FileNotFoundError):
            Path(options.uds).unlink()
    if not server.started:
        sys.exit(_FAILED)


class _Server(uvicorn.Server):
    """A server that lets more connections wait than it accepts at once."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in (one for server in self.servers for one in server.sockets):
            with listening.dup() as same:
                same.listen(_WAITING_TO_BE_ACCEPTED)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m handlers.serve",
        description="Serve Slack's requests, the console and the probes, with limits on time and memory.",
    )
    made.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    made.add_argument("--port", type=int, default=3000, help="the port (default: %(default)s)")
    made.add_argument("--uds", help="a Unix socket to listen on in place of address and port")
    made.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="proxies whose X-Forwarded-For and -Proto count (default: FORWARDED_ALLOW_IPS or 127.0.0.1)",
    )
    return made


if __name__ == "__main__":
    main()
