"""Derive task ids from Slack's event ids, so that an event can be found in Flower and in the logs."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final
from uuid import uuid4

_EVENT_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_MOST: Final = 10_000


class EventIds:
    """Give the id itself once. A redelivered event is another message with its own result: it gets the id
    with a suffix, so that a search for the id finds all.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def task_id(self, event_id: object, retries: str = "") -> str | None:
        """Derive a task id; None for a malformed event id.

        Args:
            retries: the request's X-Slack-Retry-Num. The first delivery may have reached another process.
        """
        if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
            return None
        is_new = event_id not in self._seen and not retries
        self._seen[event_id] = None
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
        return event_id if is_new else f"{event_id}-{uuid4().hex[:8]}"
