"""A worker's connections to the broker, which publish and take messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakSet

from celery.app.amqp import AMQP
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis

from threadsync.broker.clocks import SENT_AT, broker_time
from threadsync.broker.producer import ProducerConnection
from worker.durable.rabbitmq.transport import RabbitSSLTransport, RabbitTransport
from worker.durable.redaction import shown_unseen
from worker.durable.transport import DurableSentinelTransport, DurableTransport


class DurableConnection(ProducerConnection):
    """A producer's connection that takes messages too."""

    kind = "threadsync.worker"
    transports: ClassVar[Mapping[type, type]] = {
        kombu_redis.Transport: DurableTransport,
        kombu_redis.SentinelTransport: DurableSentinelTransport,
        pyamqp.Transport: RabbitTransport,
        pyamqp.SSLTransport: RabbitSSLTransport,
    }


class DurableAMQP(AMQP):
    """Class for ``Celery(amqp=...)``, with our connections, and messages that say when they were sent."""

    Connection = DurableConnection

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        _senders.add(self)

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        """Build Celery's message, with the time of sending; a message sent again keeps its first time.

        Neither it nor the event that tells of it repeats the arguments: what is to be seen the sender says.
        """
        for repr_name, text in zip(("argsrepr", "kwargsrepr"), shown_unseen(args, kwargs), strict=True):
            if options.get(repr_name) is None:
                options[repr_name] = text
        message = super().as_task_v2(task_id, name, args, kwargs, *more, **options)
        message.headers[SENT_AT] = broker_time()
        return message


_senders: WeakSet[DurableAMQP] = WeakSet()


def _leave_the_parents_connections_alone() -> None:
    """Forget the pools after a plain ``os.fork``, which neither Celery nor kombu notices.

    redis-py looks at the process's id; RabbitMQ's confirms would be read by parent and child in turn.
    """
    sender: Any
    for sender in tuple(_senders):
        sender._producer_pool = sender.app._pool = None


os.register_at_fork(after_in_child=_leave_the_parents_connections_alone)
