"""kombu's transport for AMQP, with what a publish, a read and a declaration lack there.

* **A publish returns when the broker has the message**, and raises when no queue took it: confirmed and
  mandatory. Events and remote control are not: nobody would miss one, and a worker's main process sends them.
* **No read and no write is without a limit.** The option ``read_timeout`` is none: py-amqp reads on after it.
* **Prefetch counts for each consumer.** The global one, which Celery asks for, is refused by quorum queues.
* **A queue or exchange that is there is taken as it is.** An operator may have declared it as a quorum queue,
  with a delivery limit or a policy; declaring it otherwise is an error (406) that Celery repeats for ever.
* **It is known when a queue was last heard of**, which a worker reports: ``worker.signs``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import amqp
from amqp.exceptions import NotFound, PreconditionFailed
from kombu.transport import pyamqp

SOCKET_SECONDS: Final = 5.0
"""Unless the transport option ``socket_timeout`` says otherwise."""

HEARTBEAT_SECONDS: Final = 5
"""Of a worker's connection. A broker, or a worker, that is silent for twice as long is taken for dead."""

_UNCONFIRMED: Final = ("celeryev", "pidbox")
"""In names of exchanges: events, remote control and its replies."""


class RabbitChannel(pyamqp.Channel):  # type: ignore[misc]  # kombu's is untyped
    """One that can be trusted."""

    connection: RabbitConnection
    clock: Any = None
    """Made when it is first asked: ``worker.rabbitmq.clock``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._has_consumers = False
        self._queue_of_tag: dict[Any, str] = {}
        self._tag_of_queue: dict[str, Any] = {}
        self._held: dict[int, str] = {}
        self._ended_at: dict[str, float] = {}
        self._returned: BaseException | None = None
        super().__init__(*args, **kwargs)
        self.events["basic_return"].add(self._on_returned)

    # Publishing

    def basic_publish(
        self, msg: Any, exchange: str = "", routing_key: str = "", mandatory: bool = False, **kwargs: Any
    ) -> Any:
        """Return when a queue has it on disk. Raises an AMQP or socket error otherwise."""
        if any(name in exchange for name in _UNCONFIRMED):
            kwargs.pop("confirm_timeout", None)
            return self._basic_publish(msg, exchange, routing_key, mandatory, **kwargs)
        self._returned = None
        limit = kwargs.pop("confirm_timeout", None) or self.connection.socket_timeout
        try:
            done = self.basic_publish_confirm(
                msg, exchange, routing_key, mandatory=True, confirm_timeout=limit, **kwargs
            )
        except TimeoutError as exc:
            # What comes later would be taken for the answer to the next one.
            self.connection.collect()
            raise amqp.RecoverableConnectionError("the broker did not confirm in time") from exc
        if self._returned is not None:
            raise self._returned
        return done

    def publish_unconfirmed(self, msg: Any, exchange: str, routing_key: str) -> None:
        """Send what may be lost."""
        self._basic_publish(msg, exchange, routing_key)

    def _on_returned(self, error: BaseException, exchange: str, routing_key: str, message: Any) -> None:
        # Its confirmation follows.
        self._returned = error

    # Declaring

    def queue_declare(self, queue: str = "", passive: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Declare it, or take it as it is."""
        if not queue or passive or kwargs.get("exclusive"):
            return super().queue_declare(queue, passive, *args, **kwargs)
        return self._as_it_is(
            lambda channel: pyamqp.Channel.queue_declare(channel, queue, passive=True),
            lambda channel: pyamqp.Channel.queue_declare(channel, queue, False, *args, **kwargs),
        )

    def exchange_declare(self, exchange: str, type: str, passive: bool = False, **kwargs: Any) -> Any:
        """The same for an exchange."""
        if passive:
            return super().exchange_declare(exchange, type, passive=True, **kwargs)
        return self._as_it_is(
            lambda channel: pyamqp.Channel.exchange_declare(channel, exchange, type, passive=True),
            lambda channel: pyamqp.Channel.exchange_declare(channel, exchange, type, **kwargs),
        )

    def _as_it_is(self, look: Callable[[Any], Any], declare: Callable[[Any], Any]) -> Any:
        """Each on a channel of its own, because the broker closes one on which something is refused."""
        for attempt in (look, declare):
            channel = self.connection.channel()
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

    # Consuming

    def basic_consume(
        self, queue: str = "", *args: Any, callback: Callable[[Any], Any] | None = None, **kwargs: Any
    ) -> Any:
        no_ack = kwargs.get("no_ack", False)

        def noted(message: Any) -> Any:
            if not no_ack:
                self._held[message.delivery_tag] = queue
            return callback(message) if callback else None

        tag = super().basic_consume(queue, *args, callback=noted, **kwargs)
        self._tag_of_queue[queue] = tag
        return tag

    def basic_cancel(self, consumer_tag: Any, *args: Any, **kwargs: Any) -> Any:
        self._tag_of_queue = {queue: tag for queue, tag in self._tag_of_queue.items() if tag != consumer_tag}
        return super().basic_cancel(consumer_tag, *args, **kwargs)

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **kwargs: Any) -> Any:
        self._end(delivery_tag, multiple)
        return super().basic_ack(delivery_tag, multiple, **kwargs)

    def basic_reject(self, delivery_tag: int, requeue: bool, **kwargs: Any) -> Any:
        self._end(delivery_tag)
        return super().basic_reject(delivery_tag, requeue, **kwargs)

    def _end(self, delivery_tag: int, multiple: bool = False) -> None:
        ended = [tag for tag in self._held if tag <= delivery_tag] if multiple else [delivery_tag]
        for tag in ended:
            queue = self._held.pop(tag, None)
            if queue is not None:
                self._ended_at[queue] = monotonic()

    @property
    def held(self) -> int:
        """Messages that came here and have not ended."""
        return len(self._held)

    def seconds_since_use(self, queue: str) -> tuple[float | None, float | None]:
        """Since the broker was heard while we consume from the queue, and since a message of it ended."""
        ended = self._ended_at.get(queue)
        asked = self.connection.seconds_since_heard() if queue in self._tag_of_queue else None
        return asked, None if ended is None else monotonic() - ended


class RabbitConnection(pyamqp.Connection):  # type: ignore[misc]  # kombu's is untyped
    """A connection on which nothing waits for ever."""

    Channel = RabbitChannel

    def __init__(self, *args: Any, socket_timeout: float = SOCKET_SECONDS, **kwargs: Any) -> None:
        self.socket_timeout = socket_timeout
        self._heard = 0
        self._heard_at = monotonic()
        # Ours confirms what must be confirmed.
        super().__init__(*args, **{**kwargs, "confirm_publish": False})

    def connect(self, callback: Callable[[], Any] | None = None) -> Any:
        done = super().connect(callback)
        # Blocking from here on, says py-amqp; a read that is given a limit of its own keeps that.
        self.transport.sock.settimeout(self.socket_timeout)
        return done

    def seconds_since_heard(self) -> float:
        """Since the broker sent anything, as far as it was noticed when this was last asked."""
        if self.bytes_recv != self._heard:
            self._heard, self._heard_at = self.bytes_recv, monotonic()
        return monotonic() - self._heard_at


class RabbitTransport(pyamqp.Transport):  # type: ignore[misc]  # kombu's is untyped
    """For ``amqp://`` and ``pyamqp://``."""

    Connection = RabbitConnection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:
        """Have Celery count the prefetch for each consumer: RabbitMQ means that by the plain setting."""
        return True


class RabbitSSLTransport(RabbitTransport, pyamqp.SSLTransport):
    """For ``amqps://``."""
