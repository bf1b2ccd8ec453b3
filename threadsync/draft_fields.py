"""Further fields of a draft's ticket: ids of fields, and values as Jira's REST API takes them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from threadsync.patch import storable

RESERVED: Final = frozenset(
    {
        *("project", "issuetype", "summary", "description", "labels", "priority", "assignee"),
        *("reporter", "parent", "attachment", "issuelinks", "status"),
    }
)
"""Fields that have a member of their own in a draft, and those that a draft may not set."""

_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)


def _allowed(fields: dict[str, Any]) -> dict[str, Any]:
    if reserved := sorted(name for name in fields if name.lower() in RESERVED):
        raise ValueError(
            f"may not have {', '.join(reserved)}: a member of the draft, or not for drafts to set"
        )
    if not all(map(_ID.fullmatch, fields)):
        raise ValueError("has a name that is not the ID of a field, such as customfield_10010")
    storable(fields)
    return fields


DraftFields = Annotated[dict[str, Any], AfterValidator(_allowed)]
"""Values by the id of their field, at most 64 KiB of JSON. Reserved ids are refused."""
