"""What a view of the form carries unseen, in Slack's ``private_metadata``. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from handlers.form.limits import LONGEST_METADATA

_LONGEST_RESPONSE_URL: Final = 1_000
_ALL: Final = "*"
_MOST_KEPT: Final = 1_200
"""Most characters of the names of fields that are not shown whole; beyond it all fields count as such."""


@dataclass(frozen=True)
class About:
    """What a view carries unseen.

    Args:
        project_key, issue_type: those for which the fields in the view were made.
        session_id, drafted_at: the draft that was filled in, of a *Fix* button.
        kept: fields not shown whole; ``{"*"}`` stands for all.
    """

    channel_id: str
    thread_ts: str
    response_url: str = ""
    project_key: str | None = None
    issue_type: str | None = None
    session_id: str | None = None
    drafted_at: str | None = None
    kept: frozenset[str] = frozenset()

    def keeps(self, name: str) -> bool:
        """Return True for a field that is not shown whole, or not at all."""
        return name in self.kept or _ALL in self.kept


def about_of(view: Mapping[str, Any]) -> About | None:
    """Read what a view carries; None if it is not ours."""
    try:
        found = json.loads(view.get("private_metadata") or "{}")
        names = found.get("kept") or []
        return About(
            channel_id=_text(found, "channel_id") or "",
            thread_ts=_text(found, "thread_ts") or "",
            response_url=_text(found, "response_url") or "",
            project_key=_text(found, "project"),
            issue_type=_text(found, "type"),
            session_id=_text(found, "session_id"),
            drafted_at=_text(found, "drafted_at"),
            kept=frozenset(name for name in names if isinstance(name, str)),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def metadata_of(about: About) -> str:
    """Return what a view carries, as text within Slack's limit."""
    kept = sorted(about.kept)
    told = {
        "channel_id": about.channel_id,
        "thread_ts": about.thread_ts,
        "response_url": about.response_url if len(about.response_url) <= _LONGEST_RESPONSE_URL else "",
        "project": about.project_key,
        "type": about.issue_type,
        "session_id": about.session_id,
        "drafted_at": about.drafted_at,
        "kept": kept if len(json.dumps(kept)) <= _MOST_KEPT else [_ALL],
    }
    text = json.dumps({name: value for name, value in told.items() if value})
    if len(text) <= LONGEST_METADATA:
        return text
    return json.dumps({**told, "response_url": "", "kept": [_ALL] if kept else []})


def _text(found: Mapping[str, Any], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) and value else None
