"""The task that brings a sync's message in Slack up to date, and who sends it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tasks.send_soon import room, send_soon
from threadsync.command import Message
from threadsync.commands import ChannelMoved
from threadsync.errors import InvalidCommand
from threadsync.queues import MAINTENANCE_QUEUE
from worker.celery import app
from worker.db.status_messages.store import StatusStore
from worker.status_message.process import announcer_of_this_process

ANNOUNCE: Final = "syncs.announce"
_MOST_A_SWEEP: Final = 50
_AGAIN_AFTER_SECONDS: Final = 20
"""When a message was lost, or its process was leaving Slack alone. Two of them do no harm."""


@app.task(name=ANNOUNCE, ignore_result=True, soft_time_limit=50, time_limit=60)
def announce(session_id: str) -> str:
    """Show in the session's thread how its sync stands. May be sent at any time, any number of times.

    The limits are below the claim's lease. What it returns is one word for whoever watches.
    """
    announcer = announcer_of_this_process()
    if announcer is None:
        return "no token"
    result = announcer.announce(_as_uuid(session_id))
    while announcer.moves:
        old, new = announcer.moves.pop()
        # One that is lost is found out with the next message.
        command = ChannelMoved(channel_id=old, new_channel_id=new)
        send_soon(Message(command.name, command.arguments(), command.queue))
    return result


def announce_soon(session_id: UUID) -> bool:
    """Ask for it; a message that is lost is made up for by the sweep. False when nobody could show it."""
    if announcer_of_this_process() is None:
        return False
    return send_soon(Message(ANNOUNCE, {"session_id": str(session_id)}, MAINTENANCE_QUEUE))


def announce_due() -> int:
    """Ask for all that is out of date, some at a time; returns for how many."""
    if announcer_of_this_process() is None:
        return 0
    most = room(MAINTENANCE_QUEUE, _MOST_A_SWEEP)
    due = StatusStore().take_due(most=most, for_seconds=_AGAIN_AFTER_SECONDS)
    return sum(announce_soon(session_id) for session_id in due)


def ask_slack_again() -> bool:
    """Ask whether Slack takes us again, if it refuses us and it is time; True when it does."""
    announcer = announcer_of_this_process()
    return announcer is not None and announcer.probe()


def _as_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError) as exc:
        raise InvalidCommand(f"{ANNOUNCE}: session_id: must be a UUID") from exc
