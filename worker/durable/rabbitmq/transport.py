"""Transport that takes messages from RabbitMQ, with what kombu's for AMQP lacks.

* **Prefetch counts for each consumer.** The global one, which Celery asks for, is refused by quorum queues.
* **It is known when a queue was last heard of**, for the worker's heartbeat.
* **A suspect stays sealed**: kombu would decompress it in the main process (``worker.durable.deliveries``).

How messages are sent is in ``threadsync.broker.rabbitmq``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import amqp
from kombu.transport import pyamqp
from kombu.transport.native_delayed_delivery import CELERY_DELAYED_DELIVERY_EXCHANGE

from threadsync.broker.rabbitmq import (
    DEATHS,
    ConfirmingChannel,
    ConfirmingConnection,
    ConfirmingSSLTransport,
    ConfirmingTransport,
    drop_headers,
)
from threadsync.errors import named
from worker.durable.decompression import opens_to_much
from worker.durable.deliveries import Envelope, envelope_around, is_suspect
from worker.durable.json_message import JsonMessage
from worker.durable.rabbitmq.receiving import frame_handler

DELAY_PREFIX: Final = "threadsync"
"""Prefix of the queues in which messages wait, apart from another app's."""

log = logging.getLogger("threadsync.worker")

HEARTBEAT_SECONDS: Final = 5
"""Interval of AMQP's heartbeats; a broker or worker that is silent for twice as long counts as dead."""

DELIVERY_EXCHANGE: Final = f"{DELAY_PREFIX}_{CELERY_DELAYED_DELIVERY_EXCHANGE}"


class RabbitMessage(JsonMessage, pyamqp.Message):
    """kombu's message; ``envelope`` is there while it is sealed: see ``worker.durable.deliveries``."""

    def __init__(self, msg: Any, channel: Any = None, **kwargs: Any) -> None:
        self._whole = msg
        super().__init__(msg, channel=channel, **kwargs)
        self.envelope: Envelope | None = None

    @classmethod
    def sealed(cls, whole: Any, channel: Any) -> RabbitMessage:
        """Make a message with its content sealed in an envelope."""
        compression = _headers_of(whole).get("compression")
        headers = {name: value for name, value in _headers_of(whole).items() if name != "compression"}
        shell: Any = amqp.Message(b"", **{**whole.properties, "application_headers": headers})
        shell.delivery_info = whole.delivery_info
        made = cls(shell, channel)
        made.envelope = envelope_around(made, whole.body, compression, *_cut_off(whole))
        made._whole = whole
        return made

    def unsealed(self) -> RabbitMessage:
        """Open the message here, under the same tag."""
        return RabbitMessage(self._whole, self.channel, accept=self.accept)


def _cut_off(whole: Any) -> tuple[int, str]:
    missing = getattr(whole, "missing", 0)
    return missing, whole.content_name if missing else ""


def _headers_of(whole: Any) -> dict[str, Any]:
    return whole.properties.get("application_headers") or {}


