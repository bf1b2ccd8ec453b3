"""A replica of Valkey for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from worker.local.servers.valkey import EmbeddedValkey

_FOLLOWS_SECONDS: Final = 10


@contextmanager
def replica_of(master: EmbeddedValkey, folder: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Run a replica with ``settings``, whose data is in ``folder``, until the block ends."""
    replica = EmbeddedValkey(folder, settings=settings)
    replica.start()
    try:
        with redis.Redis.from_url(master.url) as first, redis.Redis.from_url(replica.url) as other:
            # A replica is waited for five seconds before it gets its first copy, in case more come.
            first.config_set("repl-diskless-sync-delay", "0")
            other.config_set("masterauth", master.password)
            other.replicaof("127.0.0.1", str(master.port))
            _wait_until_it_follows(other)
        yield
    finally:
        replica.stop()


def _wait_until_it_follows(replica: redis.Redis) -> None:
    deadline = time.monotonic() + _FOLLOWS_SECONDS
    while True:
        info: Any = replica.info("replication")
        if info["master_link_status"] == "up":
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the replica does not follow within {_FOLLOWS_SECONDS} s: {info}")
        time.sleep(0.02)
