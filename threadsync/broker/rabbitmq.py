"""Sending to RabbitMQ: safer publishing, waiting and declaring than kombu's transport for AMQP (ADR 11).

* **A publish returns when the broker has the message**, and raises when no queue took it. Events and remote
  control are not confirmed: losing one does no harm, and the main process sends them.
* **No read and no write is without a limit.** The option ``read_timeout`` is none: py-amqp reads on after it.
* **A queue or exchange that is there is taken as it is**, whatever an operator has declared.
* **TLS checks the name** of the host that is connected to.

How a worker takes messages is in ``worker.durable.rabbitmq.transport``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ssl import CERT_NONE, CERT_REQUIRED
from typing import Any, Final

import amqp
from amqp.exceptions import AMQPError, MessageNacked, NotFound, PreconditionFailed
from kombu.transport import pyamqp

from threadsync.broker.errors import BrokerBlocked
from threadsync.broker.installation import look
from threadsync.broker.ownership import OthersConnection

SOCKET_SECONDS: Final = 5.0
"""Default of the transport option ``socket_timeout``."""

DEATHS: Final = ("x-death", "x-first-death-", "x-last-death-")
"""Headers by which RabbitMQ drops what expires in a queue for the second time."""

_BROKERS_OWN: Final = (*DEATHS, "x-delivery-count", "x-acquired-count")
"""Headers with a message's history, which a copy does not share."""

_UNCONFIRMED: Final = ("celeryev", "pidbox")
"""Parts of names of exchanges whose messages need no confirm: events, remote control and its replies."""


class _Bounded:
    """Mixin that limits every wait for a reply, and closes a connection on which one was cut off."""

    connection: Any

    def wait(
        self, method: Any, callback: Any = None, timeout: Any = None, returns_tuple: bool = False
    ) -> Any:
        """Wait for the server's reply; close the connection if it is late, or the next call would take it."""
        connection = self.connection
        limit = timeout or getattr(connection, "socket_timeout", None)
        bounded: Any = super()
        try:
            return bounded.wait(method, callback, limit, returns_tuple)
        except (AMQPError, MessageNacked):
            # A complete reply.
            raise
        except BaseException as exc:
            is_blocked = getattr(connection, "is_blocked", False)
            if connection is not None:
                connection.collect()
            if is_blocked and isinstance(exc, TimeoutError):
                raise BrokerBlocked from exc
            raise


