"""Flower's events of a chunk, as one message of Celery's, from a form that is filled in.

What Celery's dispatcher would send, and a fifth of the time: tests/unit/test_lane_events.py compares the two.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Final
from uuid import uuid4

from worker.durable.lane.chunk import Job
from worker.durable.lane.ending import Ending
from worker.durable.redaction import shown

EXCHANGE: Final = "celeryev"
MANY: Final = "task.multi"
EACH: Final = 3
"""Number of a command's events: received, started, succeeded, as on the ordinary road."""

_MESSAGE: Final = (
    '{{"body": "{body}", "content-encoding": "utf-8", "content-type": "application/json", '
    '"headers": {{"hostname": {hostname}}}, "properties": {{"delivery_mode": 1, '
    f'"delivery_info": {{{{"exchange": "{EXCHANGE}", "routing_key": "{MANY}"}}}}, '
    '"priority": 0, "body_encoding": "base64", "delivery_tag": "{tag}"}}}}'
)


def event_message(job: Job, ended: Sequence[Ending], began: float, seconds: float) -> str:
    """Return the message that Celery's dispatcher would publish, in the order of the ordinary road.

    Args:
        began: when the commands were begun, in seconds since 1970.
        seconds: how long they took.
    """
    hostname = quoted(job.hostname)
    offset = (time.altzone if time.localtime().tm_isdst else time.timezone) // 3600
    common = f'"hostname": {hostname}, "utcoffset": {offset}, "pid": {job.pid}'
    then = f'"timestamp": {began!r}, {common}'
    now = f'"timestamp": {time.time()!r}, {common}, "runtime": {seconds!r}'
    events = [
        _events_of(end, then, now, clock)
        for clock, end in zip(
            range(job.clock + 1, job.clock + 1 + EACH * len(ended), EACH), ended, strict=True
        )
    ]
    body = b64encode(f"[{', '.join(events)}]".encode()).decode()
    return _MESSAGE.format(body=body, hostname=hostname, tag=uuid4())


def _events_of(end: Ending, then: str, now: str, clock: int) -> str:
    task_id, name, kwargs, headers = end.message
    uuid = quoted(task_id)
    shown_args, shown_kwargs = shown(
        end.command, [], kwargs, headers.get("argsrepr"), headers.get("kwargsrepr")
    )
    root_id = "null" if headers["root_id"] is None else quoted(headers["root_id"])
    return (
        f'{{"type": "task-received", "uuid": {uuid}, "clock": {clock}, {then}, "name": {quoted(name)}, '
        f'"args": {quoted(shown_args)}, "kwargs": {quoted(shown_kwargs)}, "root_id": {root_id}, '
        '"parent_id": null, "retries": 0, "eta": null, "expires": null}, '
        f'{{"type": "task-started", "uuid": {uuid}, "clock": {clock + 1}, {then}}}, '
        f'{{"type": "task-succeeded", "uuid": {uuid}, "clock": {clock + 2}, {now}, '
        f'"result": {quoted(end.result.summary())}}}'
    )
