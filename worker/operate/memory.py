"""How much memory Valkey or Redis uses, and how much it may: what INFO says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from threadsync.broker.producer import ProducerChannel


@dataclass(frozen=True)
class Memory:
    """Bytes that count towards the limit, and the limit: 0 where there is none but the machine's."""

    used: int
    limit: int
    machine: int = 0

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Memory | None:
        """Read the answer to INFO; None where it says nothing of memory."""
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
        """The part of the limit, or of the machine's memory, that is used; None where neither is known."""
        of = self.limit or self.machine
        return self.used / of if of else None


def memory_of(channel: Any) -> Memory | None:
    """Ask; None where the user may not ask, and of RabbitMQ, which tells nobody over AMQP."""
    if not isinstance(channel, ProducerChannel):
        return None
    try:
        with channel.conn_or_acquire() as client:
            return Memory.of(client.info("memory"))
    except redis.ResponseError:
        return None
