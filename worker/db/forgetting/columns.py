"""Declare for each column with text whether it holds personal data.

The functions of ``functions.py`` are made of ``OF_PEOPLE``, so a column that is declared there is erased. A
test compares both lists with the tables, and fails for a column that is in neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, LiteralString

Kind = Literal["person", "name", "actor", "draft", "detail", "words", "letter"]
"""Kinds of content:

| kind | what | of a thread or a channel | of a person |
|---|---|---|---|
| ``person`` | a Slack id, alone | becomes `forgotten` | the same, where it is that person's |
| ``name`` | the name or the id that a person gave | the same | the same |
| ``actor`` | JSON: `{"user_id"}`, or `{"name", "via"}` | the same | the same |
| ``draft`` | JSON of a draft | its words go | the same in threads that the person opened |
| ``detail`` | Jira's words about a draft, which may quote it | goes | the same |
| ``words`` | what a person wrote | goes | goes where its row names the person; else the name in it |
| ``letter`` | of a message that failed | the row goes | the row goes if it names the person |
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that holds personal data.

    Args:
        cleared: SQL of the value that takes its place; not used for kinds ``draft`` and ``letter``.
    """

    table: LiteralString
    name: LiteralString
    kind: Kind
    cleared: LiteralString = "NULL"


_FORGOTTEN: Final = "'forgotten'"
_NO_ACTOR: Final = """'{"name": "forgotten", "via": "cli"}'::jsonb"""
_WORDS_GONE: Final = "'(forgotten)'"
_OF_A_MESSAGE: Final[tuple[LiteralString, ...]] = (
    *("task_id", "task_name", "queue", "error_type", "arguments", "body", "error"),
    *("actor", "reason", "settled_by"),
)

OF_PEOPLE: Final = (
    Column("thread_sessions", "user_id", "person", _FORGOTTEN),
    Column("thread_sessions", "opened_by", "actor"),
    Column("thread_sessions", "ready_by", "actor"),
    Column("thread_sessions", "synced_by", "actor"),
    Column("syncs", "draft", "draft"),
    Column("syncs", "drafted_by", "actor"),
    Column("syncs", "detail", "detail"),
    # The name of a type, as a person gave it to the channel.
    Column("syncs", "made_with", "detail", "'{}'::jsonb"),
    Column("sync_attempts", "detail", "detail"),
    Column("sync_actions", "actor", "name", _FORGOTTEN),
    Column("sync_actions", "acted_by", "actor"),
    Column("sync_actions", "reason", "words", _WORDS_GONE),
    Column("session_actions", "actor", "name", _FORGOTTEN),
    Column("session_actions", "reason", "words", _WORDS_GONE),
    Column("installation_actions", "actor", "name", _FORGOTTEN),
    Column("installation_actions", "acted_by", "actor"),
    Column("installation_actions", "reason", "words", _WORDS_GONE),
    Column("session_acts", "actor", "actor", _NO_ACTOR),
    Column("session_acts", "reason", "words"),
    Column("left_tickets", "detail", "detail"),
    Column("channel_context_commands", "applied_by", "actor"),
    Column("channel_aliases", "moved_by", "actor"),
    Column("channel_acts", "actor", "actor", _NO_ACTOR),
    Column("channel_acts", "reason", "words"),
    Column("forget_acts", "actor", "name", _FORGOTTEN),
    Column("forget_acts", "acted_by", "actor"),
    Column("forget_acts", "reason", "words", _WORDS_GONE),
    Column("console_sessions", "name", "name", _FORGOTTEN),
    Column("console_sessions", "address", "words"),
    Column("channel_context", "context_data", "words", "'{}'::jsonb"),
    *(Column("dead_letters", name, "letter") for name in _OF_A_MESSAGE),
    Column("redeliveries", "task_id", "letter"),
    Column("redeliveries", "task_name", "letter"),
)
"""Columns that are erased."""

SESSION_OF: Final[Mapping[str, LiteralString]] = {
    "thread_sessions": "id",
    "syncs": "session_id",
    "sync_attempts": "session_id",
    "sync_actions": "session_id",
    "session_actions": "session_id",
    "session_acts": "session_id",
    "left_tickets": "session_id",
}
"""Key column of each table whose rows belong to a session."""

CHANNEL_OF: Final[Mapping[str, LiteralString]] = {
    "channel_context": "channel_id",
    "channel_context_commands": "channel_id",
    "channel_aliases": "channel_id",
    "channel_acts": "channel_id",
}
"""Key column of each table whose rows belong to a channel."""

_ID: Final = "Slack's id of a channel or of a thread, which stays with the tombstone"
_CODE: Final = "one of our own words"
_JIRA: Final = "a key, an id or an address of Jira, whose tickets stay"
_SLACK: Final = "Slack's name for an error, or a moment"
_HASH: Final = "a random key, or a keyed hash; both are deleted after a day"

_SIGNED: Final = {"via": _CODE, "login": "the name of a login of the database"}

OF_NOBODY: Final[Mapping[str, Mapping[str, str]]] = {
    "thread_sessions": {
        **dict.fromkeys(("channel_id", "thread_ts"), _ID),
        **dict.fromkeys(("jira_key", "left_keys"), _JIRA),
        "status": _CODE,
    },
    "channel_context": {"channel_id": _ID},
    "channel_context_commands": {"channel_id": _ID},
    "channel_aliases": {"channel_id": _ID, "home_id": _ID, "newest_id": _ID, "moved_to": _ID},
    "channel_acts": {
        **dict.fromkeys(("channel_id", "moved_to"), _ID),
        "act": _CODE,
        "settings": "names of settings",
        **_SIGNED,
    },
    "redeliveries": {"opened_by": "a random id of a process"},
    "dead_letters": {"state": _CODE, "settled_via": _CODE, "settled_login": _SIGNED["login"]},
    "jira_sites": {"site": _JIRA, "trouble": _CODE},
    "jira_pauses": {"site": _JIRA, "endpoint": _CODE},
    "jira_reporters": {**dict.fromkeys(("site", "project_key", "jira_id"), _JIRA), "problem": _CODE},
    "syncs": {
        **dict.fromkeys(("state", "reason", "origin", "forgetting"), _CODE),
        **dict.fromkeys(("site", "project_key", "jira_id", "jira_key", "duplicates"), _JIRA),
        "marker": "a hash of site, channel and thread, which stays with the tombstone",
    },
    "sync_attempts": {
        **dict.fromkeys(("step", "outcome", "reason"), _CODE),
        "project_key": _JIRA,
        "account": "a hash of the login to Jira that sent it",
        "trace_id": "Jira's id of a request",
    },
    "sync_actions": {"action": _CODE, **_SIGNED},
    "session_actions": {"action": _CODE, **_SIGNED},
    "session_acts": {
        **dict.fromkeys(("act", "outcome"), _CODE),
        **dict.fromkeys(("jira_key", "jira_id", "key_before"), _JIRA),
        **_SIGNED,
    },
    "left_tickets": {"jira_key": _JIRA, "jira_id": _JIRA, "site": _JIRA, "given_up": _CODE},
    "ticket_steps": {
        **dict.fromkeys(("step", "include", "given_up"), _CODE),
        **dict.fromkeys(("jira_id", "jira_key", "site", "fields"), _JIRA),
        "file_id": "Slack's id of a file",
    },
    "status_messages": {
        **dict.fromkeys(("message_ts", "trouble", "replaced_ts"), _SLACK),
        "shown": "a hash of a message of ours, which holds states and keys",
    },
    "console_sessions": {"id_hash": "a hash of a random word"},
    "queue_samples": {"queue": "the name of a queue"},
    "slack_installation": {"trouble": _SLACK},
    "installation_actions": {"action": _CODE, "other": "the id of an installation", **_SIGNED},
    "forget_acts": {"what": _CODE, "subject": _ID, **_SIGNED},
    "forgotten_channels": {"channel_id": _ID},
    "forgotten_people": {"key": _HASH, "hash": _HASH},
    "threadsync_schema": {"name": "the name of a migration"},
}
"""Columns with text that hold no personal data, and why."""


def of_kinds(table: str, *kinds: Kind) -> tuple[Column, ...]:
    """Return the columns of one table that are of these kinds."""
    return tuple(column for column in OF_PEOPLE if column.table == table and column.kind in kinds)


def tables(*kinds: Kind) -> tuple[LiteralString, ...]:
    """Return the tables with columns of these kinds, in the order in which locks are taken."""
    return tuple(dict.fromkeys(column.table for column in OF_PEOPLE if column.kind in kinds))
