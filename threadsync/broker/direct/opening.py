"""Open connections by redis-py: it authenticates, does TLS, and asks Sentinels for the master.

redis-py's limits start anew with each byte, and a resolver knows none. So a connection is opened in a thread
of its own, and whoever needs it waits no longer than the deadline. A connection that comes later is the next
one's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from threadsync.address import Address
from threadsync.broker.cluster import refuse_cluster_greeting
from threadsync.broker.direct.link import BROKEN, Link
from threadsync.broker.in_step import is_unwritable
from threadsync.broker.ownership import KEY, OPTION, refuse_owner
from threadsync.broker.refusals import as_ours
from threadsync.broker.servers import servers_of
from threadsync.errors import ThreadsyncError

_STALE_SECONDS: Final = 5.0
"""Time after which an opening that does not end is left alone, and another one is begun."""

_OF_TCP: Final = frozenset({"socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"})
_OF_SOCKETS: Final = _OF_TCP | {"socket_timeout", "client_name"}

Declaration = Callable[[str], tuple[bytes, int]]


class Opener:
    """The broker's address, or several, and how to connect there.

    Args:
        options: kombu's transport options, as ``threadsync.broker.options.broker_options`` returns them.
        declaration: as ``Link`` takes it.
    """

    def __init__(self, address: Address, options: Mapping[str, Any], declaration: Declaration) -> None:
        self._address = address
        self._options = options
        self._declaration = declaration
        refused = _OF_TCP if address.is_socket else frozenset()
        chosen = {name: options[name] for name in _OF_SOCKETS - refused if options.get(name) is not None}
        self._servers = [{**server, **chosen} for server in servers_of(address)]
        self._first = 0
        """The address to begin with: the last that answered."""
        self._sentinel: Any = None

    @property
    def database(self) -> int:
        """Number of the database, which Flower's topics have in their names."""
        return int(self._servers[0]["db"])

    def open(self, made: Callable[[Any], None]) -> Link:
        """Connect and return when the server can be used; ``made`` is told each connection before."""
        if self._address.scheme == "sentinel":
            return self._connect(self._master(), made)
        last = len(self._servers) - 1
        for number in range(last + 1):
            place = (self._first + number) % (last + 1)
            try:
                link = self._connect(self._servers[place], made)
            except (OSError, redis.RedisError):
                if number == last:
                    raise
            else:
                self._first = place
                return link
        raise AssertionError("there is at least one address")

    def _connect(self, server: Mapping[str, Any], made: Callable[[Any], None]) -> Link:
        # RESP 2, whose replies to what is asked here are lines.
        connection: Any = self._class(**server, protocol=2, retry=Retry(NoBackoff(), 0))
        made(connection)
        connection.connect()
        try:
            self._check(connection)
        except BaseException:
            connection.disconnect()
            raise
        return Link(connection, self._declaration)

    def _check(self, connection: Any) -> None:
        """Ask, in one write, whether it is a cluster, serves anybody, and whose it is. Raises if not ours."""
        ours = self._options.get(OPTION)
        questions: list[tuple[str, ...]] = [("HELLO",), ("PING",)]
        if ours:
            questions.append(("GET", f"{self._options.get('global_keyprefix', '')}{KEY}"))
        connection.send_packed_command(connection.pack_commands(questions))
        greeting, answer, *owner = [_reply(connection) for _ in questions]
        # Older than Redis 6, or something in between: its errors will tell.
        if not isinstance(greeting, redis.ResponseError):
            refuse_cluster_greeting(greeting)
        # Such as a replica that has lost its master. One that cannot write to its disk is there.
        if isinstance(answer, redis.ResponseError) and not is_unwritable(answer):
            raise answer
        # The broker's user may not read it; the doctor reports that.
        if ours and not isinstance(owner[0], redis.ResponseError):
            refuse_owner(owner[0], ours)

    @property
    def _class(self) -> Any:
        if self._address.is_socket:
            return redis.UnixDomainSocketConnection
        return redis.SSLConnection if self._address.tls else redis.Connection

    def _master(self) -> Mapping[str, Any]:
        name = self._options.get("master_name")
        if name is None:
            raise ValueError("'master_name' transport option must be specified.")
        if self._sentinel is None:
            sentinels: Any = Sentinel
            self._sentinel = sentinels(
                [(server["host"], server["port"]) for server in self._servers],
                min_other_sentinels=self._options.get("min_other_sentinels", 0),
                sentinel_kwargs=self._options["sentinel_kwargs"],
            )
        host, port = self._sentinel.discover_master(name)
        return {**self._servers[0], "host": host, "port": port}

    def close(self) -> None:
        """Close the connections to the sentinels."""
        if sentinel := self._sentinel:
            self._sentinel = None
            for client in sentinel.sentinels:
                client.close()


def _reply(connection: Any) -> Any:
    """Return the next reply, or the server's refusal."""
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return exc


class Opening:
    """One attempt to open a connection, which goes on in a thread."""

    def __init__(self, opener: Opener) -> None:
        self.future: Future[Link] = Future()
        self._opener = opener
        self._connection: Any = None
        self._is_cut = False
        self._begun = monotonic()
        threading.Thread(target=self._run, name="threadsync-connect", daemon=True).start()

    @property
    def is_of_use(self) -> bool:
        """Return True if it has a connection, or may have one soon."""
        if self._is_cut:
            return False
        if self.future.done():
            return self.future.exception() is None
        return monotonic() - self._begun < _STALE_SECONDS

    def cut(self) -> None:
        """Hang up on a server that has not replied in time; the thread gets an error and ends."""
        sock = getattr(self._connection, "_sock", None)
        if sock is not None and not self.future.done():
            # Its thread may learn of it late, and the next command must not wait for that.
            self._is_cut = True
            with suppress(OSError):
                # Not TLS' own, which would go on unencrypted.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            self.future.set_result(self._opener.open(self._made))
        except (*BROKEN, ThreadsyncError) as exc:
            self.future.set_exception(exc)
        except Exception as exc:  # noqa: BLE001 - redis-py may raise whatever it likes
            self.future.set_exception(as_ours(exc))

    def _made(self, connection: Any) -> None:
        self._connection = connection