class ConfirmingChannel(_Bounded, pyamqp.Channel):
    """A channel whose publishes are confirmed by the broker."""

    connection: ConfirmingConnection
    # amqp's own, which the stubs do not know.
    _basic_publish: Callable[..., Any]
    _confirm_selected: bool
    events: dict[str, set[Callable[..., None]]]
    clock: Any = None
    """The broker's clock, made at its first use: ``threadsync.broker.rabbitmq_clock``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._returned: BaseException | None = None
        super().__init__(*args, **kwargs)
        # A body is the bytes that came. By default amqp decodes it by the codec that its sender names, before
        # anything of ours has seen it: half a megabyte of "punycode" takes a minute.
        self.auto_decode = False
        self.events["basic_return"].add(self._on_returned)

    # Publishing

    def basic_publish(  # type: ignore[override]  # the rest is passed on
        self, msg: Any, exchange: str = "", routing_key: str = "", mandatory: bool = False, **kwargs: Any
    ) -> None:
        """Return when a queue has the message on disk. Raises an AMQP or socket error otherwise."""
        drop_headers(msg, _BROKERS_OWN)
        if any(name in exchange for name in _UNCONFIRMED):
            kwargs.pop("confirm_timeout", None)
            self._publish_plain(msg, exchange, routing_key, mandatory, **kwargs)
            return
        self._returned = None
        limit = kwargs.pop("confirm_timeout", None) or self.opened.socket_timeout
        try:
            self.basic_publish_confirm(
                msg, exchange, routing_key, mandatory=True, confirm_timeout=limit, **kwargs
            )
        except TimeoutError as exc:
            # The connection is closed by now: a late confirmation would be taken for the next one's.
            if isinstance(exc, BrokerBlocked):
                # Not tried again: another connection would hear as little.
                raise amqp.IrrecoverableConnectionError(str(exc)) from exc
            raise amqp.RecoverableConnectionError("the broker did not confirm in time") from exc
        if self._returned is not None:
            # kombu's declarations are gone. After this error it makes them again, and publishes once more.
            if client := getattr(self.connection, "client", None):
                client.declared_entities.clear()
            raise amqp.RecoverableChannelError(str(self._returned)) from self._returned

    @property
    def opened(self) -> Any:
        """The open connection. Raises as amqp's methods do if it was closed; kombu then takes another."""
        if self.connection is None:
            raise amqp.RecoverableConnectionError("the connection was closed")
        return self.connection

    def publish_unconfirmed(self, msg: Any, exchange: str, routing_key: str) -> None:
        """Send a message that may be lost."""
        self._publish_plain(msg, exchange, routing_key)

    def _publish_plain(self, *args: Any, **kwargs: Any) -> None:
        # Once confirms are on, RabbitMQ confirms this too; unread, that would pass for the next message's.
        if self._confirm_selected:
            self.basic_publish_confirm(*args, confirm_timeout=self.opened.socket_timeout, **kwargs)
        else:
            self._basic_publish(*args, **kwargs)

    def _on_returned(self, error: BaseException, exchange: str, routing_key: str, message: Any) -> None:
        # Its confirmation follows.
        self._returned = error

    # Declaring

    def queue_declare(self, queue: str = "", passive: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Declare the queue, or take it as it is."""
        if not queue or passive or kwargs.get("exclusive"):
            return super().queue_declare(queue, passive, *args, **kwargs)
        return self._as_it_is(
            lambda channel: pyamqp.Channel.queue_declare(channel, queue, passive=True),
            lambda channel: pyamqp.Channel.queue_declare(channel, queue, False, *args, **kwargs),
        )

    def exchange_declare(  # type: ignore[override]  # the rest is passed on
        self, exchange: str, type: str, passive: bool = False, **kwargs: Any
    ) -> Any:
        """Declare the exchange, or take it as it is."""
        if passive:
            return super().exchange_declare(exchange, type, passive=True, **kwargs)
        return self._as_it_is(
            lambda channel: pyamqp.Channel.exchange_declare(channel, exchange, type, passive=True),
            lambda channel: pyamqp.Channel.exchange_declare(channel, exchange, type, **kwargs),
        )

    def _as_it_is(self, look: Callable[[Any], Any], declare: Callable[[Any], Any]) -> Any:
        """Look for an entity, then declare it, on a channel each: the broker closes one that it refuses."""
        for attempt in (look, declare):
            channel = self.opened.channel()
            try:
                return attempt(channel)
            except NotFound:
                continue
            except PreconditionFailed:
                # Another process has declared it meanwhile.
                break
            finally:
                if channel.is_open:
                    channel.close()
        return look(self)


def drop_headers(message: Any, beginnings: tuple[str, ...]) -> None:
    """Remove the headers whose names begin so."""
    headers = message.properties.get("application_headers")
    # A name that is no UTF-8 is bytes.
    for name in [name for name in headers or () if isinstance(name, str) and name.startswith(beginnings)]:
        del headers[name]


class ConfirmingConnection(_Bounded, pyamqp.Connection):
    """A connection whose every wait has a limit."""

    Channel = ConfirmingChannel
    # amqp's own, which the stubs do not know.
    server_properties: dict[str, Any]

    def __init__(
        self,
        *args: Any,
        socket_timeout: float = SOCKET_SECONDS,
        installation: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.socket_timeout = socket_timeout
        self._installation = installation
        self.is_blocked = False
        told = {"on_blocked": self._note_alarm, "on_unblocked": self._note_end_of_alarm}
        # Ours confirms what must be confirmed.
        super().__init__(*args, **{**kwargs, **told, "confirm_publish": False})

    def _note_alarm(self, _why: str) -> None:
        self.is_blocked = True

    def _note_end_of_alarm(self) -> None:
        self.is_blocked = False

    def connect(self, callback: Callable[[], Any] | None = None) -> Any:
        done = super().connect(callback)
        # Blocking from here on, says py-amqp; a read that is given a limit of its own keeps that.
        self.transport.sock.settimeout(self.socket_timeout)
        if self._installation:
            try:
                look(self, self._installation)
            except OthersConnection:
                self.close()
                raise
        return done


class ConfirmingTransport(pyamqp.Transport):
    """Transport for ``amqp://`` and ``pyamqp://``."""

    Connection = ConfirmingConnection
    # A worker that finds that the broker was taken over ends by an error of its connection.
    connection_errors = (*pyamqp.Transport.connection_errors, OthersConnection)

    def establish_connection(self) -> Any:
        """Connect; with TLS under the name of the current host, also after a failover to the next one."""
        client: Any = self.client
        given = client.ssl
        if isinstance(given, Mapping):
            options = dict(given)
            # py-amqp checks the name when it is told one.
            if options.pop("check_hostname", True) and options.get("cert_reqs", CERT_REQUIRED) != CERT_NONE:
                options.setdefault("server_hostname", client.hostname or "localhost")
            client.ssl = options
        try:
            return super().establish_connection()
        finally:
            client.ssl = given


class ConfirmingSSLTransport(ConfirmingTransport, pyamqp.SSLTransport):
    """Transport for ``amqps://``."""
