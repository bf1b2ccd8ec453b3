"""Erase results, the log of writes and the log of slow commands in Valkey or Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import redis
from celery.backends.redis import RedisBackend
from redis.exceptions import NoPermissionError

from threadsync.broker.errors import BROKER_ERRORS
from worker.operate.forgetting.letters import Sought

_AT_ONCE: Final = 500
_REWRITE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
_RABBITMQ: Final = (
    "RabbitMQ gives out no message that was acknowledged, but its files have it until it writes over them: "
    "docs/operate/forgetting.md says how to empty them."
)
_SLOW_LOGS: Final = (
    ("SLOWLOG", "RESET"),
    ("COMMANDLOG", "RESET", "slow"),
    ("COMMANDLOG", "RESET", "large-request"),
    ("COMMANDLOG", "RESET", "large-reply"),
)


def forget_results(app: Any, sought: Sought) -> tuple[int, str]:
    """Delete results about anything sought. Return their number, and a sentence on a failure."""
    backend = app.backend
    if not isinstance(backend, RedisBackend):
        return 0, "Results are not in Valkey or Redis: they go after RESULT_TTL_SECONDS."
    deleted = 0
    try:
        for keys, values in _pages(backend):
            found = [
                key
                for key, value in zip(keys, values, strict=True)
                # Compressed, where Celery is set so.
                if value and sought.is_in({"body": value})
            ]
            deleted += backend.client.delete(*found) if found else 0
    except (redis.RedisError, *BROKER_ERRORS) as exc:
        return deleted, f"Results were not looked through ({exc}): they go after RESULT_TTL_SECONDS."
    return deleted, ""


def forget_logs(app: Any, is_redis: bool) -> list[str]:
    """Rewrite the log of writes, which has old messages. Return sentences on failures."""
    said = _of_the_broker(app) if is_redis else [_RABBITMQ]
    if isinstance(app.backend, RedisBackend) and app.conf.result_backend != app.conf.broker_url:
        said += _rewritten("the results' server", lambda: app.backend.client)
    return said


def _of_the_broker(app: Any) -> list[str]:
    try:
        with app.connection_or_acquire() as connection:
            return _rewritten("the broker", lambda: connection.default_channel.client)
    except (redis.RedisError, *BROKER_ERRORS) as exc:
        return [f"The log of the broker was not rewritten, it does not answer: {type(exc).__name__}."]


def _pages(backend: Any) -> Iterator[tuple[list[bytes], list[bytes | None]]]:
    pattern = backend.get_key_for_task("*")
    cursor = 0
    while True:
        cursor, keys = backend.client.scan(cursor, match=pattern, count=_AT_ONCE)
        if keys:
            yield keys, backend.client.mget(keys)
        if not cursor:
            return


def _rewritten(name: str, client_of: Callable[[], Any]) -> list[str]:
    said = []
    try:
        client = client_of()
        for command in _SLOW_LOGS:
            try:
                client.execute_command(*command)
            except NoPermissionError:
                said = [f"This login may not empty the log of slow commands of {name}: SLOWLOG RESET does."]
            except redis.ResponseError:
                # An older server knows no such log.
                continue
        if not client.info("persistence").get("aof_enabled"):
            return said
        client.execute_command("BGREWRITEAOF")
        return said if _ended(client) else [*said, f"The log of {name} is still being rewritten."]
    except redis.ResponseError as exc:
        return [
            *said,
            f"The log of {name} was not rewritten ({exc}): BGREWRITEAOF takes old messages out of it.",
        ]
    except (redis.RedisError, *BROKER_ERRORS) as exc:
        return [*said, f"The log of {name} was not rewritten, it does not answer: {type(exc).__name__}."]


def _ended(client: Any) -> bool:
    until = time.monotonic() + _REWRITE_SECONDS
    while time.monotonic() < until:
        info = client.info("persistence")
        if not info.get("aof_rewrite_in_progress") and not info.get("aof_rewrite_scheduled"):
            return True
        time.sleep(_LOOK_SECONDS)
    return False
