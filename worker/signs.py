"""Signs of life, left in the broker: that a canary came through a queue, that a worker asks for messages.

One hash, ``threadsync.signs``, by the server's clock alone:

| field | who writes it | what it says |
|---|---|---|
| ``canary:<queue>`` | the process that ran the queue's canary | it came all the way |
| ``worker:<node>`` | a worker's main process, every ``REPORT_SECONDS`` | how it uses each of its queues |
| ``beat`` | beat, with each canary | canaries are being sent |

Only a broker that our own channel talks to (Valkey, Redis) keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from kombu.utils.encoding import bytes_to_str

from worker.errors import BrokerUnavailable
from worker.producer import TROUBLE, ProducerChannel

QUEUES: Final = ("sessions", "syncs", "maintenance")
"""All that there are. A worker takes from all of them unless it is told otherwise."""

REPORT_SECONDS: Final = 5

_KEY: Final = "threadsync.signs"
_CANARY, _WORKER, _BEAT = "canary:", "worker:", "beat"

_FORGOTTEN_AFTER_SECONDS: Final = 3600
"""A worker that was killed is no news by then."""

_UNBROKEN_SECONDS: Final = 60
_LOOKED_AT: Final = 20
"""Messages at a queue's end that are asked when they were sent. Stock clients do not say; canaries do."""

# KEYS[4]: the hash. ARGV: field, what it says as JSON, seconds until a sign is forgotten, longest pause.
_TELL: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local signs = redis.call('HGETALL', KEYS[4])
local since = now
for i = 1, #signs, 2 do
  local at = cjson.decode(signs[i + 1]).at
  if signs[i] == ARGV[1] and now - at < tonumber(ARGV[4]) then
    since = cjson.decode(signs[i + 1]).since
  elseif now - at > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[4], signs[i])
  end
end
local sign = cjson.decode(ARGV[2])
sign.at, sign.since = now, since
redis.call('HSET', KEYS[4], ARGV[1], cjson.encode(sign))
"""

# KEYS[4]: the hash. ARGV: field.
_FORGET: Final = "redis.call('HDEL', KEYS[4], ARGV[1])"

# KEYS[1]: unacked, KEYS[4]: the hash, then a key for each queue and priority. ARGV: most messages to ask, and
# the queue's name for each key. Returns {now, signs, unacknowledged, {queue, waiting, oldest sent_at} …}.
_LOOK: Final = """
local time = redis.call('TIME')
local look = {time[1] .. '.' .. string.format('%06d', time[2]), redis.call('HGETALL', KEYS[4]),
              redis.call('HLEN', KEYS[1])}
