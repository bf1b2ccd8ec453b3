"""Let each publisher of ours send once; print the outcomes as JSON. ``python -m tests.support.publishers``.

In a process of its own, because the worker's app is made once, of the environment.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from celery import _state
from celery.exceptions import Reject, Retry

import tests.support.probe_tasks  # noqa: F401 - its tasks are registered
from tasks import send_soon
from tasks.announcements import announce_soon
from tasks.syncs import sweep
from threadsync import AsyncSessionClient, SessionClient
from threadsync.command import Message
from threadsync.commands import ChannelMoved
from threadsync.errors import CommandFailed
from threadsync.sync_commands import Sync
from threadsync.syncs import Draft
from worker.celery import app
from worker.db import get_connection
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.pool import new_pool
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore
from worker.durable.beat import SWEEP, SteadyScheduler
from worker.operate import decisions

_THREAD: Final = ("C1", "1700000000.000100")


def _client() -> str:
    with SessionClient() as client:
        return _sent(client.get_or_create(*_THREAD, "U1"))


def _client_of_moves() -> str:
    with SessionClient() as client:
        return _sent(client.channel_moved("C1", "C2"))


def _async_client() -> str:
    async def send() -> str:
        async with AsyncSessionClient() as client:
            return _sent(await client.get_or_create(*_THREAD, "U1"))

    return asyncio.run(send())


def _sent(_: object) -> str:
    return "sent"


def _soon() -> str:
    return str(send_soon.send_soon(Message(Sync.name, {"session_id": str(_session())}, "syncs")))


def _moved_soon() -> str:
    command = ChannelMoved(channel_id="C1", new_channel_id="C2")
    return str(send_soon.send_soon(Message(command.name, command.arguments(), command.queue)))


def _announcement() -> str:
    return str(announce_soon(_session()))


def _sweep() -> str:
    """Return how many were sent, and the state of the due sync."""
    session_id = _session()
    SessionStore().request_sync(*_THREAD, Draft(summary="A"), "1700000000.000200")
    with get_connection() as connection:
        # As if the message that was sent with it had been lost a while ago.
        connection.execute("UPDATE syncs SET queued_until = NULL, next_attempt_at = now()")
    counts = sweep.run()
    return f"{counts['sent']} sent, {SyncStore().get_state(session_id).state}"  # type: ignore[union-attr]


def _session() -> Any:
    return SessionStore().get_or_create_session(*_THREAD, "U1").id


def _replay() -> str:
    """Replay a dead letter; return whether it is settled then."""
    with new_pool() as pool:
        letter = DeadLetterStore(pool).bury(
            Letter(
                task_id="died",
                task_name="sessions.get",
                queue="sessions",
                error=CommandFailed("probe"),
                attempts=1,
                arguments=json.dumps({"args": [], "kwargs": {}}),
            )
        )
        try:
            decisions.replay(pool, letter, decisions.signature("ann", "to see"))
        except Exception as exc:  # noqa: BLE001 - whatever it says
            traceback.print_exc()
            return f"{type(exc).__name__}, {DeadLetterStore(pool).get(letter).state}"
        return DeadLetterStore(pool).get(letter).state


def _beat() -> str:
    """Let beat send; return whether it would send the same again."""
    scheduler = SteadyScheduler(app=app, lazy=True)
    scheduler.setup_schedule()
    entry = scheduler.schedule[SWEEP]
    try:
        result = scheduler.apply_async(entry, producer=scheduler.producer)
    except Exception as exc:  # noqa: BLE001 - whatever it says
        traceback.print_exc()
        return f"{type(exc).__name__}, next: {scheduler._may_send(entry, scheduler.producer)}"
    return "sent" if result else "not needed"


def _copy() -> str:
    """Send a copy of a command that finds the database away."""
    task: Any = app.tasks["probe.database_away"]
    arguments = ["/dev/null", 1_000]
    task.push_request(
        id="waits",
        args=arguments,
        kwargs={},
        called_directly=False,
        delivery_info={"routing_key": "sessions"},
    )
    try:
        task(*arguments)
    except Reject as rejected:
        exc: Any = rejected
        traceback.print_exc()
        return f"Reject, requeue: {exc.requeue}"
    except Retry:
        return "sent"
    finally:
        task.pop_request()
    return "no copy"


PUBLISHERS: Final[Mapping[str, Callable[[], str]]] = {
    "client": _client,
    "client, channels.moved": _client_of_moves,
    "asyncio client": _async_client,
    "send_soon": _soon,
    "send_soon, channels.moved": _moved_soon,
    "announcement": _announcement,
    "sweep": _sweep,
    "dead letter, sent again": _replay,
    "beat": _beat,
    "copy of a command that waits": _copy,
}


def _outcome(publish: Callable[[], str]) -> str:
    # After a failure it says nothing for a while.
    send_soon._not_before = 0.0
    try:
        return publish()
    except Exception as exc:  # noqa: BLE001 - that is the outcome
        traceback.print_exc()
        return type(exc).__name__


def main() -> None:
    # As in a process of a worker's pool.
    celery: Any = _state
    celery._set_task_join_will_block(True)
    with closing(app):
        print(json.dumps({name: _outcome(publish) for name, publish in PUBLISHERS.items()}), flush=True)


if __name__ == "__main__":
    main()
