"""A worker's connections to the broker: a producer's that can take messages too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kombu.connection import PooledConnection
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis

from threadsync.broker.producer import ProducerAMQP, ProducerConnection
from worker.durable.rabbitmq.transport import RabbitSSLTransport, RabbitTransport
from worker.durable.transport import DurableSentinelTransport, DurableTransport


class DurableConnection(ProducerConnection):
    """A connection of an app that takes messages too."""

    kind = "threadsync.worker"
    transports: ClassVar[Mapping[type, type]] = {
        kombu_redis.Transport: DurableTransport,
        kombu_redis.SentinelTransport: DurableSentinelTransport,
        pyamqp.Transport: RabbitTransport,
        pyamqp.SSLTransport: RabbitSSLTransport,
    }


class _DurablePooledConnection(DurableConnection, PooledConnection):
    """A connection in a pool."""


DurableConnection.pooled = _DurablePooledConnection


class DurableAMQP(ProducerAMQP):
    """Celery's ``amqp``, with connections that can take messages."""

    Connection = DurableConnection
