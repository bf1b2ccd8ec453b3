"""Our transport's additions to kombu's for RabbitMQ, on a real node."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import amqp
import pytest
from celery import Celery
from kombu import Connection, Consumer, Exchange, Queue
from kombu.asynchronous.timer import Timer

from tests.support.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.support.waiting import wait_until
from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.installation import OthersBroker, claim, owner_of, take_over
from threadsync.broker.ownership import KEY
from threadsync.broker.rabbitmq_clock import whole_seconds
from threadsync.config import load_settings
from threadsync.liveness import heartbeats as signs
from threadsync.liveness.heartbeats import heartbeats_of
from threadsync.liveness.rabbitmq import read as read_signs
from threadsync.liveness.state import QueueUse
from threadsync.queues import QUEUES
from worker.doctor.broker import examine_broker
from worker.doctor.finding import Finding
from worker.doctor.rabbitmq import judge_limit, judge_queues, judge_room, judge_version
from worker.durable.connection import DurableConnection
from worker.durable.heartbeat import Heartbeat
from worker.durable.rabbitmq.waiting import Delays
from worker.durable.startup import INSTALLATION


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    needs_rabbitmq()
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["classic", "quorum"])
def url(request: pytest.FixtureRequest, rabbitmq: RabbitMQ) -> str:
    """Return the URL of an empty virtual host whose queues have this type by default."""
    return rabbitmq.url(request.param)


@pytest.fixture
def connection(rabbitmq: RabbitMQ) -> Iterator[Connection]:
    """Open one of our connections with short limits."""
    with DurableConnection(rabbitmq.url_of("quorum8"), transport_options={"socket_timeout": 1.0}) as made:
        yield made


def an_app(url: str) -> Celery:
    app = Celery(broker=url, amqp="worker.durable.connection:DurableAMQP", set_as_current=False)
    app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in QUEUES]
    return app


def count(queue: Queue) -> int:
    """Return the number of messages in the queue that are ready."""
    told: Any = queue.queue_declare(passive=True)
    return int(told.message_count)


def as_stock(url: str) -> Connection:
    """Return a connection of stock kombu, as another program would use."""
    return Connection(url)


def test_a_message_that_no_queue_takes_is_not_called_sent(connection: Connection) -> None:
    """Publishing a message that no queue takes raises an error."""
    with pytest.raises(BROKER_ERRORS, match="NO_ROUTE"):
        connection.Producer().publish("lost", exchange="", routing_key="no-such-queue")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("utf-16", b'{"task": "sessions.get"}'),
        ("utf-7", b"+AGE-"),
        ("latin-1", b"\xe4\xff"),
        ("utf-8", b'{"task": "\xc3\xa4"}'),
        # Python's codec takes quadratic time: a minute for this body.
        ("punycode", b"-" + b"9" * 500_000),
    ],
)
def test_a_body_arrives_as_the_bytes_that_it_is(connection: Connection, encoding: str, body: bytes) -> None:
    """A body arrives as the bytes that were sent, whatever encoding its sender names."""
    channel: Any = connection.default_channel
    queue = Queue(f"bytes-{encoding}", channel=channel)
    queue.declare()
    made: Any = amqp.Message(body, content_type="application/json", content_encoding=encoding)
    channel.basic_publish(made, routing_key=queue.name)
    message: Any = queue.get(no_ack=True)
    assert (message.body, message.content_encoding) == (body, encoding)


def test_a_queue_that_was_deleted_is_made_by_the_next_message(url: str) -> None:
    app = an_app(url)
    app.send_task("any", queue="sessions")
    with as_stock(url) as operators:
        ours = app.amqp.queues["sessions"](operators.default_channel)
        ours.delete()
        app.send_task("any", queue="sessions")
        assert count(ours) == 1
    app.close()


def test_a_frozen_broker_is_no_reason_to_wait_for_ever(rabbitmq: RabbitMQ, connection: Connection) -> None:
    queue = Queue("frozen")(connection.default_channel)
    queue.declare()
    rabbitmq.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BROKER_ERRORS):
            connection.Producer().publish("in time", exchange="", routing_key="frozen", retry=False)
        with pytest.raises(BROKER_ERRORS):
            DurableConnection(rabbitmq.url_of("quorum8"), connect_timeout=0.5).connect()
    finally:
        rabbitmq.signal(signal.SIGCONT)


def test_a_channel_of_a_closed_connection_says_so(connection: Connection) -> None:
    """Every call on a channel of a closed connection raises a recoverable connection error."""
    channel: Any = connection.channel()
    Queue("closed")(channel).declare()
    assert whole_seconds(channel) > 0

    def broken(message: Any) -> None:
        channel.connection.collect()
        raise amqp.RecoverableConnectionError("cut off")

    connection.Producer().publish("x", routing_key="closed")
    channel.basic_consume("closed", callback=broken)
    with pytest.raises(amqp.RecoverableConnectionError, match="cut off"):
        connection.drain_events(timeout=10)
    message: Any = amqp.Message(b"x")
    asked: tuple[Callable[[], Any], ...] = (
        lambda: channel.basic_publish(message, "", "closed"),
        lambda: channel.publish_unconfirmed(message, "", "closed"),
        lambda: channel.queue_declare("closed", durable=True),
        lambda: channel.exchange_declare("closed", "direct"),
        lambda: channel.basic_ack(1),
        lambda: whole_seconds(channel),
        lambda: read_signs(channel, 60),
    )
    for ask in asked:
        with pytest.raises(amqp.RecoverableConnectionError):
            ask()


def test_a_report_outlives_the_connection(url: str, broker_url: str) -> None:
    """A heartbeat whose timer fires after the connection has ended raises no error."""
    for broker in (url, broker_url):
        app = an_app(broker)
        app.conf[INSTALLATION] = str(UUID(int=1))
        with DurableConnection(broker) as connection:
            channel: Any = connection.channel()
            consumer = Consumer(channel, [Queue("sessions")], on_message=lambda _message: None)
            consumer.consume()
            worker = SimpleNamespace(
                app=app,
                connection=connection,
                hostname="sessions@here",
                task_consumer=consumer,
                timer=Timer(),
            )
            report = Heartbeat(worker)
            report.start(worker)
            connection.collect(socket_timeout=1)
            ((_at, _priority, tick),) = worker.timer.queue
            tick()
            report.stop(worker)


def test_an_events_confirmation_is_not_the_next_messages(rabbitmq: RabbitMQ, connection: Connection) -> None:
    """The confirmation of an event is not taken for that of the next message."""
    producer: Any = connection.Producer()
    Queue("steps")(producer.channel).declare()
    Exchange("celeryev", type="topic")(producer.channel).declare()
    producer.publish("confirmed", exchange="", routing_key="steps")
    producer.publish("event", exchange="celeryev", routing_key="worker.online")
    rabbitmq.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BROKER_ERRORS):
            producer.publish("not there", exchange="", routing_key="steps", retry=False)
    finally:
        rabbitmq.signal(signal.SIGCONT)


def test_queues_and_exchanges_are_taken_as_an_operator_made_them(connection: Connection) -> None:
    with as_stock(connection.as_uri(include_password=True)) as operators:
        limits = {"x-queue-type": "quorum", "x-delivery-limit": 100}
        Queue("given", Exchange("given", type="topic"), routing_key="given", queue_arguments=limits)(
            operators.default_channel
        ).declare()

    ours = Queue("given", Exchange("given"), routing_key="given")(connection.default_channel)
    ours.declare()

    connection.Producer().publish("arrives", exchange="given", routing_key="given")
    message = ours.get()
    assert message is not None
    message.ack()


def test_what_is_missing_is_declared(url: str) -> None:
    with DurableConnection(url) as connection:
        ours = Queue("ours", Exchange("ours"), routing_key="ours")(connection.default_channel)
        ours.declare()
        connection.Producer().publish("arrives", exchange="ours", routing_key="ours")
        assert ours.get(no_ack=True) is not None


def test_the_broker_tells_its_time(url: str) -> None:
    with DurableConnection(url) as connection:
        channel: Any = connection.default_channel
        before = time.time()
        told = [whole_seconds(channel) for _ in range(3)]
        after = time.time()
    # The broker's time is in whole seconds.
    assert int(before) <= min(told) <= max(told) <= after


_NOW = int(time.time())
SPOILT: tuple[Any, ...] = (
    "no sign at all",
    [1, 2],
    7,
    {"field": "worker:a@h", "at": "now", "sign": {}},
    {"field": "worker:b@h", "at": _NOW + 86_400, "sign": {"queues": []}},
    {"field": "worker:c@h", "at": _NOW, "sign": {"queues": "sessions"}},
    {"field": "worker:d@h", "at": _NOW, "sign": {"queues": [], "held": "many"}},
    {"field": "canary:syncs", "at": _NOW, "sign": {"sent_at": [1]}},
    {"field": "worker:e\n@h", "at": _NOW, "sign": {"queues": []}},
    {"field": "horoscope:h", "at": _NOW, "sign": {}},
    {"field": "worker:f@h", "at": _NOW, "sign": "x" * 100_000},
)
"""Messages in the queue of heartbeats that are no heartbeats of ours."""


def test_any_number_of_readers_see_all_signs_of_life(url: str) -> None:
    app = an_app(url)
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for queue in QUEUES:
            Queue(queue)(channel).declare()
        connection.Producer().publish("waits", exchange="", routing_key="sessions")
        signs.beat_sent_canaries(channel)
        signs.canary_came_through(channel, "sessions", "one@host", time.time() - 60)
        signs.worker_is_there(channel, "one@host", {"sessions": QueueUse(1.0, None)}, held=3)
        signs.worker_is_there(channel, "two@host", {"syncs": QueueUse(1.0, 2.0)}, held=4)
        signs.worker_is_gone(channel, "two@host")
        for spoilt in SPOILT:
            connection.Producer().publish(spoilt, exchange="", routing_key="threadsync.signs")

    seen = [heartbeats_of(app), heartbeats_of(app)]

    for found in seen:
        assert found is not None
        assert set(found.workers) == {"one@host"}
        assert found.workers["one@host"].queues["sessions"].ended is None
        assert set(found.canaries) == {"sessions"}
        assert found.beat is not None
        assert found.beat < 10
        assert found.unacknowledged == 3
        assert found.queues["sessions"].messages == 1
        # The message was sent between the canary of a minute ago and the next one.
        assert found.queues["sessions"].oldest_seconds == pytest.approx(55, abs=4)
        assert found.queues["syncs"].messages == 0
        assert found.unreadable == len(SPOILT)
    app.close()


OURS, THEIRS = str(UUID(int=1)), str(UUID(int=2))


def test_the_second_installation_is_refused(rabbitmq: RabbitMQ) -> None:
    """A second installation is refused, as a user with the documented rights, until it takes over."""
    with DurableConnection(rabbitmq.url(user="confined")) as connection:
        assert owner_of(connection) is None
        for _ in range(2):
            claim(connection, OURS)
        with pytest.raises(OthersBroker, match=f"another installation, {OURS}; ours is {THEIRS}"):
            claim(connection, THEIRS)
        assert owner_of(connection) == OURS
        take_over(connection, THEIRS)
        assert owner_of(connection) == THEIRS
        with pytest.raises(OthersBroker, match=THEIRS):
            claim(connection, OURS)
        # The owner's queue is lost, and the next claim writes it again.
        cast(Any, connection.default_channel).queue_delete(KEY)
        claim(connection, OURS)
        assert owner_of(connection) == OURS


def test_of_installations_that_come_at_once_one_gets_the_broker(rabbitmq: RabbitMQ) -> None:
    url, barrier, refused = rabbitmq.url(), threading.Barrier(8), list[OthersBroker]()

    def come(number: int) -> None:
        with DurableConnection(url) as connection:
            connection.connect()
            barrier.wait()
            try:
                claim(connection, str(UUID(int=number)))
            except OthersBroker as exc:
                refused.append(exc)

    threads = [threading.Thread(target=come, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with DurableConnection(url) as connection:
        winner = owner_of(connection)
    assert len(refused) == 7
    assert all(f"another installation, {winner}" in str(exc) for exc in refused)


class Worker:
    """A consumer that takes messages as a worker's main process does."""

    def __init__(self, app: Celery, connection: Connection) -> None:
        self.delays = Delays(app)
        self.connection = connection
        self.kept: list[Any] = []
        queue = app.amqp.queues["sessions"](connection.default_channel)
        queue.declare()
        connection.Consumer([queue], on_message=self.take, accept=["json"]).consume()

    def take(self, message: Any) -> None:
        if not self.delays.put_away(message):
            self.kept.append(message)

    def has(self, count: int) -> bool:
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.1)
        return len(self.kept) >= count


def test_what_is_due_later_waits_in_the_broker(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Short limits, so that the messages go round more than once.
    monkeypatch.setattr("worker.durable.rabbitmq.waiting._LONGEST_SECONDS", 2)
    monkeypatch.setattr("worker.durable.rabbitmq.waiting.LONGEST_IN_MEMORY_SECONDS", 3)
    app = an_app(url)
    stock = Celery(broker=url, set_as_current=False)
    with app.connection_for_read() as connection:
        worker, ours = Worker(app, connection), cast(Any, connection.default_channel)
        # On a busy machine, declaring 28 quorum queues takes longer than the messages below may wait.
        worker.delays._bind(connection, "sessions")
        due = datetime.now(UTC) + timedelta(seconds=8)
        for protocol in (2, 1):
            stock.conf.task_protocol = protocol
            stock.amqp.__dict__.pop("create_task_message", None)
            stock.send_task("any", eta=due, queue="sessions")
        stock.send_task("any", countdown=2, queue="sessions")
        # The message that is due soon stays, and the later ones have left the queue.
        wait_until(lambda: worker.has(1), "the one that is due soon is there")
        sessions = app.amqp.queues["sessions"](connection.channel())
        wait_until(lambda: not worker.has(2) and count(sessions) == 0, "rest")
        assert ours.held == 1

        wait_until(lambda: worker.has(3), "they come when they are due", timeout=30)

        assert datetime.now(UTC) > due - timedelta(seconds=6)
        for message in worker.kept:
            assert message.delivery_info["routing_key"] == "sessions"
            assert not [name for name in message.headers if name.startswith("x-")]
            message.ack()
    app.close()
    stock.close()


def found_by_doctor(url: str) -> dict[str, Finding]:
    settings = load_settings(celery_broker_url=url, celery_result_backend="redis://127.0.0.1:1/0")
    return {finding.check: finding for finding in examine_broker(settings)}


def test_the_doctor_is_content_with_a_healthy_node(url: str) -> None:
    empty = found_by_doctor(url)
    with DurableConnection(url) as connection:
        for queue in QUEUES:
            Queue(queue)(connection.default_channel).declare()

    found = found_by_doctor(url)

    assert {finding.level for finding in (*empty.values(), *found.values())} == {"ok"}
    assert found["broker: queues"].message == f"{url.rpartition('/')[2].rstrip('0123456789')} queues"


def test_the_doctor_sees_what_is_wrong(rabbitmq: RabbitMQ) -> None:
    limited = found_by_doctor(rabbitmq.url_of("classic8", user="limited"))
    assert limited["broker: permissions"].level == "error"
    assert "refused for user 'limited'" in limited["broker: permissions"].message
    assert "vhost" in found_by_doctor(rabbitmq.url_of("no-such-vhost"))["broker: reachable"].fix


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (judge_version("RabbitMQ", "4.1.0"), "ok"),
        (judge_version("RabbitMQ", "3.9.13"), "error"),
        (judge_version("LavinMQ", "2.3.0"), "warning"),
        (judge_room(takes=False), "error"),
        (judge_limit("4.1.0", {"sessions": "quorum"}), "skipped"),
        (judge_limit("4.1.0", {"sessions": "classic"}), "ok"),
        (judge_limit("3.13.7", {"sessions": "quorum"}), "ok"),
        (judge_queues({"sessions": "quorum", "syncs": "classic"}), "warning"),
        (judge_queues({"sessions": "quorum", "syncs": None}), "ok"),
    ],
)
def test_the_doctors_verdicts(finding: Finding, level: str) -> None:
    assert finding.level == level
