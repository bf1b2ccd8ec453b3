"""Flower's ear: what a client of any kind tells of its messages comes in without their arguments."""

from __future__ import annotations

from typing import Any

from celery.events.receiver import EventReceiver

from threadsync.redaction import shown_by_flower


class RedactingReceiver(EventReceiver):
    """In place of ``flower.events.EventReceiver``: nothing comes in that would have to be forgotten."""

    def event_from_message(self, body: Any, *args: Any, **kwargs: Any) -> Any:
        return super().event_from_message(shown_by_flower(body), *args, **kwargs)