for i = 5, #KEYS do
  local waiting = redis.pcall('LLEN', KEYS[i])
  local oldest = ''
  if type(waiting) == 'number' and waiting > 0 then
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
  look[#look + 1] = {ARGV[i - 3], type(waiting) == 'number' and waiting or 0, oldest}
end
return look
"""


@dataclass(frozen=True)
class Waiting:
    """What lies in a queue. ``oldest_seconds`` is None when nothing there says when it was sent."""

    messages: int
    oldest_seconds: float | None


@dataclass(frozen=True)
class QueueUse:
    """Seconds since the broker answered the worker's question for messages, and since a message ended."""

    asked: float | None
    ended: float | None


@dataclass(frozen=True)
class WorkerSign:
    """A worker's last report: seconds since it, and since it began to report without a pause.

    ``queues`` are those that the worker was started for.
    """

    seconds: float
    up_seconds: float
    queues: Mapping[str, QueueUse]


@dataclass(frozen=True)
class Signs:
    """All that is known, in seconds before now.

    Attributes:
        queues: what waits.
        canaries: since the queue's last canary came through.
        workers: by node name, such as ``sessions@host``.
        beat: since beat's last canaries; ``beat_up`` since it began to send them without a pause.
        unacknowledged: messages that workers have, and that have not ended.
    """

    queues: Mapping[str, Waiting]
    canaries: Mapping[str, float]
    workers: Mapping[str, WorkerSign]
    beat: float | None
    beat_up: float | None
    unacknowledged: int


def canary_came_through(channel: Any, queue: str, worker: str) -> None:
    """Called where the canary ran. Like every function here it may raise what a broker's client raises."""
    _tell(channel, f"{_CANARY}{queue}", {"worker": worker})


def beat_sent_canaries(channel: Any) -> None:
    """Called by beat."""
    _tell(channel, _BEAT, {})


def worker_is_there(channel: ProducerChannel, node: str, queues: Mapping[str, QueueUse]) -> None:
    """Called by a worker's main process."""
    # A list of objects: an empty object, or a null in a list, would not come back from Lua as it went.
    uses = [{"queue": name, "asked": use.asked, "ended": use.ended} for name, use in queues.items()]
    _tell(channel, f"{_WORKER}{node}", {"queues": uses})


def worker_is_gone(channel: ProducerChannel, node: str) -> None:
    """It stops, as it was asked to."""
    channel.run_script(_FORGET, [_KEY], [f"{_WORKER}{node}"])


def look(channel: Any, queues: Sequence[str] = QUEUES) -> Signs | None:
    """Everything in one round trip; None when the broker keeps no signs."""
    if not isinstance(channel, ProducerChannel):
        return None
    # kombu's own, which the stubs do not know.
    steps, key_of = channel.priority_steps, channel._q_for_pri
    keys = [(queue, key_of(queue, step)) for queue in queues for step in steps]
    arguments = [_LOOKED_AT, *(queue for queue, _ in keys)]
    now, signs, unacknowledged, *waiting = channel.run_script(
        _LOOK, [_KEY, *(key for _, key in keys)], arguments
    )
    return _read(float(now), signs, int(unacknowledged), waiting)


def signs_of(app: Celery) -> Signs | None:
    """A look at an app's broker, over a connection of its own. Raises ``BrokerUnavailable``."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            return look(connection.default_channel)
    except TROUBLE as exc:
        raise BrokerUnavailable(f"the broker does not answer: {type(exc).__name__}: {exc}") from exc


def _tell(channel: Any, field: str, sign: Mapping[str, Any]) -> None:
    if isinstance(channel, ProducerChannel):
        limits = [_FORGOTTEN_AFTER_SECONDS, _UNBROKEN_SECONDS]
        channel.run_script(_TELL, [_KEY], [field, json.dumps(sign), *limits])


def _read(now: float, signs: Sequence[bytes], unacknowledged: int, waiting: Sequence[Any]) -> Signs:
    found = {
        bytes_to_str(field): json.loads(sign) for field, sign in zip(signs[::2], signs[1::2], strict=True)
    }
    queues: dict[str, Waiting] = {}
    for name, messages, oldest in waiting:
        queue, before = bytes_to_str(name), queues.get(bytes_to_str(name), Waiting(0, None))
        # A sender's clock may be ahead of the broker's.
        ages = [max(0.0, now - float(oldest))] if oldest else []
        ages += [] if before.oldest_seconds is None else [before.oldest_seconds]
        queues[queue] = Waiting(before.messages + int(messages), max(ages, default=None))
    beat = found.get(_BEAT)
    return Signs(
        queues=queues,
        canaries={
            name.removeprefix(_CANARY): now - sign["at"]
            for name, sign in found.items()
            if name.startswith(_CANARY)
        },
        workers={
            name.removeprefix(_WORKER): _worker_sign(now, sign)
            for name, sign in found.items()
            if name.startswith(_WORKER)
        },
        beat=now - beat["at"] if beat else None,
        beat_up=now - beat["since"] if beat else None,
        unacknowledged=unacknowledged,
    )


def _worker_sign(now: float, sign: Mapping[str, Any]) -> WorkerSign:
    seconds = now - sign["at"]

    def ago(use: Mapping[str, Any], what: str) -> float | None:
        return None if use[what] is None else use[what] + seconds

    # Lua makes an object of an empty list.
    queues = {use["queue"]: QueueUse(ago(use, "asked"), ago(use, "ended")) for use in sign["queues"] or []}
    return WorkerSign(seconds, now - sign["since"], queues)
