"""kombu's Redis transport without the instant in which a message is nowhere.

kombu pops a message (BRPOP) and notes it as unacknowledged with a second command. A worker that is killed in
between loses it: measured, up to one message in every second kill under load. Here both are one script.

    queue --TAKE--> unacked --acknowledged--> gone
      ^              |   ^
      |              |   +-- RENEW, every second, while the worker that took it lives
      +---RESTORE----+       overdue, rejected with requeue, or handed back by a worker that stops

| key | what |
|---|---|
| ``<queue>`` | list; producers push left, TAKE reads right |
| ``unacked`` | hash, tag -> ``[message, "", queue]``: kombu's format, so stock workers may restore it |
| ``unacked_index`` | sorted set, tag by the time when its worker last said that it has it |
| ``unacked_deliveries`` | hash, tag -> how often RESTORE put it back |

TAKE brings as many messages as the prefetch limit allows. Acknowledgements are gathered until the event
loop's next round and told by one script: one that is lost with its worker only means one more run.
A script runs whole or not at all, and its first write is one that a full server refuses, so a refusal leaves
everything as it was. Waiting for an empty queue is ``BLMOVE`` from its right end to its right end: it wakes
us and moves nothing. Producers may be stock Celery clients.

What kombu calls BRPOP (``_brpop_start``, ``_brpop_read``, ``_in_poll``) is our take or wait: its names, its
hooks, held in place by tests/integration/test_transport.py.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from time import monotonic, sleep
from typing import Any, Final, NoReturn

import redis
from kombu.log import get_logger
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from worker.installation import IdentifiedChannel

log = get_logger(__name__)

MOST_AT_ONCE: Final = 64
"""Messages that one run of TAKE brings: more would gain little, and hold up the server."""

_CHUNK: Final = 500
"""Messages that one run of RESTORE puts back: a few milliseconds of the server's time."""

_SHORT_WAIT_SECONDS: Final = 0.05
"""Of several queues only one can be waited on; the others are looked at this often."""

# KEYS: unacked, index, deliveries, then a key for each queue and priority.
# ARGV: most to take, each key's share; for each of those keys the queue's name, and "1" to note messages.
# What some leave of their shares the others get, in a second round.
# Returns for each message {queue, message, tag, deliveries before, "1" if the tag is the message's own}.
_TAKE: Final = """
local now = redis.call('TIME')
local taken = {}
for round = 0, 2 * #KEYS - 7 do
  local place = 4 + round % (#KEYS - 3)
  local queue, noted = ARGV[2 * place - 5], ARGV[2 * place - 4]
  local most = round < #KEYS - 3 and ARGV[2] or ARGV[1]
  for _ = 1, math.min(most, ARGV[1] - #taken) do
    local message = redis.pcall('LINDEX', KEYS[place], -1)
    if type(message) ~= 'string' then
      break
    end
    local readable, parsed = pcall(cjson.decode, message)
    local own = readable and type(parsed) == 'table' and type(parsed.properties) == 'table'
      and type(parsed.properties.delivery_tag) == 'string'
    local tag = own and parsed.properties.delivery_tag
      or 'unreadable-' .. now[1] .. '-' .. now[2] .. '-' .. #taken
    if noted == '1' then
      redis.call('HSET', KEYS[1], tag, '[' .. message .. ',"",' .. cjson.encode(queue) .. ']')
      redis.call('ZADD', KEYS[2], now[1] + now[2] / 1e6, tag)
    end
    redis.call('RPOP', KEYS[place])
    taken[#taken + 1] = {queue, message, tag, redis.call('HGET', KEYS[3], tag) or '0', own and '1' or '0'}
  end
end
return taken
"""

# KEYS: unacked, index, deliveries. ARGV: tags. What was given back meanwhile keeps its count of deliveries.
_END: Final = """
for _, tag in ipairs(ARGV) do
  if redis.call('HDEL', KEYS[1], tag) == 1 then
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[3], tag)
  end
end
"""

# KEYS: unacked, index, deliveries. ARGV: tags. What is not there any more is not put back.
_RENEW: Final = """
local now = redis.call('TIME')
for _, tag in ipairs(ARGV) do
  redis.call('ZADD', KEYS[2], 'XX', now[1] + now[2] / 1e6, tag)
end
"""

