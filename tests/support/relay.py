"""An address in front of a server, as a proxy or a virtual one: it can move, and it can fall silent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.waiting import let_pass

_BETWEEN_BYTES = 0.2


class Relay:
    """Pass on what comes to ``port`` to ``target``, which may be changed; connections stay where they are."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.is_silent = False
        """Keep everything back; connections stay open, and new ones are taken."""
        self.trickles = False
        """Pass replies on a byte at a time, each soon enough for a limit that starts anew with each byte."""
        self.ends_after: bytes | None = None
        """A client that sends this is cut off: the server has it, and its reply gets lost."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._sockets = [self._server]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()

    def drop(self) -> None:
        """End all connections; new ones are taken."""
        ends, self._sockets = self._sockets[1:], self._sockets[:1]
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._sockets.append(client)
                if self.is_silent:
                    continue
                server = socket.create_connection(("127.0.0.1", self.target))
                self._sockets.append(server)
                self._run(self._pass_on, client, server, client)
                self._run(self._pass_on, server, client, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if source is client and self.ends_after and self.ends_after in data:
                    # Before the server can have answered.
                    client.shutdown(socket.SHUT_RDWR)
                    sink.sendall(data)
                    break
                if self.trickles and sink is client:
                    self._trickle(data, sink)
                elif not self.is_silent:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _trickle(self, data: bytes, sink: socket.socket) -> None:
        for place in range(len(data)):
            let_pass(_BETWEEN_BYTES)
            sink.sendall(data[place : place + 1])
