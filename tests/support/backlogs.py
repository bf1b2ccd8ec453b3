"""Backlogs of commands on an installation, rows that hold them up, and the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import redis

from tests.support.installation import Installation
from tests.support.servers import ask


def thread(number: int) -> dict[str, Any]:
    return {"channel_id": "C1", "thread_ts": f"1700000000.{number:06}"}


def open_sessions(installation: Installation, count: int) -> list[Any]:
    """Send a get_or_create for each of the first ``count`` threads."""
    return [
        installation.send("sessions.get_or_create", **thread(number), user_id="U1") for number in range(count)
    ]


@contextmanager
def locked(installation: Installation, number: int) -> Iterator[None]:
    """Lock a session's row, so that a command on it hangs in Postgres."""
    with psycopg.connect(installation.database_url) as connection:
        connection.execute(
            "SELECT FROM thread_sessions WHERE thread_ts = %s FOR UPDATE", [thread(number)["thread_ts"]]
        )
        yield


def locks_waited_for(installation: Installation) -> int:
    """Count the connections that wait for a lock in Postgres."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return int(str(ask(installation.database_url, statement)))


class Listener:
    """A receiver of every task event that the workers send from now on."""

    def __init__(self, installation: Installation, stack: ExitStack) -> None:
        self._events: list[dict[str, Any]] = []
        connection = stack.enter_context(installation.celery.connection_for_read())
        receiver = installation.celery.events.Receiver(connection, handlers={"*": self._events.append})
        self._connection, *_ = stack.enter_context(receiver.consumer_context())
        self.of("nobody")  # kombu subscribes with the first look

    def of(self, task_id: str) -> dict[str, dict[str, Any]]:
        """Return the events of a task so far, by their type."""
        with suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=0.05)
        return {event["type"]: event for event in self._events if event.get("uuid") == task_id}


def without_names(found: Any) -> Any:
    """Return values with all that differs from run to run left out, as their types."""
    if isinstance(found, dict):
        other = ("pid", "clock", "hostname")
        return {name: without_names(value) for name, value in found.items() if name not in other}
    if isinstance(found, list):
        return [without_names(value) for value in found]
    if isinstance(found, str):
        return "…" if any(letter.isdigit() for letter in found) else found
    return type(found).__name__


def server_holds(installation: Installation) -> int:
    """Return the number of messages that workers have."""
    with redis.Redis.from_url(installation.broker_url) as server:
        return int(server.hlen("unacked"))
