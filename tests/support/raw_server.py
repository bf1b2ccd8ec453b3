"""A server that does to its connections whatever a test wants: what no HTTP library would do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

Behaviour = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """The next request: its head and its body. Raises ``IncompleteReadError`` when there is none."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self._reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        return head + body

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int, body: bytes, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode() + body)

    async def gone(self, seconds: float = 30) -> None:
        """Wait until the other side has closed the connection."""
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(self._reader.read(), seconds)

    def abort(self) -> None:
        """End the connection at once, without a goodbye."""
        self._writer.transport.abort()


class RawServer:
    """``url`` leads to it; ``connections`` is how many there were, ``requests`` what came over them.

    ``sent`` counts the bytes of answers, where a behaviour counts them.
    """

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self.sent = 0


@contextmanager
def raw_server(behaviour: Callable[[Peer, RawServer], Awaitable[None]]) -> Iterator[RawServer]:
    """Serve every connection with ``behaviour``, in a thread, on a free port of 127.0.0.1."""
    server, listening, stop = RawServer(), Future[asyncio.AbstractEventLoop](), asyncio.Event()

    open_ones: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The other side may leave at any time.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            try:
                await behaviour(Peer(reader, writer), server)
            finally:
                writer.close()
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        if stop.is_set():
            writer.transport.abort()
        else:
            open_ones[asyncio.ensure_future(serve_one(reader, writer))] = writer

    async def serve() -> None:
        listener = await asyncio.start_server(connected, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()[:2]
        server.url = f"http://{host}:{port}"
        loop = asyncio.get_running_loop()
        listening.set_result(loop)
        await stop.wait()
        # Before its close: Python 3.11 leaks a connection that was accepted and not yet handed over by then.
        loop.remove_reader(listener.sockets[0].fileno())
        for task, writer in open_ones.items():
            task.cancel()
            # Not in the task: one that is cancelled before its first step runs no line of its own.
            writer.transport.abort()
        # asyncio's own too: a connection that was accepted just now is not with us yet.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="raw-server", daemon=True)
    thread.start()
    loop = listening.result(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
