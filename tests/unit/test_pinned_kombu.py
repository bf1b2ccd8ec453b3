"""Pins on kombu 5.7: an upgrade that changes what worker/durable/transport.py relies on fails here."""

from __future__ import annotations

import inspect
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import Empty
from time import monotonic
from typing import Any
from unittest.mock import ANY, MagicMock, Mock

import pytest
import redis
from celery import Celery
from kombu import Connection, pools
from kombu.asynchronous.hub import Hub
from kombu.asynchronous.semaphore import LaxBoundedSemaphore
from kombu.connection import ConnectionPool, PooledConnection
from kombu.message import Message as KombusMessage
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps, loads
from kombu.utils.scheduling import cycle_by_name

from tests.support.pinned import needed_by, overridden
from threadsync.broker.producer import ProducerChannel
from worker.durable.channel import TolerantChannel
from worker.durable.connection import DurableConnection
from worker.durable.qos import DurableQoS
from worker.durable.rabbitmq.transport import RabbitMessage, RabbitSSLTransport, RabbitTransport
from worker.durable.raw_message import DurableMessage
from worker.durable.remote_control import WorkersMailbox, WorkersNode
from worker.durable.transport import (
    DurableChannel,
    DurablePoller,
    DurableSentinelTransport,
    DurableTransport,
)

TRANSPORT = ("worker/durable/channel.py", "worker/durable/qos.py", "worker/durable/transport.py")
Channel: Any = kombu_redis.Channel
QoS: Any = kombu_redis.QoS
Poller: Any = kombu_redis.MultiChannelPoller


@pytest.fixture
def channel(broker_url: str) -> Iterator[Any]:
    """Yield a channel of kombu's own, on a real server."""
    with Connection(broker_url) as connection:
        yield connection.channel()


def publish(channel: Any, body: Any, **options: Any) -> None:
    channel.connection.client.Producer().publish(body, routing_key="q", serializer="json", **options)


@needed_by(*TRANSPORT)
def test_what_ours_overrides_is_all_there_and_nothing_else_is_hit() -> None:
    """Our subclasses override exactly these names, so a renamed hook or a new clash fails here."""
    assert overridden(DurableQoS) == {
        *("append", "ack", "can_consume", "reject", "restore_unacked_once", "restore_visible"),
        "restore_by_tag",
        "restore_unacked",
    }
    assert overridden(DurableChannel) == {"QoS", "Message", "basic_get", "_brpop_start", "_brpop_read"}
    assert overridden(TolerantChannel) == {
        *("_put", "_queue_bind", "maybe_refresh_binding_expiry", "subclient", "conn_or_acquire"),
        *("basic_consume", "_receive_one", "_handle_message"),
    }
    assert overridden(ProducerChannel) == {
        *("from_transport_options", "conn_or_acquire", "_put", "_connparams", "_create_client"),
        "get_table",
    }
    decode: Any = DurableMessage._decode
    assert decode is RabbitMessage._decode
    assert decode is not KombusMessage._decode
    assert overridden(WorkersNode) == {"handle_message", "dispatch_from_message", "dispatch", "handle"}
    assert overridden(WorkersMailbox) == {"node_cls"}
    assert overridden(DurableTransport) == {"Channel", "register_with_event_loop"}
    assert overridden(DurablePoller) == {"on_poll_start"}


