"""The table of ``worker.durable``: which of our classes the app uses in the place of Celery's."""

from __future__ import annotations

import re
from typing import Any, Final

from celery import Celery, Task

import worker.durable
from tasks.command_task import CommandTask
from threadsync.config import Settings
from worker.celery import app, configuration
from worker.durable.connection import DurableConnection
from worker.durable.event_receiver import RedactingReceiver
from worker.durable.task import DurableTask

ROOM: Final = "worker.durable."
ROW: Final = re.compile(r"^\| (?P<place>[^|]+) \| ``(?P<ours>[\w.]+)`` \| (?P<lost>[^|]+) \|$", re.M)
OF_THE_APP: Final = {"task_cls": "task_cls", "control_cls": "control_cls", "amqp": "amqp_cls"}


def test_the_table_is_what_the_app_uses() -> None:
    """The table lists exactly the classes that the app uses, with what would be lost without each."""
    rows = ROW.findall(worker.durable.__doc__ or "")
    assert {(place.strip("`"), ours) for place, ours, _ in rows} == in_use()
    assert all(lost.strip() for _, _, lost in rows)


def test_each_place_is_one_of_celerys() -> None:
    places: list[tuple[Any, str]] = [(Celery, name) for name in OF_THE_APP.values()] + [
        (Task, "Request"),
        (Task, "Strategy"),
    ]
    assert [name for owner, name in places if not hasattr(owner, name)] == []


def in_use() -> set[tuple[str, str]]:
    """Return place and class of everything in `worker.durable` that the app is given."""
    configured = {
        (name, str(value).removeprefix(ROOM).replace(":", "."))
        for name, value in configuration(Settings(celery_broker_url="redis://broker")).items()
        if isinstance(value, str) and value.startswith(ROOM)
    }
    ours: Any = app
    of_app = {
        (place, getattr(ours, name).removeprefix(ROOM).replace(":", "."))
        for place, name in OF_THE_APP.items()
    }
    of_tasks = {
        ("Task.Request", named(DurableTask.Request)),
        ("Task.Strategy", named(DurableTask.Strategy)),
        ("CommandTask.Strategy", named(CommandTask.Strategy)),
        ("Celery", named(type(app))),
        # Given to Flower by worker/operate/flower_conf.py.
        (RedactingReceiver.__bases__[0].__name__, named(RedactingReceiver)),
    }
    transports = {
        (f"{theirs.__module__.rpartition('.')[2]}.{theirs.__name__}", named(mine))
        for theirs, mine in DurableConnection.transports.items()
    }
    steps = {
        (f"step of the {blueprint}", named(step))
        for blueprint, added in app.steps.items()
        for step in added
        if step.__module__.startswith(ROOM)
    }
    return configured | of_app | of_tasks | transports | steps


def named(ours: Any) -> str:
    # Celery names a step by its module and class.
    return f"{ours.__module__}.{ours.__qualname__.rpartition('.')[2]}".removeprefix(ROOM)
