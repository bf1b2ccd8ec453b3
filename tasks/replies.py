"""The task that posts a thread's first reply. It waits for Slack in the broker, so it survives processes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from celery.exceptions import Reject

from threadsync.reply_commands import REPLY_EVENT_TYPE, ReplyAnswer, SayReply
from worker.celery import app
from worker.db.forgetting.store import ForgetStore

if TYPE_CHECKING:
    from worker.status_message.announcer import Announcer, Said

FIRST_PAUSE_SECONDS: Final = 15
"""Time in which a post without a response may still appear."""

LONGEST_PAUSE_SECONDS: Final = 60
MOST_TRIES: Final = 1_440
"""Most attempts to post a reply: a day, with the pauses between them."""

log = structlog.get_logger("threadsync.tasks")


@app.task(name=SayReply.name, bind=True, typing=False, soft_time_limit=50, time_limit=60)
def reply(self: Any, *args: Any, **kwargs: Any) -> ReplyAnswer:
    """Post the reply unless it is there; ``no token`` leaves it to the sender.

    In a thread that was forgotten nothing is said.
    """
    # A worker that serves other queues never loads it: tasks/loading.py.
    from worker.status_message.process import announcer_of_this_process

    command = SayReply.from_message(args, kwargs)
    tries = self.request.retries
    is_unsettled = command.maybe_said and tries == 0
    session_id = UUID(str(command.session_id))
    if not is_unsettled and ForgetStore().is_tombstone(session_id, command.channel_id, command.thread_ts):
        # Neither this process nor its sender says anything there.
        log.info("reply left out: its thread was forgotten", session_id=str(session_id))
        return "given up"
    announcer = announcer_of_this_process()
    if announcer is None:
        return "no token"
    became: Said = "later" if is_unsettled else _say(announcer, command)
    if became == "said":
        return "said"
    if became == "refused" or tries >= MOST_TRIES:
        log.warning("reply given up", channel_id=command.channel_id, thread_ts=command.thread_ts)
        return "given up"
    seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(tries, 2), LONGEST_PAUSE_SECONDS)
    try:
        # The copy is in the broker before this message is acknowledged.
        again = self.retry(countdown=seconds, throw=False, kwargsrepr=command.summary())
    except Reject as exc:
        # Celery would drop the message now.
        raise Reject(exc, requeue=True) from exc
    log.info("reply waits", seconds=seconds, channel_id=command.channel_id, thread_ts=command.thread_ts)
    raise again


def _say(announcer: Announcer, command: SayReply) -> Said:
    from worker.status_message.message import StatusMessage
    from worker.status_message.thread import SlackThread

    thread = SlackThread(
        announcer.connection,
        command.channel_id,
        command.thread_ts,
        UUID(str(command.session_id)),
        event_type=REPLY_EVENT_TYPE,
    )
    message = StatusMessage(command.text, tuple(command.blocks))
    return announcer.say(thread, message, datetime.fromtimestamp(command.since, UTC))
