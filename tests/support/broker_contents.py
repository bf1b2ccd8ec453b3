"""Everything that a broker keeps, as one text."""

from __future__ import annotations

from typing import Any

import redis


def everything_in(broker_url: str) -> str:
    """All that Valkey has: messages, results, and what kombu notes."""
    found: list[object] = []
    with redis.Redis.from_url(broker_url, decode_responses=True) as client:
        reads: dict[str, Any] = {
            "string": client.get,
            "hash": client.hgetall,
            "list": lambda key: client.lrange(key, 0, -1),
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1),
        }
        for key in client.scan_iter():
            kind = str(client.type(key))
            found.append((key, reads[kind](key) if kind in reads else client.dump(key)))
    return str(found)