# KEYS: unacked, index, deliveries.
# ARGV: seconds since the last renewal, most to restore, PUSH command, key prefix, separator of a priority,
# priority steps as JSON; then tags instead.
# Returns {number of tags looked at, {tags that a stock worker noted}}.
_RESTORE: Final = """
local tags = {unpack(ARGV, 7)}
local steps = cjson.decode(ARGV[6])
local function suffix(message)
  local readable, parsed = pcall(cjson.decode, message)
  local properties = readable and type(parsed) == 'table' and parsed.properties
  local priority = type(properties) == 'table' and tonumber(properties.priority) or 0
  local step = 0
  for _, start in ipairs(steps) do
    if start <= priority then
      step = start
    end
  end
  return step > 0 and ARGV[5] .. step or ''
end
if #tags == 0 then
  local now = redis.call('TIME')
  local overdue = now[1] + now[2] / 1e6 - ARGV[1]
  tags = redis.call('ZRANGE', KEYS[2], '-inf', overdue, 'BYSCORE', 'LIMIT', 0, ARGV[2])
end
local foreign = {}
for _, tag in ipairs(tags) do
  local note = redis.call('HGET', KEYS[1], tag)
  local ending, queue
  if note then
    ending, _, queue = note:find(',"",("[^"]*")%]$')
  end
  if note and not ending then
    foreign[#foreign + 1] = tag
  else
    if note then
      redis.call('HINCRBY', KEYS[3], tag, 1)
      local message = note:sub(2, ending - 1)
      redis.call(ARGV[3], ARGV[4] .. cjson.decode('[' .. queue .. ']')[1] .. suffix(message), message)
    end
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
end
return {#tags, foreign}
"""


