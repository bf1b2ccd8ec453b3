"""Take the arguments out of events before Flower keeps them, whichever client sent them."""

from __future__ import annotations

from typing import Any

from celery.events.receiver import EventReceiver

from worker.durable.redaction import shown_by_flower


class RedactingReceiver(EventReceiver):
    """Flower's receiver of events, which redacts each one, so that Flower has nothing to forget."""

    def event_from_message(self, body: Any, *args: Any, **kwargs: Any) -> Any:
        return super().event_from_message(shown_by_flower(body), *args, **kwargs)
