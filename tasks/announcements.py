"""The task that brings a status message up to date, and functions that send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from tasks.send_soon import room, send_soon
from threadsync.command import Message
from threadsync.commands import ChannelMoved
from threadsync.errors import InvalidCommand
from threadsync.queues import MAINTENANCE_QUEUE
from worker.celery import app
from worker.db.status_messages.store import StatusStore

if TYPE_CHECKING:
    from worker.status_message.announcer import Announcer

ANNOUNCE: Final = "syncs.announce"
_MOST_A_SWEEP: Final = 50
_AGAIN_AFTER_SECONDS: Final = 20
"""Delay before a status message is announced again, after a loss or a pause. Two messages do no harm."""


@app.task(name=ANNOUNCE, ignore_result=True, soft_time_limit=50, time_limit=60)
def announce(session_id: str) -> str:
    """Bring the session's status message up to date. May be sent at any time, any number of times.

    The limits are below the claim's lease. Returns one word for operators.
    """
    announcer = _announcer()
    if announcer is None:
        return "no token"
    result = announcer.announce(_as_uuid(session_id))
    while announcer.moves:
        old, new = announcer.moves.pop()
        # A lost command is made up for by the next message.
        command = ChannelMoved(channel_id=old, new_channel_id=new)
        send_soon(Message(command.name, command.arguments(), command.queue))
    return result


def announce_soon(session_id: UUID) -> bool:
    """Send the task; the sweep replaces a lost message. False when there is no token to post with."""
    if _announcer() is None:
        return False
    return send_soon(Message(ANNOUNCE, {"session_id": str(session_id)}, MAINTENANCE_QUEUE))


def announce_due() -> int:
    """Send the task for outdated messages, some at a time; return their number."""
    if _announcer() is None:
        return 0
    most = room(MAINTENANCE_QUEUE, _MOST_A_SWEEP)
    due = StatusStore().take_due(most=most, for_seconds=_AGAIN_AFTER_SECONDS)
    return sum(announce_soon(session_id) for session_id in due)


def ask_slack_again() -> bool:
    """Probe Slack if it refuses us and that is due; True when it accepts us again."""
    announcer = _announcer()
    return announcer is not None and announcer.probe()


def _announcer() -> Announcer | None:
    # A worker that serves other queues never loads it: tasks/loading.py.
    from worker.status_message.process import announcer_of_this_process

    return announcer_of_this_process()


def _as_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError) as exc:
        raise InvalidCommand(f"{ANNOUNCE}: session_id: must be a UUID") from exc
