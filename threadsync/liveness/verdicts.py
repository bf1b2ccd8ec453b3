"""Whether messages are taken: the verdicts on what ``threadsync.liveness.heartbeats`` found. Pure.

The best-known failure of Celery on Redis is a worker that lives and answers pings, and takes no message. So
nobody here asks a worker how it is. A canary goes through every queue, and what counts is that it came out,
or that any other message did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from threadsync.broker.clocks import SKEW_SECONDS
from threadsync.liveness.fields import freshest
from threadsync.liveness.state import Signs, Skew, WorkerSign

DEAF_SECONDS: Final = 40
"""Nothing came out of a queue for so long, although canaries go in."""

_MOST_PLACES: Final = 200

_SILENT_SECONDS: Final = 20
"""A worker's main process reports every five seconds; this long without a report, and it hangs."""


@dataclass(frozen=True)
class Verdict:
    """A finding, and the reason for it.

    ``deaf``: messages go in and none comes out. ``unwatched``: it cannot be told, as nothing goes in.
    ``skewed``: a clock is wrong; nothing stops for it. ``mixed``: two databases share the broker.
    ``refused``: another program takes nothing from us, which no restart mends. ``away``: it does not answer.
    ``spoilt``: among the signs stand some that are none; the others count.
    """

    state: Literal["ok", "deaf", "unwatched", "skewed", "mixed", "refused", "away", "spoilt"]
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
    if signs.refusal:
        return _refused(signs.refusal)
    waiting = signs.queues.get(queue)
    waits = (waiting.oldest_seconds or 0.0) if waiting else 0.0
    if max(waits, _sending_for(signs)) > DEAF_SECONDS:
        since = "" if came is None else f" for {came:.0f} s"
        return Verdict("deaf", f"nothing came out{since}; restart the worker that takes from {queue}")
    if beat_is_sending(signs):
        return Verdict("unwatched", "canaries are sent only since a moment ago")
    return Verdict("unwatched", "no canary goes in: is beat running?")


def hearing_of_worker(sign: WorkerSign, refusal: str | None = None) -> Verdict:
    """Whether one worker asks for messages of each of its queues; it may be one of many that do.

    ``refusal``: the reason why the broker takes nothing now, not even a worker's report.
    """
    verdict = _hearing_of_worker(sign)
    return _refused(refusal) if refusal and verdict.state == "deaf" else verdict


def _hearing_of_worker(sign: WorkerSign) -> Verdict:
    if sign.seconds > _SILENT_SECONDS:
        return Verdict("deaf", f"its main process has not reported for {sign.seconds:.0f} s; restart it")
    for queue, use in sign.queues.items():
        # One that is full does not ask; then something must end.
        used = min((seconds for seconds in (use.asked, use.ended) if seconds is not None), default=None)
        if (sign.up_seconds if used is None else used) > DEAF_SECONDS:
            since = "" if used is None else f" for {used:.0f} s"
            return Verdict("deaf", f"it has taken nothing from {queue}{since}; restart it")
    return Verdict("ok", f"it reported {sign.seconds:.0f} s ago")


def hearing_of_no_worker(signs: Signs) -> Verdict:
    """Where there should be one, and none has reported."""
    if signs.refusal:
        return _refused(signs.refusal)
    return Verdict("deaf", "no such worker has reported; is it running?")


def hearing_of_beat(signs: Signs) -> Verdict:
    """Whether beat sends what it is to send."""
    if beat_is_sending(signs):
        return Verdict("ok", f"it sent {signs.beat:.0f} s ago")
    if signs.refusal:
        return _refused(signs.refusal)
    since = "nothing" if signs.beat is None else f"nothing for {signs.beat:.0f} s"
    return Verdict("deaf", f"{since} was sent; restart it")


def _refused(reason: str) -> Verdict:
    # A restart would change nothing, and a worker that runs goes on when the broker does.
    return Verdict(
        "unwatched", f"the broker takes no messages ({reason}): mend that, nothing need be restarted"
    )


def hearing_of_socket(silence: float) -> Verdict:
    """Whether anything comes from Slack over a socket: an event, or at least the answer to a ping."""
    if silence > DEAF_SECONDS:
        return Verdict("deaf", f"nothing has come from Slack for {silence:.0f} s; restart it")
    return Verdict("ok", f"Slack was heard {silence:.0f} s ago")


def beat_is_sending(signs: Signs) -> bool:
    """Whether beat is alive."""
    return signs.beat is not None and signs.beat <= DEAF_SECONDS


def skewed_clocks(signs: Signs) -> dict[str, Verdict]:
    """By process, those whose clocks are more than ``SKEW_SECONDS`` from the broker's or Postgres'."""
    return {name: _of_clock(skew) for name, skew in signs.skews.items() if abs(skew.largest) > SKEW_SECONDS}


def _of_clock(skew: Skew) -> Verdict:
    told = ((skew.broker, "the broker's"), (skew.database, "Postgres'"))
    apart = [
        f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {whose}"
        for seconds, whose in told
        if seconds is not None and abs(seconds) > SKEW_SECONDS
    ]
    return Verdict("skewed", f"its clock is {' and '.join(apart)}; set it by NTP")


def two_databases(signs: Signs) -> Verdict | None:
    """Whether workers of one broker write to two databases at once.

    After a failover or a restart of Postgres some have heard of the new one and others have not: so each must
    have reported its database once more after the other had.
    """
    # Each is compared with each, and a forger may write thousands.
    places = sorted(freshest(signs.places, _MOST_PLACES, lambda place: place.seconds).items())
    for number, (one, place) in enumerate(places):
        for other, second in places[number + 1 :]:
            if (
                place.database != second.database
                and max(place.seconds, second.seconds) <= DEAF_SECONDS
                and place.seconds < second.since
                and second.seconds < place.since
            ):
                return Verdict(
                    "mixed",
                    f"{one} and {other} write to two databases and take from one broker: give one of them a "
                    "broker of its own; if its database is a copy, `threadsync installation renew` there",
                )
    return None


def spoilt_signs(signs: Signs) -> str | None:
    """Say that there are fields among the signs that are none; None if there are not."""
    if not signs.unreadable:
        return None
    return (
        f"{signs.unreadable} fields of threadsync.signs are or were none of ours within the last hour: "
        "another program writes to this broker database, or somebody who should not"
    )


def _sending_for(signs: Signs) -> float:
    return signs.beat_up or 0.0 if beat_is_sending(signs) else 0.0
