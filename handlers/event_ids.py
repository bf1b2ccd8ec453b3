"""A task's id from Slack's event id, so that what Slack says finds the task in Flower and in the logs."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final
from uuid import uuid4

_EVENT_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_MOST: Final = 10_000


class EventIds:
    """Gives the id itself once. An event that is delivered again is another message with a result of its own:
    it gets the id and something behind it, and so a search for the id finds all.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def task_id(self, event_id: object, retries: str = "") -> str | None:
        """None for what is no event id.

        Args:
            retries: the request's X-Slack-Retry-Num. Who delivered it before may be another process.
        """
        if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
            return None
        is_new = event_id not in self._seen and not retries
        self._seen[event_id] = None
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
        return event_id if is_new else f"{event_id}-{uuid4().hex[:8]}"
