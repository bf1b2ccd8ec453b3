"""Value types of commands and DTOs: Slack's and Jira's ids, states, moments, pages."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError

Status = Literal["collecting", "ready_to_sync", "synced"]
Outcome = Literal["created", "applied", "unchanged", "stale", "refused"]
"""Outcome of a command. ``refused``: this person may not act in the channel, and nothing was done."""


def _without_key(status: Status) -> Status:
    if status == "synced":
        raise ValueError("'synced' is set by mark_synced, together with the ticket's key")
    return status


StatusToSet = Annotated[Status, AfterValidator(_without_key)]
"""A status that ``update_status`` sets."""

SlackId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
"""An id that Slack gives, such as ``C0123ABCD``: 1 to 64 characters."""

SlackTs = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{1,16}\.[0-9]{1,9}$")]
"""Slack's timestamp of a message, such as ``1700000000.000100``. Text: as a float it names another thread."""

JiraKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z][A-Z0-9_]{0,49}-[1-9][0-9]{0,12}$")]
"""An issue key, such as ``PROJ-123``."""

JiraId = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{1,30}$")]
"""Jira's id of an issue, which stays when it gets another key."""

Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=2_000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")
]
"""A reason for which a person acts, in the person's own words."""

PageLimit = Annotated[int, Field(strict=True, ge=1, le=200)]
"""The number of rows of a page."""

MOST_AHEAD_SECONDS: Final = 86_400
"""Farthest moment ahead, a day: a later one is not Slack's, however wrong a machine's clock is."""


def _has_happened(ts: str) -> str:
    # No later draft would ever win over one that claims to be of the year 2093, or is in milliseconds.
    if float(ts) > time.time() + MOST_AHEAD_SECONDS:
        raise ValueError("lies in the future; it must be Slack's timestamp, in seconds")
    return ts


DraftedAt = Annotated[SlackTs, AfterValidator(_has_happened)]
"""The time at which a draft was written, as a timestamp of Slack's."""


def _as_uuid(value: Any) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise ValueError("must be a UUID") from None


AnyUuid = Annotated[UUID | str, BeforeValidator(_as_uuid)]
"""A UUID, or its text, as ids travel in JSON; a UUID once it is validated."""


def _position(cursor: str) -> str:
    try:
        _as_uuid(cursor)
    except ValueError:
        raise ValueError("is not one that this method returned") from None
    return cursor


Cursor = Annotated[str, AfterValidator(_position)]
"""The ``next_cursor`` of the page before."""


def describe(exc: ValidationError) -> str:
    """Name every fault in one line, without the values (they may be secret, or a megabyte)."""
    faults = []
    for error in exc.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join(str(part) for part in error["loc"]) or "command"
        faults.append(f"{place}: {error['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults)
