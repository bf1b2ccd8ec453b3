"""Write heartbeats into the broker, and read them: of workers, beat, Socket Mode and canaries.

One hash, ``threadsync.signs``, by the server's clock alone:

| field | who writes it | what it says |
|---|---|---|
| ``canary:<queue>`` | the process that ran the queue's canary | it came all the way |
| ``worker:<node>`` | a worker's main process, every ``REPORT_SECONDS`` | how it uses each of its queues |
| ``socket:<host>:<pid>`` | Socket Mode's process, every ``REPORT_SECONDS`` | since when Slack is silent |
| ``beat`` | beat, with each canary | canaries are being sent |
| ``place:<node>`` | a worker's process, with each canary | its database, and its clock beside Postgres' |
| ``spoilt`` | the next writer that finds any | how many invalid fields it removed |

A program that may write to the broker can write there, too: ``threadsync.liveness.fields`` tells what is a
heartbeat. Invalid fields are counted, reported by readers, and removed by the next writer.

Workers' and beat's also say how far their clocks are from the broker's. RabbitMQ keeps the same in a
stream: ``threadsync.liveness.rabbitmq``. No other broker keeps any.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

import redis
from kombu.utils.encoding import bytes_to_str

from threadsync.broker.clocks import ahead_of_broker, broker_said
from threadsync.broker.errors import BROKER_ERRORS, BrokerBlocked, is_refusal
from threadsync.broker.lua import ASK, DRAINS, READS, WAITING
from threadsync.broker.producer import ProducerChannel
from threadsync.broker.rabbitmq import ConfirmingChannel
from threadsync.broker.rabbitmq_clock import whole_seconds
from threadsync.errors import BrokerUnavailable
from threadsync.liveness import rabbitmq as stream
from threadsync.liveness.fields import (
    BEAT,
    CANARY,
    LONGEST_HEARTBEAT,
    MOST_AHEAD_SECONDS,
    PLACE,
    SOCKET,
    SPOILT,
    WORKER,
    Heartbeat,
    read_fields,
)
from threadsync.liveness.state import Heartbeats, Place, QueueUse, Skew, Waiting, WorkerHeartbeat
from threadsync.queues import QUEUES

REPORT_SECONDS: Final = 5

CANARY_SECONDS: Final = 5
"""Interval at which beat sends a canary through every queue."""

KEY: Final = "threadsync.signs"

_FORGOTTEN_AFTER_SECONDS: Final = 3600
"""Age at which the heartbeat of a killed worker is removed."""

_UNBROKEN_SECONDS: Final = 60
_MOST_HEARTBEATS: Final = 1_000
"""Most heartbeats; above it those that are not repeated within a minute are removed."""

_LOOKED_AT: Final = 20
"""Messages at a queue's end that are searched for their time. Stock clients do not give it; canaries do."""

# KEYS[4]: the hash. ARGV: field, what it says as JSON, seconds until a heartbeat is removed, longest pause.
# Returns the time. `since` begins again after a pause, and with another database. Invalid fields are removed.
_TELL: Final = f"""{DRAINS}
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local spoilt, told_before = 0, 0
local signs = redis.pcall('HGETALL', KEYS[4])
if signs.err and string.find(signs.err, 'WRONGTYPE', 1, true) then
  redis.call('DEL', KEYS[4])
  signs, spoilt = {{}}, 1
end
local sign = cjson.decode(ARGV[2])
local since = now
local kept = tonumber(#signs > 2 * {_MOST_HEARTBEATS} and ARGV[4] or ARGV[3])
for i = 1, #signs, 2 do
  local before = false
  if #signs[i + 1] <= {LONGEST_HEARTBEAT} then
    local readable, parsed = pcall(cjson.decode, signs[i + 1])
    before = readable and type(parsed) == 'table' and parsed
  end
  local at = before and type(before.at) == 'number' and before.at
  if not at or not (at <= now + {MOST_AHEAD_SECONDS}) then
    redis.call('HDEL', KEYS[4], signs[i])
    spoilt = spoilt + 1
  elseif signs[i] == '{SPOILT}' then
    told_before = type(before.count) == 'number' and before.count or 0
    if now - at > kept then redis.call('HDEL', KEYS[4], signs[i]) end
  elseif signs[i] == ARGV[1] and now - at < tonumber(ARGV[4]) and before.database == sign.database then
    since = type(before.since) == 'number' and math.min(before.since, now) or now
  elseif now - at > kept then
    redis.call('HDEL', KEYS[4], signs[i])
  end
end
sign.at, sign.since = now, since
redis.call('HSET', KEYS[4], ARGV[1], cjson.encode(sign))
if spoilt > 0 then
  local told = {{at = now, since = now, count = math.min(spoilt + told_before, 1e9)}}
  redis.call('HSET', KEYS[4], '{SPOILT}', cjson.encode(told))
end
return time[1] .. '.' .. string.format('%06d', time[2])
"""

