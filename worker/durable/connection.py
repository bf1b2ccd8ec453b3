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
    """Of an app that takes messages too."""

    kind = "threadsync.worker"
    transports: ClassVar[Mapping[type, type]] = {
        kombu_redis.Transport: DurableTransport,
        kombu_redis.SentinelTransport: DurableSentinelTransport,
        pyamqp.Transport: RabbitTransport,
        pyamqp.SSLTransport: RabbitSSLTransport,
    }


class _DurablePooledConnection(DurableConnection, PooledConnection):
    """One that lies in a pool."""


DurableConnection.pooled = _DurablePooledConnection


class DurableAMQP(ProducerAMQP):
    """For a worker's ``Celery(amqp=...)``."""

    Connection = DurableConnection
