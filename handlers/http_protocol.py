"""uvicorn's HTTP/1.1 with limits on the time of a request, and on the bytes read ahead of the app.

uvicorn bounds neither the time in which headers or a body must come (its keep-alive timer ends with the first
byte) nor the number of connections. See docs/adr/0017-public-door.md for why not another server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from handlers.connections import Connections, Stage

_STAGE_SECONDS: Final[dict[Stage, float]] = {"head": 10, "unread": 30, "body": 15, "page": 60, "answer": 60}
"""Limits of the stages; ``body`` has more than the endpoint allows, which can so still respond 408."""

_SLACKS: Final = "/slack/"
"""Paths whose responses are never dropped; pages and probes may be."""

_READ_BYTES: Final = 16_384
"""Bytes of one read. asyncio's own 256 kB, times a thousand connections, would exceed all other memory."""

_MOST_HEAD_BYTES: Final = 16_384
_MOST_HEAD_LINES: Final = 128
_FREE_CHUNKS: Final = 256
_LEAST_CHUNK_BYTES: Final = 64
"""Least average above that number: h11 takes as long for a chunk of one byte as for one of thousands."""

_MOST_IN_A_ROW: Final = 8
"""Most pipelined requests on a connection; after these the client must connect again."""

_LINGER_BYTES: Final = 65_536
"""Longest rest of a body to read. Hanging up on a browser's form would hide our response."""

_UNREAD_BYTES: Final = 16_384
"""Unsent bytes after which a peer that does not read counts as slow."""

_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(H11Protocol, asyncio.BufferedProtocol):
    """A connection of the web process. All of them share one limit and one read buffer."""

    connections_of_process = Connections()
    _buffer = memoryview(bytearray(_READ_BYTES))

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn: _HeadFirst = _HeadFirst(
            h11.SERVER, config.h11_max_incomplete_event_size or _MOST_HEAD_BYTES
        )
        self._stage: tuple[Stage, object] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._in_a_row = 0
        self._is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _AskingFlow(transport, self._body_is_asked_for)
        transport.set_write_buffer_limits(high=_UNREAD_BYTES)
        if self.connections_of_process.admit(self):
            self._follow()
        else:
            transport.write(_FULL)
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self.connections_of_process.remove(self)
        if self._deadline:
            self._deadline.cancel()
        # Also when the peer broke off: uvicorn's own timer would hold all this for its five seconds.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the event loop's next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what the event loop has read."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def handle_events(self) -> None:
        if not self.transport.is_closing():
            super().handle_events()
        self._follow()

    def on_response_complete(self) -> None:
        cycle = self.cycle
        super().on_response_complete()
        # Go through the part of an unread body that has arrived, such as a whole small form.
        self.conn.go_on()
        self.handle_events()
        if self.cycle is not cycle:
            # The next request had come already.
            self._in_a_row += 1
            if self._in_a_row >= _MOST_IN_A_ROW:
                self.cycle.keep_alive = False
            return
        self._in_a_row = 0
        if self.conn.their_state is h11.SEND_BODY and self.conn.announced > _LINGER_BYTES:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._enter(("unread", self.cycle))

    def resume_writing(self) -> None:
        super().resume_writing()
        self._follow()

    def send_400_response(self, msg: str) -> None:
        if self.cycle and not self.cycle.response_complete:
            # What the app still says would be a second answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            # An answer is on its way already.
            self.transport.close()

    def drop(self) -> None:
        """Close the connection now."""
        self.transport.abort()

    def _body_is_asked_for(self) -> None:
        if self.conn.go_on():
            self.loop.call_soon(self.handle_events)

    def _follow(self) -> None:
        """Start a new deadline when the stage changes, in this request or the next."""
        stage = (self._stage_now(), self.cycle)
        if stage != self._stage and not self.flow.write_paused:
            self._enter(stage)

    def _stage_now(self) -> Stage:
        if self.transport.is_closing():
            # A closing connection stays open until its peer has read our last bytes.
            return "unread"
        if self.conn.their_state is h11.IDLE:
            return "head"
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        return "answer" if self.scope and self.scope["path"].startswith(_SLACKS) else "page"

    def _enter(self, stage: tuple[Stage, object]) -> None:
        if self._is_lost:
            # A deadline would hold all this.
            return
        self._stage = stage
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(_STAGE_SECONDS[stage[0]], self.drop)
        self.connections_of_process.move(self, stage[0])


class _HeadFirst(h11.Connection):
    """A parser that reads a request's head, and its body only when the app asks for it."""

    announced: float = 0
    """Announced bytes of the body; infinite if it is chunked."""

    _is_held = False
    _chunks = 0
    _bytes = 0

    def go_on(self) -> bool:
        """Continue with the body; return False if it was not held back."""
        was_held, self._is_held = self._is_held, False
        return was_held

    def next_event(self) -> Any:
        if self._is_held:
            return h11.PAUSED
        if self.their_state is h11.IDLE and self._has_many_lines():
            raise h11.RemoteProtocolError("too many header lines")
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.announced = _announced_by(event)
            self._is_held = self.announced > 0
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data) and self.announced == inf:
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > _FREE_CHUNKS + self._bytes // _LEAST_CHUNK_BYTES:
                raise h11.RemoteProtocolError("too many small chunks")
        return event

    def _has_many_lines(self) -> bool:
        """Check the next head before h11, which is slow with thousands of lines.

        Also at one that came behind another request, and was kept until that was answered.
        """
        return self.trailing_data[0].partition(b"\r\n\r\n")[0].count(b"\n") > _MOST_HEAD_LINES


class _AskingFlow(FlowControl):
    """Flow control that reports when the app reads on."""

    def __init__(self, transport: asyncio.Transport, asked: Callable[[], None]) -> None:
        super().__init__(transport)
        self._asked = asked

    def resume_reading(self) -> None:
        super().resume_reading()
        self._asked()


def _announced_by(request: h11.Request) -> float:
    headers = dict(request.headers)
    return inf if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
