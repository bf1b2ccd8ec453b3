"""Publish commands as Celery's messages (protocol 2) and tell Flower of them, without loading Celery."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final
from uuid import uuid4

from kombu import Exchange, Queue, pools
from kombu.clocks import LamportClock

from threadsync.address import REDIS, scheme_of
from threadsync.broker.clocks import broker_time
from threadsync.broker.messages import NO_CALLBACKS, PERSISTENT, TRANSIENT, event_of, headers_of
from threadsync.broker.producer import ProducerConnection
from threadsync.command import Command
from threadsync.send_hooks import HOOKS

_MOST_CONNECTIONS: Final = 10
"""Size of the pool, the default of Celery's ``broker_pool_limit``."""


class Publisher:
    """Messages and connections of one broker. Safe for threads and forks.

    Args:
        options: Celery's settings, as ``threadsync.broker.options.broker_options`` returns them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        is_redis = scheme_of(options["broker_url"]) in REDIS
        self._events = Exchange("celeryev", type="fanout" if is_redis else "topic")
        self._event_clock = LamportClock()
        # No result comes this way. Celery's protocol has the property, so it is there.
        self._reply_to = str(uuid4())
        self._pool: Any = None
        self._pool_owner = 0

    def connection(self) -> ProducerConnection:
        """Return a new connection, which is not yet opened."""
        return ProducerConnection(
            self._options["broker_url"],
            ssl=self._options["broker_use_ssl"],
            transport_options=self._options["broker_transport_options"],
            connect_timeout=self._options["broker_connection_timeout"],
        )

    def publish(self, command: Command[Any], task_id: str) -> None:
        """Send the command and Flower's event; return when the broker has the message."""
        queue = Queue(command.queue, Exchange(command.queue), routing_key=command.queue)
        headers = headers_of(command.name, task_id, command.summary(), broker_time())
        retry = self._options["task_publish_retry_policy"]
        with ExitStack() as stack:
            for hook in HOOKS:
                stack.enter_context(hook(command.name, headers))
            producer = stack.enter_context(self._producers().acquire(block=True))
            stack.enter_context(producer.connection._reraise_as_library_errors())
            producer.publish(
                ((), command.arguments(), NO_CALLBACKS),
                exchange="",
                routing_key=command.queue,
                serializer="json",
                retry=True,
                retry_policy=retry,
                delivery_mode=PERSISTENT,
                declare=[queue],
                headers=headers,
                correlation_id=task_id,
                reply_to=self._reply_to,
            )
            self._tell_flower(producer, headers, command.queue)

    def _tell_flower(self, producer: Any, headers: Mapping[str, Any], queue: str) -> None:
        event = event_of(headers, queue, self._event_clock.forward(), time.time())
        producer.publish(
            event,
            exchange=self._events.name,
            routing_key="task.sent",
            serializer="json",
            retry=True,
            delivery_mode=TRANSIENT,
            declare=[self._events],
            headers={"hostname": headers["origin"]},
        )

    def _producers(self) -> Any:
        """Return the pool that all clients of this process share.

        A child of ``os.fork`` has a pool of its own: RabbitMQ's confirms would be read by both in turn.
        """
        if self._pool_owner != os.getpid():
            self._pool = pools.producers[self.connection()]
            self._pool.limit = _MOST_CONNECTIONS
            self._pool_owner = os.getpid()
        return self._pool
