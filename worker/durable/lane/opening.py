"""Judge if the fast lane is open, or why not: some of Celery's features need each command by itself."""

from __future__ import annotations

from typing import Any, Final

from celery import signals
from celery.worker.state import revoked

from threadsync.config import get_settings
from worker.durable.children import TakingConsumer, has_children
from worker.durable.gathering import Gathers

MOST_REVOKED: Final = 1000
"""Most revoked ids that go to a child with each chunk."""

_SIGNALS: Final = (signals.task_received, signals.task_prerun, signals.task_postrun, signals.task_success)


def is_listened_to() -> bool:
    """Return True if a program in this process listens to the signals of tasks."""
    return any(signal.receivers for signal in _SIGNALS)


def why_closed(consumer: TakingConsumer, tasks: tuple[Any, ...]) -> str:
    """Return why the lane is closed from the start; empty if it is open."""
    conf = consumer.app.conf
    settings = get_settings()
    if not settings.fast_lane:
        return "FAST_LANE is false"
    if not tasks:
        return "there is no command for it"
    if not has_children(consumer):
        return "the pool has no processes"
    if consumer.controller.max_tasks_per_child:
        return "processes are replaced after a number of tasks"
    if consumer.controller.autoscale:
        return "processes come and go with the number of Celery's requests"
    if settings.otel_traces_exporter != "none":
        return "each command is traced"
    if not isinstance(consumer.app.backend, Gathers):
        return "results are not kept in Valkey or Redis"
    if conf.task_track_started or conf.find_value_for_key("extended", "result"):
        return "Celery is to keep more of each task than its result"
    return ""


def is_shut(consumer: Any, tasks: tuple[Any, ...]) -> bool:
    """Return True while something that may change keeps the lane closed."""
    has_rate = not consumer.disable_rate_limits and any(consumer.task_buckets[task.name] for task in tasks)
    # A chunk has one time limit; an operator may have given one command another.
    time_limits = {(task.soft_time_limit, task.time_limit) for task in tasks}
    return has_rate or len(time_limits) > 1 or is_listened_to() or len(revoked) > MOST_REVOKED