# KEYS[4]: the hash. ARGV: field.
_FORGET: Final = f"{DRAINS}redis.call('HDEL', KEYS[4], ARGV[1])"

_UNSEEN: Final = "unseen"
"""Placeholder for the age of messages that this user may count but not read."""

# KEYS[1]: unacked, KEYS[4]: the hash, then a key for each queue and priority, then one for what waits for its
# time in each queue. ARGV: most messages to ask, and the queue's name for each key.
# Returns {now, signs, unacknowledged, {queue, waiting, oldest sent_at, waiting for their time} …}.
_LOOK: Final = f"""{READS}
local time = redis.call('TIME')
local signs = redis.pcall('HGETALL', KEYS[4])
if signs.err then signs = {{'', ''}} end
for i = 2, #signs, 2 do
  if #signs[i] > {LONGEST_HEARTBEAT} then signs[i] = '' end
end
local held = redis.pcall('HLEN', KEYS[1])
local look = {{time[1] .. '.' .. string.format('%06d', time[2]), signs, type(held) == 'number' and held or 0}}
for i = 5, #KEYS do
  local is_list = redis.pcall('TYPE', KEYS[i]).ok ~= 'zset'
  local later = not is_list and redis.pcall('ZCARD', KEYS[i])
  local waiting = is_list and redis.pcall('LLEN', KEYS[i])
  local oldest = ''
  if type(waiting) == 'number' and waiting > 0 and not redis.acl_check_cmd('LRANGE', KEYS[i], -1, -1) then
    oldest = '{_UNSEEN}'
  elseif type(waiting) == 'number' and waiting > 0 then
    local messages = redis.call('LRANGE', KEYS[i], -ARGV[1], -1)
    for place = #messages, 1, -1 do
      local readable, parsed = pcall(cjson.decode, messages[place])
      local headers = readable and type(parsed) == 'table' and parsed.headers
      if type(headers) == 'table' and type(headers.sent_at) == 'number' then
        oldest = string.format('%.6f', headers.sent_at)
        break
      end
    end
  end
  look[#look + 1] = {{ARGV[i - 3], type(waiting) == 'number' and waiting or 0, oldest,
                      type(later) == 'number' and later or 0}}
end
return look
"""


def canary_came_through(channel: Any, queue: str, worker: str, sent_at: float | None = None) -> None:
    """Record that a canary ran. Like every function here it may raise the broker client's errors.

    ``sent_at`` is by beat's clock.
    """
    _tell(channel, f"{CANARY}{queue}", {"worker": worker, "sent_at": sent_at})


def beat_sent_canaries(channel: Any) -> None:
    """Record that beat has sent canaries."""
    _tell(channel, BEAT, {"skew": _skew(channel), "clock": time.time()})


def worker_writes_to(channel: Any, node: str, database: str, skew: float) -> None:
    """Record the database of the process in which a canary ran, and its clock's lead over that database's."""
    _tell(channel, f"{PLACE}{node}", {"database": database, "skew": skew})


def tell_socket(channel: Any, name: str, silence: float | None) -> None:
    """Write the heartbeat of a Socket Mode process; ``silence`` is in seconds, and None removes it."""
    if silence is None:
        _forget(channel, f"{SOCKET}{name}")
    else:
        _tell(channel, f"{SOCKET}{name}", {"silence": silence})


def worker_is_there(channel: Any, node: str, queues: Mapping[str, QueueUse], held: int | None = None) -> None:
    """Write a worker's heartbeat. ``held``: messages that it has, where the broker cannot tell."""
    # A list of objects: an empty object, or a null in a list, would not come back from Lua as it went.
    uses = [{"queue": name, "asked": use.asked, "ended": use.ended} for name, use in queues.items()]
    _tell(channel, f"{WORKER}{node}", {"queues": uses, "skew": _skew(channel), "held": held})


