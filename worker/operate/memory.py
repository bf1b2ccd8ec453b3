"""Read from INFO the memory that Valkey or Redis uses, and its limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from threadsync.broker.producer import ProducerChannel


@dataclass(frozen=True)
class Memory:
    """Bytes that count towards the limit, and the limit: 0 if there is none but the machine's."""

    used: int
    limit: int
    machine: int = 0

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Memory | None:
        """Read the response to INFO; None if it has no memory section."""
        if "used_memory" not in info:
            return None
        # Buffers of replicas and of the append-only file are not counted, says the server's own limit.
        uncounted = int(info.get("mem_not_counted_for_evict") or 0)
        return cls(
            used=int(info["used_memory"]) - uncounted,
            limit=int(info.get("maxmemory") or 0),
            machine=int(info.get("total_system_memory") or 0),
        )

    @property
    def share(self) -> float | None:
        """Return the used part of the limit, or of the machine's memory; None if neither is known."""
        of = self.limit or self.machine
        return self.used / of if of else None


def memory_of(channel: Any) -> Memory | None:
    """Ask the broker; None if the login may not, and of RabbitMQ, which does not tell over AMQP."""
    if not isinstance(channel, ProducerChannel):
        return None
    try:
        with channel.conn_or_acquire() as client:
            return Memory.of(client.info("memory"))
    except redis.ResponseError:
        return None