class RabbitChannel(ConfirmingChannel):
    """A channel that knows the messages that it holds, and when each queue was last used."""

    connection: RabbitConnection

    def message_to_python(self, raw_message: Any) -> RabbitMessage:
        """Make kombu's message of an arrived one; one that may be deadly stays sealed."""
        packed = _headers_of(raw_message).get("compression")
        is_sealed = (
            is_suspect(raw_message) or _cut_off(raw_message)[0] or opens_to_much(raw_message.body, packed)
        )
        make = RabbitMessage.sealed if is_sealed else RabbitMessage
        return make(raw_message, self)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._tag_of_queue: dict[str, Any] = {}
        self._held: dict[int, str] = {}
        self._ended_at: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def basic_consume(
        self, queue: str = "", *args: Any, callback: Callable[[Any], Any] | None = None, **kwargs: Any
    ) -> Any:
        no_ack = kwargs.get("no_ack", False)

        def noted(message: Any) -> Any:
            if not no_ack:
                # Whatever way it came: there its copies are to go.
                message.delivery_info.update(exchange="", routing_key=queue)
                self._held[message.delivery_tag] = queue
            if callback:
                self._hand_on(message, callback)

        kombus: Any = super()
        tag = kombus.basic_consume(queue, *args, callback=noted, **kwargs)
        self._tag_of_queue[queue] = tag
        return tag

    def _hand_on(self, message: Any, callback: Callable[[Any], Any]) -> None:
        """Hand a message on; if that fails it goes back, and after several deliveries is not opened here."""
        # The connection may be closed afterwards, and unknown to the channel.
        connection = self.opened
        try:
            # By these RabbitMQ drops what expires in a queue for the second time; a copy must not have them.
            drop_headers(message, DEATHS)
            callback(message)
        except Exception as exc:
            # kombu counts KeyError among these, and so would end the connection for a message.
            errors = (*connection.connection_errors, *connection.channel_errors)
            if isinstance(exc, errors) and not isinstance(exc, LookupError):
                raise
            log.warning("a message goes back, it could not be received: %s", named(exc))
            if message.delivery_tag in self._held:
                self.basic_reject(message.delivery_tag, requeue=True)

    def basic_cancel(self, consumer_tag: Any, *args: Any, **kwargs: Any) -> Any:
        self._tag_of_queue = {queue: tag for queue, tag in self._tag_of_queue.items() if tag != consumer_tag}
        return super().basic_cancel(consumer_tag, *args, **kwargs)

    def basic_ack(self, delivery_tag: int, multiple: bool = False, argsig: str = "Lb") -> None:
        self._end(delivery_tag, multiple)
        super().basic_ack(delivery_tag, multiple, argsig)

    def basic_reject(self, delivery_tag: int, requeue: bool, argsig: str = "Lb") -> None:
        self._end(delivery_tag)
        super().basic_reject(delivery_tag, requeue, argsig)

    def _end(self, delivery_tag: int, multiple: bool = False) -> None:
        ended = [tag for tag in self._held if tag <= delivery_tag] if multiple else [delivery_tag]
        for tag in ended:
            queue = self._held.pop(tag, None)
            if queue is not None:
                self._ended_at[queue] = monotonic()

    @property
    def held(self) -> int:
        """The number of messages that arrived here and have not ended."""
        return len(self._held)

    def seconds_since_use(self, queue: str) -> tuple[float | None, float | None]:
        """Return seconds since the broker spoke, if we consume the queue, and since a message of it ended."""
        ended = self._ended_at.get(queue)
        is_consumed = self.connection is not None and queue in self._tag_of_queue
        asked = self.connection.seconds_since_heard() if is_consumed else None
        return asked, None if ended is None else monotonic() - ended


class RabbitConnection(ConfirmingConnection):
    """A connection that knows for how long its broker has been silent."""

    Channel = RabbitChannel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._heard = 0
        self._heard_at = monotonic()
        super().__init__(*args, **kwargs)
        self.frame_handler_cls = frame_handler

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read a frame; without memory for it end the connection: the next frame's start is unknown then."""
        amqps: Any = super()
        try:
            return amqps.blocking_read(timeout)
        except MemoryError as exc:
            self.collect()
            raise amqp.RecoverableConnectionError("no memory for what the broker sends") from exc

    def seconds_since_heard(self) -> float:
        """Return seconds since the broker sent anything, as far as earlier calls noticed."""
        if self.bytes_recv != self._heard:
            self._heard, self._heard_at = self.bytes_recv, monotonic()
        return monotonic() - self._heard_at


class RabbitTransport(ConfirmingTransport):
    """The transport of ``amqp://`` and ``pyamqp://``."""

    Connection = RabbitConnection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:
        """Return True, so that Celery sets the prefetch per consumer: RabbitMQ reads the plain setting so."""
        return True


class RabbitSSLTransport(RabbitTransport, ConfirmingSSLTransport):
    """The transport of ``amqps://``."""