def worker_is_gone(channel: Any, node: str) -> None:
    """Remove the heartbeat of a worker that stops in good order."""
    _forget(channel, f"{WORKER}{node}")


def _forget(channel: Any, name: str) -> None:
    if isinstance(channel, ConfirmingChannel):
        stream.tell(channel, name, None)
    elif isinstance(channel, ProducerChannel):
        channel.run_script(_FORGET, [KEY], [name])


def look(channel: Any, queues: Sequence[str] = QUEUES) -> Heartbeats | None:
    """Read everything in one round trip; None when the broker keeps no heartbeats."""
    if isinstance(channel, ConfirmingChannel):
        try:
            return _look_at_stream(channel, queues)
        except BrokerBlocked as exc:
            return _blind(exc)
    if not isinstance(channel, ProducerChannel):
        return None
    # kombu's own, which the stubs do not know.
    steps, key_of = channel.priority_steps, channel._q_for_pri
    keys = [(queue, key_of(queue, step)) for queue in queues for step in steps]
    keys += [(queue, f"{WAITING}{queue}") for queue in queues]
    arguments = [_LOOKED_AT, *(queue for queue, _ in keys)]
    try:
        now, heartbeats, unacknowledged, *waiting = channel.run_script(
            _LOOK, [KEY, *(key for _, key in keys)], arguments
        )
    except redis.ResponseError as exc:
        return _blind(exc)
    fields = zip(heartbeats[::2], heartbeats[1::2], strict=True)
    return _read(float(now), fields, int(unacknowledged), waiting, refusal_of(channel))


def refusal_of(channel: ProducerChannel) -> str | None:
    """Return why the broker would refuse a producer now, such as memory or disk; None if it would not."""
    try:
        channel.run_script(ASK, [], [])
    except redis.ResponseError as exc:
        return str(exc)
    return None


class Asker(Protocol):
    """A Celery app, as far as it is needed here."""

    def connection_for_read(self) -> Any:
        """Return a new connection."""


@contextmanager
def channel_of(app: Asker) -> Iterator[Any]:
    """Connect, and yield a channel; for a broker that refuses, ``Heartbeats`` of its refusal.

    Raises ``BrokerUnavailable``, also for what fails inside.
    """
    try:
        with app.connection_for_read() as connection:
            try:
                connection.ensure_connection(max_retries=0)
                channel: Any = connection.default_channel
            except BROKER_ERRORS as exc:
                if not is_refusal(exc):
                    raise
                channel = _blind(exc)
            yield channel
    except BROKER_ERRORS as exc:
        raise BrokerUnavailable(f"the broker does not answer: {type(exc).__name__}: {exc}") from exc


def heartbeats_of(app: Asker) -> Heartbeats | None:
    """Read an app's broker over a connection of its own. Raises ``BrokerUnavailable``."""
    with channel_of(app) as found:
        return found if isinstance(found, Heartbeats) else look(found)


def _blind(refusal: Exception) -> Heartbeats:
    """Return the state of a broker that answers and shows nothing, such as one that loads its data."""
    return Heartbeats(
        {}, {}, {}, beat=None, beat_up=None, unacknowledged=0, refusal=str(refusal), is_blind=True
    )


def measure(channel: Any) -> None:
    """Measure the broker's clock, where it can be read."""
    asked = time.time()
    if isinstance(channel, ProducerChannel):
        seconds, micros = channel.run_script("return redis.call('TIME')", [], [])
        broker_said(int(seconds) + int(micros) / 1e6, asked, time.time())
    elif isinstance(channel, ConfirmingChannel):
        _rabbit_said(whole_seconds(channel), asked)


def _rabbit_said(seconds: float, asked: float) -> None:
    # RabbitMQ tells no fractions, so half a second more is in doubt.
    broker_said(seconds + 0.5, asked - 0.5, time.time() + 0.5)


def _skew(channel: Any) -> float | None:
    if ahead_of_broker() is None:
        measure(channel)
    known = ahead_of_broker()
    return known.certain if known else None


def _tell(channel: Any, name: str, heartbeat: Mapping[str, Any]) -> None:
    asked = time.time()
    if isinstance(channel, ProducerChannel):
        limits = [_FORGOTTEN_AFTER_SECONDS, _UNBROKEN_SECONDS]
        now = channel.run_script(_TELL, [KEY], [name, json.dumps(heartbeat), *limits])
        broker_said(float(now), asked, time.time())
    elif isinstance(channel, ConfirmingChannel):
        _rabbit_said(stream.tell(channel, name, heartbeat), asked)


