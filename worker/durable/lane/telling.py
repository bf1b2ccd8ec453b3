"""Tell of the ends of a chunk in one write: results, Flower's events, and that its messages have ended.

| | to the broker, in one write | refused |
|---|---|---|
| results | ``RESULTS``; where the broker does not keep them, before, by Celery's backend | logged |
| events | ``task.multi``, as Celery's own dispatcher sends it | left out |
| the end | ``END`` | the main process tells it again |

Results come before END on one connection, so a command that has ended has its result.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import uuid4

import structlog
from celery import current_app
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.command import Command
from threadsync.dto import Dto
from worker.durable import scripts
from worker.durable.gathering import results_command
from worker.durable.lane.chunk import Job
from worker.durable.lane.reading import Plain
from worker.durable.redaction import shown

_EVENTS: Final = "celeryev"
_MANY: Final = "task.multi"
_TRANSIENT: Final = 1

log = structlog.get_logger("threadsync.worker")


class Ending(NamedTuple):
    """A command that was carried out.

    Attributes:
        place: of its message in the chunk.
        sent: ids of the messages that it has sent.
    """

    place: int
    message: Plain
    command: type[Command[Any]]
    result: Dto
    sent: Sequence[str]


def tell(job: Job, ended: Sequence[Ending], began: float, seconds: float) -> tuple[bool, int]:
    """Tell of the ends; return True if the broker knows them, and the logical clock after the last event.

    Args:
        began: when the commands were begun, in seconds since 1970.
        seconds: how long they took.
    """
    if not ended:
        return True, job.clock
    backend: Any = current_app.backend
    results = [(backend.get_key_for_task(end.message.task_id), _stored(end)) for end in _answered(ended)]
    events = list(_events(job, ended, began, seconds)) if job.hostname else []
    # At first alone, to see that the user of this process may run the script.
    is_one_server = current_app.conf.result_backend == current_app.conf.broker_url and backend.may_script
    if not is_one_server:
        backend.store_at_once(results)
    try:
        with current_app.connection_or_acquire() as connection:
            channel: Any = connection.default_channel
            found, is_told = _written(
                channel,
                results_command(results, backend.expires) if results and is_one_server else None,
                _event_message(job.hostname, events) if events else "",
                [job.tags[end.place] for end in ended],
            )
    except BROKER_ERRORS as exc:
        log.warning("the ends of a chunk are told once more", reason=f"{type(exc).__name__}: {exc}")
        found, is_told = exc if is_one_server else None, False
    if isinstance(found, Exception):
        # By the backend, which may know another way: the right to run the script may have been taken away.
        backend.store_at_once(results)
    elif found and found[0]:
        count, reason = found
        backend.note_lost(count, bytes_to_str(reason))
    return is_told, job.clock + len(events)


def _written(
    channel: Any, results: Sequence[Any] | None, event: str, tags: Sequence[Any]
) -> tuple[Any, bool]:
    """Write all; return the reply to the command with the results, and True if END was accepted."""
    with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
        if results:
            pipe.execute_command(*results)
        if event:
            pipe.publish(channel._get_publish_topic(_EVENTS, _MANY), event)
        pipe.execute_command(*channel._script_command(scripts.END, [], tags))
        replies = pipe.execute(raise_on_error=False)
    return replies[0] if results else None, not isinstance(replies[-1], Exception)


def _answered(ended: Sequence[Ending]) -> Iterator[Ending]:
    return (end for end in ended if end.message.is_answered)


def _stored(end: Ending) -> str:
    """Return a result as Celery's backends store it."""
    task_id = json.dumps(end.message.task_id)
    children = json.dumps([[[child, None], None] for child in end.sent])
    return (
        f'{{"status": "SUCCESS", "result": {end.result.model_dump_json(warnings=False)}, "traceback": null, '
        f'"children": {children}, "date_done": "{datetime.now(UTC).isoformat()}", "task_id": {task_id}}}'
    )


def _events(job: Job, ended: Sequence[Ending], began: float, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the events of Celery's ordinary road, in its order for each command."""
    offset = (time.altzone if time.localtime().tm_isdst else time.timezone) // 3600
    common = {"hostname": job.hostname, "utcoffset": offset, "pid": job.pid}
    now, clock = time.time(), job.clock
    for end in ended:
        message = end.message
        headers = message.headers
        args, kwargs = shown(
            end.command, [], message.kwargs, headers.get("argsrepr"), headers.get("kwargsrepr")
        )
        told = {
            "name": message.name,
            "args": args,
            "kwargs": kwargs,
            "root_id": headers["root_id"],
            "parent_id": None,
            "retries": 0,
            "eta": None,
            "expires": None,
        }
        of_all = {**common, "uuid": message.task_id}
        yield {**of_all, "clock": clock + 1, **told, "timestamp": began, "type": "task-received"}
        yield {**of_all, "clock": clock + 2, "timestamp": began, "type": "task-started"}
        yield {
            **of_all,
            "clock": clock + 3,
            "result": end.result.summary(),
            "runtime": seconds,
            "timestamp": now,
            "type": "task-succeeded",
        }
        clock += 3


def _event_message(hostname: str, events: Sequence[Any]) -> str:
    """Return the message that Celery's dispatcher would publish."""
    return json.dumps(
        {
            "body": b64encode(json.dumps(events).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"hostname": hostname},
            "properties": {
                "delivery_mode": _TRANSIENT,
                "delivery_info": {"exchange": _EVENTS, "routing_key": _MANY},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )
