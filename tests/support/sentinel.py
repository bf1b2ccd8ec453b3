"""A sentinel over a master and its replica: real servers, all three."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import redis

from tests.support.servers import VALKEY_SETTINGS
from tests.support.waiting import wait_until
from worker.local.child import Child
from worker.local.servers.port import free_port
from worker.local.servers.valkey import EmbeddedValkey

MASTER_NAME = "broker"


class Watched:
    """``servers`` are the master and its replica, whichever is which by now; both have one password."""

    def __init__(self, servers: tuple[EmbeddedValkey, EmbeddedValkey], port: int) -> None:
        self.servers = servers
        self.port = port
        self.client = redis.Redis(port=port, decode_responses=True)

    @property
    def url(self) -> str:
        """The sentinel's URL, with the password of the servers."""
        return f"sentinel://:{self.servers[0].password}@127.0.0.1:{self.port}/0"

    def master(self) -> tuple[str, str]:
        """Host and port of what redis-py is told: another is named a moment before that by other commands."""
        state = cast(Any, self.client.sentinel_masters())[MASTER_NAME]
        return state["ip"], str(state["port"])

    def serving(self) -> EmbeddedValkey:
        """The server that is the master now."""
        _host, port = self.master()
        (server,) = (server for server in self.servers if str(server.port) == port)
        return server

    def has_replica(self) -> bool:
        """Whether the other server follows the master, so that it could take over."""
        with contextlib.suppress(redis.ConnectionError):
            replicas = cast(Any, self.client.sentinel_slaves(MASTER_NAME))
            return any(replica["master-link-status"] == "ok" for replica in replicas)
        return False


@contextmanager
def sentinel_over(own: EmbeddedValkey, folder: Path, down_after_milliseconds: int) -> Iterator[Watched]:
    """Give ``own`` a replica, and a sentinel that watches the two."""
    replica = EmbeddedValkey(folder / "replica", settings={**VALKEY_SETTINGS, "shutdown-timeout": "0"})
    watch: Child | None = None
    port = free_port()
    try:
        replica.start()
        with redis.Redis.from_url(own.url) as master, redis.Redis.from_url(replica.url) as other:
            master.config_set("masterauth", own.password)
            master.config_set("repl-diskless-sync-delay", "0")
            other.config_set("masterauth", own.password)
            other.config_set("repl-diskless-sync-delay", "0")
            other.config_set("requirepass", own.password)
            other.replicaof("127.0.0.1", str(own.port))
            wait_until(lambda: other.info("replication")["master_link_status"] == "up", "it is a replica")
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {own.port} 1\n"
            f"sentinel auth-pass {MASTER_NAME} {own.password}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} {down_after_milliseconds}\n"
            f"sentinel failover-timeout {MASTER_NAME} 5000\n"
        )
        program = psutil.Process(own.pid).exe()
        watch = Child([program, str(config), "--sentinel"], log_path=folder / "sentinel.log", cwd=folder)
        watched = Watched((own, replica), port)
        wait_until(watched.has_replica, "the sentinel sees the replica")
        try:
            yield watched
        finally:
            watched.client.close()
    finally:
        if watch is not None:
            watch.stop(signal.SIGTERM, 5)
        replica.stop()