def _look_at_stream(channel: ConfirmingChannel, queues: Sequence[str]) -> Heartbeats:
    now, fields, spoilt = stream.read(channel, _UNBROKEN_SECONDS)
    found, unreadable = read_fields(now, fields.items())
    held = int(sum(worker.get("held") or 0 for worker in _of_kind(found, WORKER).values()))
    counts = [(queue, stream.messages_in(channel, queue), _reckoned(found, queue)) for queue in queues]
    # Messages that are not due yet lie in the same delay queues for all queues.
    waiting = [(queue, count, sent if count else "", None) for queue, count, sent in counts]
    return replace(_read(now, found.items(), held, waiting, refusal=None), unreadable=unreadable + spoilt)


def _reckoned(found: Mapping[str, Any], queue: str) -> float | str:
    """Estimate when a queue's oldest message was sent, by the broker's clock; empty if unknown.

    All that was sent before the last canary that came out has come out, too; what was sent before the next
    canary may have.
    """
    beat, canary = found.get(BEAT), found.get(f"{CANARY}{queue}")
    if not beat or not canary or not canary.get("sent_at") or not beat.get("clock"):
        return ""
    ahead = beat["clock"] - beat["at"]
    return float(canary["sent_at"] - ahead + CANARY_SECONDS)


def _read(
    now: float,
    fields: Iterable[tuple[bytes | str, Any]],
    unacknowledged: int,
    waiting: Sequence[Any],
    refusal: str | None,
) -> Heartbeats:
    found, unreadable = read_fields(now, fields)
    queues: dict[str, Waiting] = {}
    for name, messages, oldest, later in waiting:
        queue, before = bytes_to_str(name), queues.get(bytes_to_str(name), Waiting(0, None))
        if oldest in (_UNSEEN, _UNSEEN.encode()):
            oldest = _reckoned(found, queue)
        # A sender's clock may be ahead of the broker's.
        ages = [max(0.0, now - float(oldest))] if oldest else []
        ages += [] if before.oldest_seconds is None else [before.oldest_seconds]
        queues[queue] = Waiting(
            before.messages + int(messages),
            max(ages, default=None),
            None if later is None else (before.later or 0) + int(later),
        )
    beat = found.get(BEAT)
    workers, places = _of_kind(found, WORKER), _of_kind(found, PLACE)
    return Heartbeats(
        queues=queues,
        canaries={queue: now - canary["at"] for queue, canary in _of_kind(found, CANARY).items()},
        workers={node: _worker_heartbeat(now, worker) for node, worker in workers.items()},
        beat=now - beat["at"] if beat else None,
        beat_up=now - beat["since"] if beat else None,
        unacknowledged=unacknowledged,
        skews=_skews({**workers, BEAT: beat} if beat else workers, places),
        places={
            node: Place(str(place["database"]), now - place["at"], now - place["since"])
            for node, place in places.items()
        },
        refusal=refusal,
        sockets={
            name: socket["silence"] + now - socket["at"] for name, socket in _of_kind(found, SOCKET).items()
        },
        unreadable=unreadable,
    )


def _of_kind(found: Mapping[str, Heartbeat], kind: str) -> dict[str, Heartbeat]:
    """Return the heartbeats of one kind, by what follows it in their fields."""
    return {name.removeprefix(kind): heartbeat for name, heartbeat in found.items() if name.startswith(kind)}


def _skews(told: Mapping[str, Heartbeat], places: Mapping[str, Heartbeat]) -> dict[str, Skew]:
    # An older process does not say.
    return {
        name: Skew(heartbeat.get("skew"), places.get(name, {}).get("skew"))
        for name, heartbeat in told.items()
        if heartbeat.get("skew") is not None or name in places
    }


def _worker_heartbeat(now: float, heartbeat: Mapping[str, Any]) -> WorkerHeartbeat:
    seconds = now - heartbeat["at"]

    def ago(use: Mapping[str, Any], what: str) -> float | None:
        return None if use.get(what) is None else use[what] + seconds

    # Lua makes an object of an empty list.
    queues = {
        use["queue"]: QueueUse(ago(use, "asked"), ago(use, "ended")) for use in heartbeat.get("queues") or []
    }
    return WorkerHeartbeat(seconds, now - heartbeat["since"], queues)
