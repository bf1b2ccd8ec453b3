"""Whether messages are taken: the verdicts on what ``worker.signs`` found. Pure.

The best-known failure of Celery on Redis is a worker that lives and answers pings, and takes no message. So
nobody here asks a worker how it is. A canary goes through every queue, and what counts is that it came out,
or that any other message did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from worker.signs import Signs, WorkerSign

CANARY_SECONDS: Final = 5
"""How often beat sends one through every queue."""

DEAF_SECONDS: Final = 40
"""Nothing came out of a queue for so long, although canaries go in."""

_SILENT_SECONDS: Final = 20
"""A worker's main process reports every five seconds; this long without a report, and it hangs."""


@dataclass(frozen=True)
class Verdict:
    """``deaf``: messages go in and none comes out. ``unwatched``: nobody can tell, as nothing goes in.

    ``refused``: another program takes nothing from us, which no restart mends.
    """

    state: Literal["ok", "deaf", "unwatched", "refused"]
    why: str


def hearing_of_queue(signs: Signs, queue: str) -> Verdict:
    """Whether what is put into the queue comes out of it."""
    # Not canaries alone: they may be behind a long queue that moves.
    uses = [sign.queues[queue].ended for sign in signs.workers.values() if queue in sign.queues]
    came = min(
        (seconds for seconds in (*uses, signs.canaries.get(queue)) if seconds is not None), default=None
    )
    if came is not None and came <= DEAF_SECONDS:
        return Verdict("ok", f"a message ended {came:.0f} s ago")
    waiting = signs.queues.get(queue)
    waits = (waiting.oldest_seconds or 0.0) if waiting else 0.0
    if max(waits, _sending_for(signs)) > DEAF_SECONDS:
        since = "" if came is None else f" for {came:.0f} s"
        return Verdict("deaf", f"nothing came out{since}; restart the worker that takes from {queue}")
    if beat_is_sending(signs):
        return Verdict("unwatched", "canaries are sent only since a moment ago")
    return Verdict("unwatched", "no canary goes in: is beat running?")


def hearing_of_worker(sign: WorkerSign) -> Verdict:
    """Whether one worker asks for messages of each of its queues; it may be one of many that do."""
    if sign.seconds > _SILENT_SECONDS:
        return Verdict("deaf", f"its main process has not reported for {sign.seconds:.0f} s; restart it")
    for queue, use in sign.queues.items():
        # One that is full does not ask; then something must end.
        used = min((seconds for seconds in (use.asked, use.ended) if seconds is not None), default=None)
        if (sign.up_seconds if used is None else used) > DEAF_SECONDS:
            since = "" if used is None else f" for {used:.0f} s"
            return Verdict("deaf", f"it has taken nothing from {queue}{since}; restart it")
    return Verdict("ok", f"it reported {sign.seconds:.0f} s ago")


def hearing_of_socket(silence: float) -> Verdict:
    """Whether anything comes from Slack over a socket: an event, or at least the answer to a ping."""
    if silence > DEAF_SECONDS:
        return Verdict("deaf", f"nothing has come from Slack for {silence:.0f} s; restart it")
    return Verdict("ok", f"Slack was heard {silence:.0f} s ago")


def beat_is_sending(signs: Signs) -> bool:
    """Whether beat is alive."""
    return signs.beat is not None and signs.beat <= DEAF_SECONDS


def _sending_for(signs: Signs) -> float:
    return signs.beat_up or 0.0 if beat_is_sending(signs) else 0.0
