"""Parts of the SQL about one session: its columns, its channel under any of its ids, its tombstone."""

from __future__ import annotations

from typing import Final, LiteralString

SESSION_COLUMNS: Final[tuple[LiteralString, ...]] = (
    *("id", "channel_id", "thread_ts", "user_id", "status", "jira_key", "created_at", "updated_at"),
)
SESSION: Final[LiteralString] = ", ".join(SESSION_COLUMNS)
# A channel that has had several ids has its rows under one of them; any other is its own home.
HOME: Final = (
    "coalesce((SELECT a.home_id FROM channel_aliases a WHERE a.channel_id = %(channel_id)s::text), "
    "%(channel_id)s::text)"
)
# The actor of a command, where it names one: threadsync/actors.py.
ACTOR: Final = "%(actor)s::jsonb"
# In place of "there is no session": the thread began before its channel was forgotten.
TOMBSTONE: Final = f"threadsync_tombstone({HOME}, %(thread_ts)s::text)"
