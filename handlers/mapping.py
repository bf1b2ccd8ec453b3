"""Map Slack payloads to commands, or None. Pure: no I/O.

A payload that is for us and malformed raises ``InvalidCommand``; what is not for us is None. Slack sends many
shapes: messages without a ``user``, of bots, edits, deletions, ephemeral ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4, uuid5

from handlers.payload import object_in
from threadsync.actors import SlackActor
from threadsync.command import Command
from threadsync.commands import ChannelMoved, GetOrCreate, UpdateStatus
from threadsync.errors import InvalidCommand
from threadsync.sync_commands import RetrySync

OPEN_SHORTCUT: Final = "threadsync_open"
READY_BUTTON: Final = "threadsync_ready"
CREATE_BUTTON: Final = "threadsync_create"

Payload = Mapping[str, Any]
C = TypeVar("C", bound=Command[Any])

# Messages of users. Other subtypes are edits, deletions, joins, bots, and Slack's own notes.
_COUNTED_SUBTYPES: Final = frozenset({None, "file_share", "thread_broadcast"})
_OF_TRIGGERS: Final = UUID("0193a6f2-5b1c-7d0e-9a64-2f6d1c7e8b35")
"""The namespace of ids derived from Slack's trigger ids."""

_SLACKBOT: Final = "USLACKBOT"
_MOMENT: Final = re.compile(r"[0-9]{1,10}\.[0-9]{1,9}", re.ASCII)


def command_for_event(event: Payload) -> GetOrCreate | None:
    """Map a mention, or a message inside a thread, to the command that opens its session."""
    if not _is_written_by_a_person(event):
        return None
    if event.get("type") == "message" and not _is_inside_thread(event):
        return None
    if not event.get("channel") or not event.get("ts"):
        return None
    return GetOrCreate(
        channel_id=event.get("channel", ""),
        thread_ts=_moment(event.get("thread_ts") or event.get("ts", "")),
        user_id=event.get("user", ""),
    )


def command_for_move(event: Payload) -> ChannelMoved | None:
    """Map a channel's new id: https://docs.slack.dev/reference/events/channel_id_changed."""
    old, new = event.get("old_channel_id"), event.get("new_channel_id")
    if not old or not new or old == new:
        return None
    return ChannelMoved(channel_id=old, new_channel_id=new)


def command_for_shortcut(payload: Payload) -> GetOrCreate:
    """Map the message shortcut to the command that opens the thread's session."""
    message = object_in(payload, "message")
    return GetOrCreate(
        channel_id=object_in(payload, "channel").get("id", ""),
        thread_ts=message.get("thread_ts") or message.get("ts") or payload.get("message_ts", ""),
        user_id=object_in(payload, "user").get("id", ""),
    )


def command_for_button(payload: Payload) -> UpdateStatus:
    """Map the button below our reply to the command that makes the session ``ready_to_sync``."""
    container = object_in(payload, "container")
    return UpdateStatus(
        channel_id=container.get("channel_id") or object_in(payload, "channel").get("id", ""),
        thread_ts=_pressed(payload).get("value") or object_in(payload, "message").get("thread_ts", ""),
        status="ready_to_sync",
    )


def command_for_retry(payload: Payload) -> RetrySync:
    """Map the button of a status message to a retry of its sync."""
    return RetrySync(
        session_id=_pressed(payload).get("value", ""),
        actor=object_in(payload, "user").get("id", ""),
        reason="Retry button in Slack",
        command_id=act_id(payload),
    )


def act_id(payload: Payload) -> UUID:
    """Derive a request's id from the trigger id, which is unique to each click and command."""
    trigger = payload.get("trigger_id")
    return uuid5(_OF_TRIGGERS, trigger) if isinstance(trigger, str) and trigger else uuid4()


def by(actor: SlackActor | None, command: C) -> C:
    """Add the actor to a command, if Slack names one."""
    return command.model_copy(update={"actor": actor}) if actor else command


def is_of_slacks_types(event: Payload) -> bool:
    """Return True if ids and timestamps are text or missing; Slack sends nothing else."""
    values = (event.get(name) for name in ("channel", "user", "ts", "thread_ts"))
    return all(value is None or isinstance(value, str) for value in values)


def is_moment(ts: str) -> bool:
    """Return True if a timestamp can be a message's: seconds of a year before 2287."""
    return _MOMENT.fullmatch(ts) is not None


def _moment(ts: Any) -> Any:
    if isinstance(ts, str) and not is_moment(ts):
        raise InvalidCommand("ts: is not the timestamp of a message")
    return ts


def _pressed(payload: Payload) -> Payload:
    actions = payload.get("actions")
    return actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], Mapping) else {}


def _is_written_by_a_person(event: Payload) -> bool:
    subtype = event.get("subtype")
    if not (subtype is None or isinstance(subtype, str)) or subtype not in _COUNTED_SUBTYPES:
        return False
    if event.get("hidden") is True or event.get("is_ephemeral") is True:
        return False
    # A message without a user is an app's, Slack's own, or deleted.
    return bool(event.get("user")) and event.get("user") != _SLACKBOT and not event.get("bot_id")


def _is_inside_thread(event: Payload) -> bool:
    return bool(event.get("thread_ts")) and event.get("thread_ts") != event.get("ts")
