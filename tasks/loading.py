"""Load, before a worker starts its processes, what the tasks of its queues need.

Each worker knows all tasks, so that a message is never unknown to it, but Jira's and Slack's part only if it
takes their messages. In place of the first message the start fails, then, if a package is missing, and the
processes share the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from celery import signals

from threadsync.queues import LOOKUPS_QUEUE, MAINTENANCE_QUEUE, SYNCS_QUEUE

_STATUS_MESSAGES: Final = ("worker.status_message.process",)
_STEPS: Final = ("worker.thread.process", "worker.thread.step")
_SYNCS: Final = ("worker.jira.sync", "worker.jira.unlink", *_STEPS, *_STATUS_MESSAGES)
_SAMPLES: Final = ("worker.db.console_login.sessions", "worker.db.overview.store")

NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    SYNCS_QUEUE: _SYNCS,
    MAINTENANCE_QUEUE: (*_SYNCS, *_SAMPLES),
    LOOKUPS_QUEUE: ("worker.jira.form_lookups", "worker.jira.setup", "worker.thread.process"),
}
"""Modules that tasks import where they use them, by the tasks' queue."""


@signals.celeryd_after_setup.connect(weak=False)
def _load(instance: Any, **_: object) -> None:
    for queue in instance.app.amqp.queues.consume_from:
        for module in NEEDED.get(queue, ()):
            import_module(module)