@needed_by(*TRANSPORT)
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (QoS.restore_visible, "(self, start=0, num=10, interval=10)"),
        (QoS.restore_by_tag, "(self, tag, client=None, leftmost=False)"),
        (QoS.reject, "(self, delivery_tag, requeue=False)"),
        (QoS.append, "(self, message, delivery_tag)"),
        (virtual.QoS.restore_unacked_once, "(self, stderr=None)"),
        (Channel._brpop_start, "(self, timeout=None)"),
        (Channel._brpop_read, "(self, **options)"),
        (Channel.conn_or_acquire, "(self, client=None)"),
        (virtual.Channel.basic_consume, "(self, queue, no_ack, callback, consumer_tag, **kwargs)"),
        (virtual.Channel.basic_get, "(self, queue, no_ack=False, **kwargs)"),
        (kombu_redis.Transport.register_with_event_loop, "(self, connection, loop)"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_hook_takes_what_ours_takes(function: Any, expected: str) -> None:
    """Each hook has the arguments that kombu passes to ours."""
    assert str(inspect.signature(function)) == expected


@needed_by(*TRANSPORT)
def test_the_poller_starts_and_reads_by_the_brpop_hooks() -> None:
    """The poller starts a BRPOP and reads by ``handlers``, both only while there is credit."""
    poller, channel = Poller(), MagicMock()
    channel.client.connection._sock = None
    channel._brpop_start.side_effect = lambda: setattr(channel, "_in_poll", channel.client.connection)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel.client.connection.connect.side_effect = lambda: setattr(
            channel.client.connection, "_sock", ours
        )
        poller.add(channel)
        channel.active_fanout_queues = set()
        channel.qos.can_consume.return_value = False
        poller.on_poll_start()
        channel._brpop_start.assert_not_called()
        channel.qos.can_consume.return_value = True
        poller.on_poll_start()
        poller.on_poll_start()
        channel._brpop_start.assert_called_once_with()
        poller.on_readable(ours.fileno())
        channel.handlers.__getitem__.assert_called_once_with("BRPOP")
        channel.handlers["BRPOP"].assert_called_once_with()


@needed_by(*TRANSPORT)
def test_the_brpop_handler_is_the_method_of_the_class(broker_url: str) -> None:
    """The BRPOP handler is the class's method, so ours is the one that is called."""
    with Connection(broker_url, transport="worker.durable.transport:DurableTransport") as connection:
        channel: Any = connection.channel()
        assert channel.handlers["BRPOP"] == channel._brpop_read
        assert channel._brpop_read.__func__ is DurableChannel._brpop_read
        assert type(channel.qos) is DurableQoS


@needed_by(*TRANSPORT)
def test_brpop_start_leaves_what_the_poller_looks_at() -> None:
    """``_brpop_start`` sends its command on the client's connection and sets what the poller reads."""
    channel = MagicMock(global_keyprefix="", priority_steps=[0], brpop_timeout=1)
    channel._queue_cycle.consume.return_value = ["q"]
    channel._q_for_pri.side_effect = lambda queue, _step: queue
    Channel._brpop_start(channel)
    channel.client.connection.send_command.assert_called_once_with("BRPOP", "q", 1)
    assert channel._in_poll is channel.client.connection
    assert abs(channel._brpop_sent_at - monotonic()) < 60


@needed_by(*TRANSPORT)
@pytest.mark.parametrize(("waited", "dropped"), [(0, False), (1000, True)])
def test_a_reply_that_is_overdue_ends_the_connection(waited: float, dropped: bool) -> None:
    """A reply overdue since ``_brpop_sent_at`` ends the connection, so no wait of ours may be longer."""
    poller, channel = Poller(), MagicMock(brpop_timeout=1, health_check_interval=5)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel._in_poll._sock = ours
        channel._brpop_sent_at = monotonic() - waited
        poller.add(channel)
        poller.maybe_check_brpop_health()
    assert channel._in_poll.disconnect.called == dropped


@needed_by(*TRANSPORT)
def test_brpop_read_ends_the_poll_and_flushes_new_credentials() -> None:
    """``_brpop_read`` raises ``Empty`` for no message, ends the poll and flushes new credentials."""
    channel = MagicMock(connection_errors=(OSError,))
    channel.client.parse_response.return_value = None
    with pytest.raises(Empty):
        Channel._brpop_read(channel)
    assert channel._in_poll is None
    channel._flush_brpop_reauth.assert_called_once_with()
    assert not inspect.signature(Channel._flush_brpop_reauth).parameters.keys() - {"self"}


@needed_by(*TRANSPORT)
def test_close_reads_the_reply_that_is_outstanding(channel: Any) -> None:
    """``close`` reads the outstanding reply once by ``_brpop_read``, whose ``Empty`` is no error."""
    channel._in_poll, channel._brpop_read = object(), Mock(side_effect=Empty)
    channel.close()
    channel._brpop_read.assert_called_once_with()
    assert channel.closed


@needed_by(*TRANSPORT)
def test_a_timer_asks_for_the_overdue_by_restore_visible() -> None:
    """A timer calls ``restore_visible`` every ``unacked_restore_interval`` seconds."""
    transport: Any = MagicMock()
    transport.cycle = Poller()
    loop, connection = MagicMock(), MagicMock()
    connection.client.transport_options = {"unacked_restore_interval": 1}
    kombu_redis.Transport.register_with_event_loop(transport, connection, loop)
    loop.call_repeatedly.assert_any_call(1, transport.cycle.maybe_restore_messages)
    channel = MagicMock(unacked_restore_limit=None, unacked_restore_throttle=1)
    transport.cycle.add(channel)
    transport.cycle.maybe_restore_messages()
    channel.qos.restore_visible.assert_called_once_with(num=None, interval=1)


@needed_by(*TRANSPORT)
def test_what_is_held_at_the_end_goes_back_by_restore_by_tag() -> None:
    """``Channel.close`` calls ``restore_unacked_once``, which restores each delivered message by its tag."""
    assert "restore_unacked_once" in virtual.Channel.close.__code__.co_names
    qos = QoS(MagicMock())
    virtual.QoS.append(qos, "a message", "a tag")
    qos.restore_by_tag = Mock()
    qos.restore_unacked_once()
    qos.restore_by_tag.assert_called_once_with("a tag", client=ANY)


@needed_by(*TRANSPORT)
def test_delivered_dirty_and_the_estimate() -> None:
    """``_delivered`` has what was appended, ``_dirty`` what ended since; an estimate of None is no limit."""
    qos: Any = virtual.QoS(MagicMock(), 3)
    qos.append("a message", "a")
    qos.append("a message", "b")
    assert (list(qos._delivered), qos.can_consume_max_estimate()) == (["a", "b"], 1)
    qos.ack("a")
    assert (qos._dirty, list(qos._delivered), qos.can_consume_max_estimate()) == ({"a"}, ["a", "b"], 2)
    qos.append("a message", "c")
    assert (qos._dirty, list(qos._delivered)) == (set(), ["b", "c"])
    qos.prefetch_count = 0
    assert qos.can_consume_max_estimate() is None


@needed_by(*TRANSPORT)
def test_the_format_of_what_is_unacknowledged(channel: Any) -> None:
    """``unacked`` maps a tag to JSON of message, exchange and queue; ``unacked_index`` to its Unix time."""
    publish(channel, "hello")
    raw = json.loads(channel.client.lindex("q", -1))
    message = channel.basic_get("q")
    notes = channel.client.hgetall("unacked")
    assert {tag.decode(): json.loads(note) for tag, note in notes.items()} == {
        message.delivery_tag: [raw, "", "q"]
    }
    ((_, score),) = channel.client.zrange("unacked_index", 0, -1, withscores=True)
    assert abs(score - datetime.now(UTC).timestamp()) < 60


@needed_by(*TRANSPORT)
def test_a_stock_worker_restores_a_note_of_our_form(channel: Any) -> None:
    """A stock worker restores an unacknowledged message in our form, which has no spaces."""
    publish(channel, "hello")
    raw = channel.client.rpop("q").decode()
    tag = json.loads(raw)["properties"]["delivery_tag"]
    channel.client.hset("unacked", tag, f'[{raw},"","q"]')
    channel.client.zadd("unacked_index", {tag: 1})
    channel.qos.restore_by_tag(tag)
    assert json.loads(channel.client.lindex("q", -1))["properties"]["delivery_tag"] == tag
    assert (channel.client.hlen("unacked"), channel.client.zcard("unacked_index")) == (0, 0)


@needed_by(*TRANSPORT)
def test_priorities_have_lists_of_their_own(channel: Any) -> None:
    """Each priority has its own list; the first step's list has the queue's own name."""
    assert channel.priority_steps == [0, 3, 6, 9]
    names = [channel._q_for_pri("q", step) for step in channel.priority_steps]
    assert names == ["q", *(f"q{channel.sep}{step}" for step in (3, 6, 9))]
    publish(channel, "hello", priority=9)
    assert channel.client.llen(names[-1]) == 1


@needed_by(*TRANSPORT)
def test_a_raw_message_is_delivered_by_its_queue(channel: Any) -> None:
    """``_deliver`` makes the message, and appends it to the QoS unless the consumer has ``no_ack``."""
    publish(channel, "hello")
    raw = json.loads(channel.client.lindex("q", -1))
    for no_ack in (False, True):
        got: list[Any] = []
        channel._qos = Mock()
        channel.basic_consume("q", no_ack, got.append, "a tag")
        channel.connection._deliver(raw, "q")
        assert [message.payload for message in got] == ["hello"]
        assert channel.qos.append.call_args_list == ([] if no_ack else [((got[0], got[0].delivery_tag),)])
        channel.basic_cancel("a tag")
    channel._qos = None


@needed_by(*TRANSPORT)
def test_a_client_stands_on_the_pool_and_a_fork_brings_another_pool(channel: Any) -> None:
    """A client stands on the channel's pool, and a fork brings another pool."""
    client = channel._create_client()
    assert client.connection_pool is channel.pool
    channel._after_fork()
    assert client.connection_pool is not channel.pool
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is not second, "kombu keeps its client now: ours is not needed any more"


@needed_by(*TRANSPORT)
def test_the_key_prefix_is_left_to_us_in_scripts() -> None:
    """kombu does not prefix the keys of EVAL and BLMOVE, so our scripts must."""
    client: Any = kombu_redis.PrefixedStrictRedis(global_keyprefix="p:")
    for command in (["EVAL", "return 1", 1, "key"], ["BLMOVE", "key", "key", "RIGHT", "RIGHT", 1]):
        assert client._prefix_args(command) == command
    assert client._prefix_args(["HGET", "key", "tag"]) == ["HGET", "p:key", "tag"]


@needed_by(*TRANSPORT)
def test_queues_take_turns() -> None:
    """Queues are served in rotation: ``rotate`` puts the one that was served at the end."""
    cycle: Any = cycle_by_name(Channel.queue_order_strategy)()
    cycle.update(["a", "b", "c"])
    assert cycle.consume(2) == ["a", "b"]
    cycle.rotate("a")
    assert cycle.consume(3) == ["b", "c", "a"]


@needed_by(*TRANSPORT)
def test_kombus_json_is_json_but_for_marked_objects() -> None:
    """kombu's JSON is plain JSON except for objects marked ``__type__``."""
    written = dumps({"when": datetime(2026, 1, 2, tzinfo=UTC)})
    assert "__type__" in written
    assert loads(written) == {"when": datetime(2026, 1, 2, tzinfo=UTC)}
    plain = dumps({"a": [1, 2.5, None, True, "ü"]})
    assert loads(plain) == json.loads(plain)


@needed_by("worker/durable/consumer.py", *TRANSPORT)
def test_what_counts_as_the_broker_being_away() -> None:
    """A KeyError counts as the broker being away, and a refused command does not."""
    errors = kombu_redis.Transport.connection_errors
    assert {KeyError, OSError, redis.ConnectionError, redis.TimeoutError} <= set(errors)
    assert not issubclass(redis.ResponseError, errors)


@needed_by("worker/durable/pool.py", *TRANSPORT)
def test_the_event_loop_keeps_a_callback_by_its_descriptor() -> None:
    """``readers`` and ``writers`` map a descriptor to its callback and arguments, or to None."""
    hub: Any = Hub()
    read, write = os.pipe()
    try:
        hub.add_reader(read, len, "x")
        hub.add(write, None, hub.WRITE, consolidate=True)
        assert (hub.readers, hub.writers) == ({read: (len, ("x",))}, {write: None})
        hub.remove(read)
        hub.remove(write)
        assert (hub.readers, hub.writers) == ({}, {})
        called: list[int] = []
        hub.call_soon(called.append, 1)
        assert called == []
        hub.run_once()
        assert called == [1]
        # A callback's own callback runs after the wait, a tick before it: hence DurablePoller.
        done: list[str] = []
        hub.call_soon(lambda: hub.call_soon(done.append, "later"))
        hub.on_tick.add(lambda: done.append("tick"))
        hub.add_reader(read, lambda: done.append("waited for"))
        os.write(write, b"1")
        rounds = hub.create_loop()
        next(rounds)
        assert done == ["tick", "waited for"]
    finally:
        hub.close()
        os.close(read)
        os.close(write)


@needed_by("worker/durable/suspects.py")
def test_what_waits_at_the_semaphore_may_change_places() -> None:
    """The semaphore serves the first of ``_waiting`` next, whose order may be changed."""
    semaphore: Any = LaxBoundedSemaphore(1)
    served: list[str] = []
    for name in ("first", "second", "third"):
        semaphore.acquire(served.append, name)
    semaphore._waiting.rotate(1)
    semaphore.release()
    semaphore.release()
    assert served == ["first", "third", "second"]


@needed_by("worker/durable/batching.py")
def test_the_semaphore_serves_in_turn_and_forgets_when_cleared() -> None:
    """The semaphore serves waiters in order, and ``clear`` drops them and frees all places."""
    semaphore = LaxBoundedSemaphore(1)
    served: list[str] = []
    for name in ("first", "second", "third"):
        semaphore.acquire(served.append, name)
    assert served == ["first"]
    semaphore.release()
    assert served == ["first", "second"]
    semaphore.clear()
    semaphore.release()
    assert (served, semaphore.value) == (["first", "second"], 1)


@needed_by("worker/durable/connection.py")
@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("redis://h", DurableTransport),
        ("rediss://h", DurableTransport),
        ("redis+socket:///s", DurableTransport),
        ("sentinel://h", DurableSentinelTransport),
        ("redis://h;redis://i", DurableTransport),
        ("amqp://h", RabbitTransport),
        ("amqps://h", RabbitSSLTransport),
        ("memory://", None),
    ],
)
def test_an_apps_connection_asks_for_its_transport(url: str, transport: type | None) -> None:
    """An app's connection takes our transport for the schemes that we know, and kombu's for others."""
    amqp = "worker.durable.connection:DurableAMQP"
    with Celery(broker=url, amqp=amqp, set_as_current=False) as app, app.connection_for_read() as connection:
        found = connection.get_transport_cls()
        assert found is transport if transport else found.__module__.startswith("kombu.")


@needed_by("worker/durable/connection.py")
def test_an_apps_pool_is_its_own_and_has_its_connections() -> None:
    """An app's pool makes connections of our class, and is found by the connection's hash."""
    url = "redis://127.0.0.1:1/0"
    stock, ours = Connection(url), DurableConnection(url)
    assert not isinstance(ConnectionPool(ours, limit=1).new(), DurableConnection)
    made = ours.Pool(limit=1).new()
    assert isinstance(made, PooledConnection)
    assert isinstance(made.transport, DurableTransport)
    assert pools.connections[ours] is pools.connections[DurableConnection(url)]
    assert pools.connections[ours] is not pools.connections[stock]
