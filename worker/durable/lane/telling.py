"""Tell of the ends of a chunk in one write: results, Flower's events, and that its messages have ended.

| | to the broker, in one write | refused |
|---|---|---|
| results | ``RESULTS``; where the broker does not keep them, before, by Celery's backend | logged |
| events | ``task.multi``, as Celery's own dispatcher sends it | left out |
| the end | ``END`` | the main process tells it again |

Results come before END on one connection, so a command that has ended has its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from celery import current_app
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.errors import BROKER_ERRORS
from worker.durable import scripts
from worker.durable.gathering import results_command
from worker.durable.lane.chunk import Job
from worker.durable.lane.ending import Ending, stored_results
from worker.durable.lane.events import EACH, EXCHANGE, MANY, event_message

log = structlog.get_logger("threadsync.worker")


def tell(job: Job, ended: Sequence[Ending], began: float, seconds: float) -> tuple[bool, int]:
    """Tell of the ends; return True if the broker knows them, and the logical clock after the last event.

    Args:
        began: when the commands were begun, in seconds since 1970.
        seconds: how long they took.
    """
    if not ended:
        return True, job.clock
    backend: Any = current_app.backend
    results = [(backend.get_key_for_task(task_id), result) for task_id, result in stored_results(ended)]
    # At first alone, to see that the user of this process may run the script.
    is_one_server = current_app.conf.result_backend == current_app.conf.broker_url and backend.may_script
    if not is_one_server:
        backend.store_at_once(results)
    # Someone may wait for the results, which are on their way if they are kept elsewhere.
    event = event_message(job, ended, began, seconds) if job.hostname else ""
    try:
        with current_app.connection_or_acquire() as connection:
            channel: Any = connection.default_channel
            found, is_told = _written(
                channel,
                results_command(results, backend.expires) if results and is_one_server else None,
                event,
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
    return is_told, job.clock + (EACH * len(ended) if event else 0)


def _written(
    channel: Any, results: Sequence[Any] | None, event: str, tags: Sequence[Any]
) -> tuple[Any, bool]:
    """Write all; return the reply to the command with the results, and True if END was accepted."""
    with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
        if results:
            pipe.execute_command(*results)
        if event:
            pipe.publish(channel._get_publish_topic(EXCHANGE, MANY), event)
        pipe.execute_command(*channel._script_command(scripts.END, [], tags))
        replies = pipe.execute(raise_on_error=False)
    return replies[0] if results else None, not isinstance(replies[-1], Exception)
