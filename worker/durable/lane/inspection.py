"""Show the fast lane's messages to Celery's remote control, which knows requests: they are made on demand.

So ``inspect active``, ``reserved`` and ``query_task`` list them, and ``revoke --terminate`` finds the process
that runs one: its chunk goes back to the broker, and what was revoked is dropped when it comes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from celery.worker.state import active_requests, requests, reserved_requests

from worker.durable.lane.chunk import Chunk
from worker.durable.lane.lane import Lane
from worker.durable.raw_message import DurableMessage, Taken, payload_of
from worker.durable.request import DurableRequest

QUESTIONS: Final = frozenset(
    {"active", "dump_active", "reserved", "dump_reserved", "query_task", "revoke", "terminate"}
)
"""Methods of remote control that look for requests."""


@contextmanager
def shown_to_celery(consumer: Any) -> Iterator[None]:
    """Let Celery find the requests of all messages that the lane holds, within the block."""
    lane = consumer.lane
    found = _requests(consumer, lane) if isinstance(lane, Lane) else ()
    # Another message may have the same id, and take the ordinary road.
    made = {request.id: request for request in found if request.id not in requests}.values()
    for request in made:
        requests[request.id] = request
        (active_requests if request.time_start else reserved_requests).add(request)
    try:
        yield
    finally:
        for request in made:
            requests.pop(request.id, None)
            active_requests.discard(request)
            reserved_requests.discard(request)


def _requests(consumer: Any, lane: Lane) -> Iterator[Any]:
    for chunk in lane.waiting():
        yield from _of_chunk(consumer, chunk)
    for running in lane.running():
        for request in _of_chunk(consumer, running.chunk):
            request.time_start, request.worker_pid = running.began_at, running.pid
            yield request


def _of_chunk(consumer: Any, chunk: Chunk) -> Iterator[Any]:
    for raw, tag in zip(chunk.messages, chunk.tags, strict=True):
        # Whatever is wrong with it: it takes the ordinary road, which says so.
        with suppress(Exception):
            taken = Taken(chunk.queue, raw, tag, 1, False, "", "", 0)
            message: Any = DurableMessage(payload_of(taken, chunk.channel), channel=chunk.channel)
            yield DurableRequest(
                message,
                app=consumer.app,
                hostname=consumer.hostname,
                eventer=consumer.event_dispatcher,
                task=consumer.app.tasks[message.headers["task"]],
            )
