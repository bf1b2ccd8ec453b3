"""Each way in which Valkey and Redis answer, and refuse: what brings it about, and what mends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import redis

from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until

Refuse = Callable[[RedisServer, Any], Any]

SETTINGS: Final = {
    "enable-debug-command": "yes",
    # So small that a server that loads looks around after a few keys.
    "loading-process-events-interval-bytes": "1024",
}


@dataclass(frozen=True)
class Refusal:
    """A reason.

    Attributes:
        until_mended: gives a context manager.
        words: of a client's error meanwhile.
        met: in the log of a worker that starts then.
    """

    until_mended: Refuse
    words: str
    met: str = "broker refused"


def settings(begin: Mapping[str, str], end: Mapping[str, str]) -> Refuse:
    """Refuse by settings of the server."""

    @contextmanager
    def refusing(server: RedisServer, client: Any) -> Iterator[None]:
        for name, value in begin.items():
            client.config_set(name, value)
        yield
        for name, value in end.items():
            client.config_set(name, value)

    return refusing


def rights(*taken: str, given: str) -> Refuse:
    """Refuse by rights that the user loses."""

    @contextmanager
    def refusing(server: RedisServer, client: Any) -> Iterator[None]:
        client.execute_command("ACL", "SETUSER", "default", *taken)
        yield
        client.execute_command("ACL", "SETUSER", "default", given)

    return refusing


@contextmanager
def no_save(server: RedisServer, client: Any) -> Iterator[None]:
    """The snapshot cannot be written: MISCONF. A folder stands in its place, as root may write anywhere."""
    place = server.directory / "dump.rdb"
    place.unlink(missing_ok=True)
    place.mkdir()
    # Neither says how long a snapshot takes.
    client.config_set("save", "3600 100000")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "it failed", 20)
    yield
    place.rmdir()
    wait_until(lambda: _saves(client), "a snapshot is written", 20)


def _saves(client: Any) -> bool:
    with suppress(redis.ResponseError):
        client.bgsave()
    return bool(client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def replica(server: RedisServer, client: Any) -> Iterator[None]:
    """A failover went by: READONLY."""
    client.replicaof("127.0.0.1", "1")
    yield
    client.replicaof("NO", "ONE")


@contextmanager
def lonely_replica(server: RedisServer, client: Any) -> Iterator[None]:
    """One that answers nothing without its master: MASTERDOWN."""
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof("127.0.0.1", "1")
    yield
    client.replicaof("NO", "ONE")
    client.config_set("replica-serve-stale-data", "yes")


@contextmanager
def loading(server: RedisServer, client: Any) -> Iterator[None]:
    """It reads its data, very slowly, and has lost all connections: LOADING."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(20_000):
            pipe.set(f"another's:{number}", "x" * 1_000)
        pipe.execute()
    client.config_set("key-load-delay", "5000")

    def reload() -> None:
        with suppress(redis.RedisError), server.client() as own:
            own.connection_pool.connection_kwargs["socket_timeout"] = None
            own.execute_command("DEBUG", "RELOAD")

    thread = threading.Thread(target=reload)
    thread.start()
    wait_until(lambda: _says(client, "LOADING"), "it is loading", 20)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield
    client.config_set("key-load-delay", "0")
    thread.join()


@contextmanager
def busy(server: RedisServer, client: Any) -> Iterator[None]:
    """Another's script does not end: BUSY."""
    client.config_set("busy-reply-threshold", "50")

    def script() -> None:
        with server.client() as own, suppress(redis.ResponseError):
            own.connection_pool.connection_kwargs["socket_timeout"] = None
            own.eval("while true do end", 0)

    thread = threading.Thread(target=script)
    thread.start()
    wait_until(lambda: _says(client, "BUSY"), "the script runs", 20)
    yield
    client.script_kill()
    thread.join()


def _says(client: Any, word: str) -> bool:
    try:
        client.get("x")
    except redis.RedisError as exc:
        return word in f"{type(exc).__name__} {exc}".upper()
    return False


_AGAIN: Final = "Cannot connect"

REFUSALS: Final[Mapping[str, Refusal]] = {
    "full": Refusal(settings({"maxmemory": "1"}, {"maxmemory": "0"}), "broker is full", "broker is full"),
    "no snapshot": Refusal(no_save, "cannot write to its disk"),
    "too few replicas": Refusal(
        settings({"min-replicas-to-write": "1"}, {"min-replicas-to-write": "0"}), "too few replicas"
    ),
    "a replica": Refusal(replica, "is a replica"),
    "a lonely replica": Refusal(lonely_replica, "replica without its master", _AGAIN),
    "loading": Refusal(loading, "still loading", _AGAIN),
    "busy": Refusal(busy, "a script that does not end", _AGAIN),
    "no connection left": Refusal(
        settings({"maxclients": "1"}, {"maxclients": "1000"}), "no connection left", _AGAIN
    ),
    "no command": Refusal(rights("-lpush", "-eval", given="+@all"), "user may not", _AGAIN),
    "no key": Refusal(rights("resetkeys", "~unacked*", "~_kombu*", given="allkeys"), "user may not", _AGAIN),
}

CHEAP: Final = frozenset({"no snapshot"})
"""Those of ``make test``."""