class DurableQoS(kombu_redis.QoS):
    """The messages that were delivered and not acknowledged yet."""

    channel: DurableChannel
    _delivered: OrderedDict[str, Any]
    _dirty: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended: deque[str] = deque()
        self.ended_at: dict[str, float] = {}

    @property
    def credit(self) -> int:
        """How many messages more may be taken now."""
        room = self.can_consume_max_estimate()
        return MOST_AT_ONCE if room is None else min(room, MOST_AT_ONCE)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a delivered message; TAKE has noted it already."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """It has ended; the server hears of it soon."""
        message = self._delivered.get(delivery_tag)
        # As text: a message of somebody else's making may have anything there.
        queue = str(message.delivery_info.get("routing_key")) if message is not None else ""
        if queue in self.channel._active_queues:
            self.ended_at[queue] = monotonic()
        self._note_end(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Not wanted here; with ``requeue`` others may have it, and at once."""
        if requeue and not self.channel.closed:
            try:
                self.restore_by_tag(delivery_tag, leftmost=True)
            except redis.ResponseError as exc:
                log.warning("broker refused to take a message back; it will be overdue: %s", exc)
            virtual.QoS.ack(self, delivery_tag)
        else:
            self._note_end(delivery_tag)

    def _note_end(self, delivery_tag: str) -> None:
        virtual.QoS.ack(self, delivery_tag)
        if self.channel.closed:
            # What it had went back when it was closed, or will when it is overdue.
            return
        self._ended.append(delivery_tag)
        loop = self.channel.connection.loop
        if loop is None:
            self.flush()
        elif len(self._ended) == 1:
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Tell the server what has ended. What it does not hear of is delivered once more."""
        if not self.channel.closed:
            self._tell_what_ended()

    def _tell_what_ended(self) -> None:
        tags = [self._ended.popleft() for _ in range(len(self._ended))]
        if not tags:
            return
        trouble: tuple[type[Exception], ...] = (*self.channel.connection_errors, redis.ResponseError)
        try:
            self.channel.run_script(_END, [], tags)
        except trouble as exc:
            log.warning("%d acknowledgements lost: %s", len(tags), exc)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Hand back, at the end, what has not ended."""
        self._tell_what_ended()
        super().restore_unacked_once(stderr)

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:
        """Say what we have, then put back what nobody has. Every ``unacked_restore_interval`` seconds."""
        held = [tag for tag in tuple(self._delivered) if tag not in self._dirty]
        try:
            if held:
                self.channel.run_script(_RENEW, [], held)
            looked_at = _CHUNK
            while looked_at == _CHUNK:
                looked_at = self._restore("RPUSH")
        # In a failover the master is a replica for a while: next time, then.
        except redis.ResponseError as exc:
            log.warning("broker refused to say what is overdue: %s", exc)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put one back: to be taken next, or with ``leftmost`` after all others."""
        self._restore("LPUSH" if leftmost else "RPUSH", tag)

    def _restore(self, push: str, *tags: str) -> int:
        channel = self.channel
        steps = json.dumps(channel.priority_steps)
        places = [channel.global_keyprefix, channel.sep, steps]
        looked_at, foreign = channel.run_script(
            _RESTORE, [], [self.visibility_timeout, _CHUNK, push, *places, *tags]
        )
        for tag in foreign:
            super().restore_by_tag(bytes_to_str(tag), leftmost=push == "LPUSH")
        # What stays behind must not be looked at for ever.
        return 0 if foreign else int(looked_at)


class DurableChannel(IdentifiedChannel):
    """Takes messages by script."""

    QoS = DurableQoS
    deliveries_key = "unacked_deliveries"

    # kombu's own, which the stubs do not know.
    connection: DurableTransport
    qos: DurableQoS
    connection_errors: tuple[type[Exception], ...]
    _active_queues: list[str]
    _queue_cycle: Any
    _create_client: Callable[[], Any]
    _q_for_pri: Callable[[str, int], str]
    _flush_brpop_reauth: Callable[[], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._no_ack_queues: set[str] = set()
        self._asked_for: Sequence[str] = ()
        self._answered_at: dict[str, float] = {}
        self._read_reply: Callable[[Any], None] = self._on_taken
        self._nothing_there = False
        self._most = 0
        self._rests_until = 0.0
        self._bookkeeper: Any = None
        super().__init__(*args, **kwargs)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """A client on this channel's pool. kombu makes one each time, which takes longer than a command."""
        if client is None:
            # After a fork and a failover the pool is another one.
            if self._bookkeeper is None or self._bookkeeper.connection_pool is not self.pool:
                self._bookkeeper = self._create_client()
            client = self._bookkeeper
        yield client

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        if no_ack:
            self._no_ack_queues.add(queue)
        else:
            self._no_ack_queues.discard(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Take one message now, if there is one; None if not."""
        reply = self.run_script(*self._take_arguments([queue], 1, noted=not no_ack))
        if not reply:
            return None
        message = self.Message(self._parsed(reply[0]), channel=self)
        if not no_ack:
            self.qos.append(message, bytes_to_str(reply[0][2]))
        return message

    def seconds_since_use(self, queue: str) -> tuple[float | None, float | None]:
        """Since the broker last answered our question for messages of the queue, and since one ended."""
        now = monotonic()
        asked, ended = self._answered_at.get(queue), self.qos.ended_at.get(queue)
        return None if asked is None else now - asked, None if ended is None else now - ended

    def run_script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run it now; ``keys`` are those after the three of unacknowledged messages."""
        with self.conn_or_acquire() as client:
            return client.execute_command(*self._script_command(script, keys, arguments))

    def _script_command(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
        # EVAL and not EVALSHA: a server that was restarted has forgotten every script.
        fixed = (self.unacked_key, self.unacked_index_key, self.deliveries_key)
        prefixed = [f"{self.global_keyprefix}{key}" for key in (*fixed, *keys)]
        return ("EVAL", script, len(prefixed), *prefixed, *arguments)

    def _take_arguments(
        self, queues: Sequence[str], most: int, noted: bool = True
    ) -> tuple[str, list[str], list[Any]]:
        keys: list[str] = []
        # A share for each, so that a full queue does not starve the others.
        arguments: list[Any] = [most, max(1, most // len(queues))]
        for step in self.priority_steps:
            for queue in queues:
                keys.append(self._q_for_pri(queue, step))
                arguments += [queue, "1" if noted and queue not in self._no_ack_queues else "0"]
        return _TAKE, keys, arguments

    def _take_as_many_as_fit(self, queues: Sequence[str]) -> tuple[str, list[str], list[Any]]:
        self._most = self.qos.credit
        return self._take_arguments(queues, self._most)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for a message; or, when there was none, to be told that there may be one."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues or self._rests():
            return
        if self._nothing_there:
            command = self._wait_command(queues, timeout or self.brpop_timeout)
            self._read_reply = self._on_woken
        else:
            command = self._script_command(*self._take_as_many_as_fit(queues))
            self._read_reply = self._on_taken
        self._nothing_there = False
        self._asked_for = queues
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*command)

    def _rests(self) -> bool:
        """Whether it is too early to ask again. Not for the server to time: it may refuse to wait, too."""
        remaining = self._rests_until - monotonic()
        if remaining > 0 and self.connection.loop is None:
            # Nobody would wake us when it is over.
            sleep(remaining)
            return False
        return remaining > 0

    def _wait_command(self, queues: Sequence[str], seconds: float) -> tuple[Any, ...]:
        key = f"{self.global_keyprefix}{queues[0]}"
        if len(queues) > 1:
            self._queue_cycle.rotate(queues[0])
            seconds = _SHORT_WAIT_SECONDS
        return ("BLMOVE", key, key, "RIGHT", "RIGHT", seconds)

    def _brpop_read(self, **options: Any) -> bool:
        """The reply to what ``_brpop_start`` asked is there."""
        try:
            self._read_reply(self._reply(**options))
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _reply(self, **options: Any) -> Any:
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, "EVAL", **options)
        except self.connection_errors:
            # So that the next round connects again.
            connection.disconnect()
            raise
        except redis.ResponseError as exc:
            self._rest(exc)
        self._answered_at.update(dict.fromkeys(self._asked_for, monotonic()))
        return reply

    def _on_woken(self, reply: Any) -> None:
        if reply is None:
            raise Empty
        # Not by way of the event loop, whose next round is later.
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            # Meanwhile nobody consumes any more.
            raise Empty
        self.client.connection.send_command(*self._script_command(*self._take_as_many_as_fit(queues)))
        self._on_taken(self._reply())

    def _rest(self, exc: redis.ResponseError) -> NoReturn:
        """A full server, a wrong type under a key, a failover: wait, and begin on a new connection."""
        log.warning("broker refused: %s", exc)
        self._rests_until = monotonic() + self.brpop_timeout
        self.client.connection.disconnect()
        raise Empty from exc

    def _on_taken(self, reply: Any) -> None:
        # Less than there was room for: the queues are empty now, which need not be asked once more.
        self._nothing_there = len(reply) < self._most
        if not reply:
            raise Empty
        self._queue_cycle.rotate(bytes_to_str(reply[0][0]))
        for taken in reply:
            self.connection._deliver(self._parsed(taken), bytes_to_str(taken[0]))

    def _parsed(self, reply: Sequence[bytes]) -> Any:
        """The message as kombu wants it; what is none becomes the body of one."""
        queue, raw, tag, deliveries, own_tag = reply
        try:
            # kombu's own also turns marked objects into dates and the like, and takes three times as long.
            message: Any = (loads if b"__type__" in raw else json.loads)(raw.decode())
            self.Message(message, channel=self)
            readable = own_tag == b"1" and _has_all_parts(message)
        # Whatever is wrong with it: an error here would end the worker, and the next one too.
        except Exception:  # noqa: BLE001
            readable = False
        if not readable:
            message = _wrapped(raw, bytes_to_str(queue), bytes_to_str(tag))
        if int(deliveries):
            message["headers"]["redelivered"] = True
            message["properties"]["delivery_info"]["redelivered"] = True
        return message


def _has_all_parts(message: Any) -> bool:
    """What kombu and Celery take for granted."""
    properties = message["properties"]
    objects = (message.get("headers"), properties, properties.get("delivery_info"))
    return isinstance(message.get("body"), str) and all(isinstance(part, dict) for part in objects)


def _wrapped(raw: bytes, queue: str, tag: str) -> dict[str, Any]:
    """A message whose body is ``raw``."""
    return {
        "body": base64.b64encode(raw).decode(),
        "content-type": "application/data",
        "content-encoding": "binary",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": tag,
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }


class DurableTransport(kombu_redis.Transport):
    """For Redis and Valkey."""

    Channel = DurableChannel
    loop: Any = None
    """The event loop, in a worker that has one."""

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        self.loop = loop
        super().register_with_event_loop(connection, loop)


class DurableSentinelChannel(DurableChannel, kombu_redis.SentinelChannel):
    """The same on the master that the sentinels name."""


class DurableSentinelTransport(DurableTransport, kombu_redis.SentinelTransport):
    """For ``sentinel://``."""

    Channel = DurableSentinelChannel
