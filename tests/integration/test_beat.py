"""Beat started as README starts it: its sweeps run, and they send no events."""

from __future__ import annotations

from typing import Any

from tests.support.installation import Installation
from tests.support.waiting import wait_until

SWEEPS = 3


def test_sweeps_are_not_told_to_those_who_watch(installation: Installation) -> None:
    """Sweeps run without any task event, sent or received, so Flower does not list them."""
    events: list[dict[str, Any]] = []
    app = installation.celery
    with app.connection_for_read() as broker, installation.worker("swept", LOG_LEVEL="DEBUG") as worker:
        receiver = app.events.Receiver(broker, handlers={"*": events.append})
        with receiver.consumer_context() as (connection, *_):
            beat = installation.beat()
            try:
                _has_come(connection, events, "nothing")  # kombu subscribes with the first look
                wait_until(lambda: worker.log.count("task=syncs.sweep") >= SWEEPS, "sweeps have run", 30)
                installation.send("sessions.get", channel_id="C1", thread_ts="1700000000.000100")
                wait_until(lambda: _has_come(connection, events, "task-succeeded"), "what came last is told")
            finally:
                beat.kill()
    assert "syncs.sweep" not in str(events)


def _has_come(connection: Any, events: list[dict[str, Any]], event_type: str) -> bool:
    try:
        while True:
            connection.drain_events(timeout=0.05)
    except TimeoutError:
        return any(event["type"] == event_type for event in events)
