"""Parts of Celery's messages (protocol 2) and of Flower's event, for all who publish. Pure; no kombu."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

from threadsync.broker.clocks import SENT_AT

PERSISTENT: Final = 2
TRANSIENT: Final = 1
NO_CALLBACKS: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
EVENTS: Final = "celeryev"
"""The exchange of Celery's events."""

SENT: Final = "task.sent"
"""Routing key of the event that a command was sent."""


def headers_of(name: str, task_id: str, summary: str, sent_at: Any) -> dict[str, Any]:
    """Return the headers of Celery's protocol 2, and when the message was sent.

    Args:
        summary: what Flower shows: which thread, and nothing that people wrote.
    """
    return {
        "lang": "py",
        "task": name,
        "id": task_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": summary,
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        SENT_AT: sent_at,
    }


def event_of(headers: Mapping[str, Any], queue: str, clock: Any, timestamp: Any) -> dict[str, Any]:
    """Return the event by which Flower shows a command before any worker has it."""
    return {
        "type": "task-sent",
        "uuid": headers["id"],
        "root_id": headers["root_id"],
        "parent_id": headers["parent_id"],
        "name": headers["task"],
        "args": headers["argsrepr"],
        "kwargs": headers["kwargsrepr"],
        "retries": headers["retries"],
        "eta": headers["eta"],
        "expires": headers["expires"],
        "queue": queue,
        "exchange": "",
        "routing_key": queue,
        "hostname": headers["origin"],
        "utcoffset": (time.altzone if time.localtime().tm_isdst else time.timezone) // 3600,
        "pid": os.getpid(),
        "clock": clock,
        "timestamp": timestamp,
    }


def shortfall(replicas: int, wanted: int, seconds: float) -> str:
    """Return the sentence about a message that too few replicas have."""
    return f"{replicas} of {wanted} replicas had the message within {seconds:g} s"
