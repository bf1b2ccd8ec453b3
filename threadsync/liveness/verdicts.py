"""Judge from heartbeats and canaries whether each queue and worker is alive. Pure functions.

The best-known failure of Celery on Redis is a worker that lives and answers pings, and takes no message. So
no worker is asked for its state here. A canary goes through every queue, and what counts is that it came out,
or that any other message did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from threadsync.broker.clocks import SKEW_SECONDS
from threadsync.liveness.fields import freshest
from threadsync.liveness.state import Heartbeats, Skew, WorkerHeartbeat

DEAF_SECONDS: Final = 40
"""Time without a message out of a queue, with canaries going in, after which it is deaf."""

_MOST_PLACES: Final = 200

_SILENT_SECONDS: Final = 20
"""Time without a report, due every five seconds, after which a worker's main process hangs."""


@dataclass(frozen=True)
class Verdict:
    """A finding, and the reason for it.

    ``deaf``: messages go in and none comes out. ``unwatched``: it cannot be told, as nothing goes in.
    ``skewed``: a clock is wrong; nothing stops for it. ``mixed``: two databases share the broker.
    ``refused``: another program takes nothing from us, which no restart mends. ``away``: it does not answer.
    ``spoilt``: some heartbeats are invalid; the others count.
    """

    state: Literal["ok", "deaf", "unwatched", "skewed", "mixed", "refused", "away", "spoilt"]
    why: str


def verdict_on_queue(heartbeats: Heartbeats, queue: str) -> Verdict:
    """Judge whether messages come out of the queue."""
    # Other messages count too: canaries may be behind a long queue that moves.
    uses = [
        heartbeat.queues[queue].ended
        for heartbeat in heartbeats.workers.values()
        if queue in heartbeat.queues
    ]
    came = min(
        (seconds for seconds in (*uses, heartbeats.canaries.get(queue)) if seconds is not None), default=None
    )
    if came is not None and came <= DEAF_SECONDS:
        return Verdict("ok", f"a message ended {came:.0f} s ago")
    if heartbeats.refusal:
        return _refused(heartbeats.refusal)
    waiting = heartbeats.queues.get(queue)
    waits = (waiting.oldest_seconds or 0.0) if waiting else 0.0
    sending_for = heartbeats.beat_up or 0.0 if beat_is_sending(heartbeats) else 0.0
    if max(waits, sending_for) > DEAF_SECONDS:
        since = "" if came is None else f" for {came:.0f} s"
        return Verdict("deaf", f"nothing came out{since}; restart the worker that takes from {queue}")
    if beat_is_sending(heartbeats):
        return Verdict("unwatched", "canaries are sent only since a moment ago")
    return Verdict("unwatched", "no canary goes in: is beat running?")


def verdict_on_worker(heartbeat: WorkerHeartbeat, refusal: str | None = None) -> Verdict:
    """Judge whether one worker asks for messages of each of its queues.

    ``refusal``: the reason why the broker takes nothing now, not even a worker's report.
    """
    verdict = _verdict_on_reports(heartbeat)
    return _refused(refusal) if refusal and verdict.state == "deaf" else verdict


def _verdict_on_reports(heartbeat: WorkerHeartbeat) -> Verdict:
    if heartbeat.seconds > _SILENT_SECONDS:
        return Verdict("deaf", f"its main process has not reported for {heartbeat.seconds:.0f} s; restart it")
    for queue, use in heartbeat.queues.items():
        # A full worker does not ask for messages; then one must end.
        used = min((seconds for seconds in (use.asked, use.ended) if seconds is not None), default=None)
        if (heartbeat.up_seconds if used is None else used) > DEAF_SECONDS:
            since = "" if used is None else f" for {used:.0f} s"
            return Verdict("deaf", f"it has taken nothing from {queue}{since}; restart it")
    return Verdict("ok", f"it reported {heartbeat.seconds:.0f} s ago")


def verdict_on_no_worker(heartbeats: Heartbeats) -> Verdict:
    """Return the verdict where a worker is expected and none has reported."""
    if heartbeats.refusal:
        return _refused(heartbeats.refusal)
    return Verdict("deaf", "no such worker has reported; is it running?")


def verdict_on_beat(heartbeats: Heartbeats) -> Verdict:
    """Judge whether beat sends its tasks."""
    if beat_is_sending(heartbeats):
        return Verdict("ok", f"it sent {heartbeats.beat:.0f} s ago")
    if heartbeats.refusal:
        return _refused(heartbeats.refusal)
    since = "nothing" if heartbeats.beat is None else f"nothing for {heartbeats.beat:.0f} s"
    return Verdict("deaf", f"{since} was sent; restart it")


def _refused(reason: str) -> Verdict:
    # A restart would change nothing, and a worker that runs goes on when the broker does.
    return Verdict("unwatched", f"the broker takes no messages ({reason}): fix that; no restart is needed")


def verdict_on_socket(silence: float) -> Verdict:
    """Judge whether anything comes from Slack over Socket Mode: an event, or a reply to a ping."""
    if silence > DEAF_SECONDS:
        return Verdict("deaf", f"nothing has come from Slack for {silence:.0f} s; restart it")
    return Verdict("ok", f"Slack was heard {silence:.0f} s ago")


def beat_is_sending(heartbeats: Heartbeats) -> bool:
    """Return True if beat is alive."""
    return heartbeats.beat is not None and heartbeats.beat <= DEAF_SECONDS


def skewed_clocks(heartbeats: Heartbeats) -> dict[str, Verdict]:
    """Return by process the clocks that are more than ``SKEW_SECONDS`` from the broker's or Postgres'."""
    return {
        name: _of_clock(skew) for name, skew in heartbeats.skews.items() if abs(skew.largest) > SKEW_SECONDS
    }


def _of_clock(skew: Skew) -> Verdict:
    told = ((skew.broker, "the broker's"), (skew.database, "Postgres'"))
    apart = [
        f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {whose}"
        for seconds, whose in told
        if seconds is not None and abs(seconds) > SKEW_SECONDS
    ]
    return Verdict("skewed", f"its clock is {' and '.join(apart)}; set it by NTP")


def two_databases(heartbeats: Heartbeats) -> Verdict | None:
    """Return a verdict if workers of one broker write to two databases at once, else None.

    After a failover or a restart of Postgres some have heard of the new one and others have not: so each must
    have reported its database once more after the other had.
    """
    # Each is compared with each, and a forger may write thousands.
    places = sorted(freshest(heartbeats.places, _MOST_PLACES, lambda place: place.seconds).items())
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


def invalid_heartbeats(heartbeats: Heartbeats) -> str | None:
    """Return a sentence if fields among the heartbeats are invalid, else None."""
    if not heartbeats.unreadable:
        return None
    return (
        f"{heartbeats.unreadable} fields of threadsync.signs are or were none of ours within the last hour: "
        "another program writes to this broker database, or an intruder"
    )
