"""Who waits for which result (threadsync/broker/subscription/waiters.py), against a model of a server.

The model has one connection: it carries commands out in order, and a result that is
stored is published. Hypothesis chooses when something happens, and when bytes move.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.resp3 import bulk, confirmation, message
from threadsync.broker.subscription.resp3 import ProtocolError
from threadsync.broker.subscription.waiters import MOST_BYTES, Elsewhere, News, Waiters

KEYS = [b"a", b"b", b"c"]


class Waiting:
    """Whoever waits, with the news so far."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.news: list[News] = []

    def tell(self, news: News) -> None:
        self.news.append(news)


class Server:
    """What a Valkey does with the commands of one subscriber."""

    def __init__(self, stored: dict[bytes, bytes]) -> None:
        self.stored = stored
        self.subscribed: set[bytes] = set()
        self.replies = bytearray()

    def carry_out(self, data: bytes) -> list[tuple[bytes, ...]]:
        commands = list(parsed(data))
        for name, key, *_ in commands:
            if name == b"GETRANGE":
                self.replies += bulk(self.stored.get(key, b""))
                continue
            self.subscribed = self.subscribed | {key} if name == b"SUBSCRIBE" else self.subscribed - {key}
            self.replies += confirmation(name.lower(), key, len(self.subscribed))
        return commands

    def store(self, key: bytes, value: bytes, *, is_published: bool = True) -> None:
        self.stored[key] = value
        if is_published and key in self.subscribed:
            self.replies += message(key, value)


def parsed(data: bytes) -> Any:
    """Yield the commands in these bytes."""
    while data:
        head, _, data = data.partition(b"\r\n")
        command = []
        for _ in range(int(head[1:])):
            size, _, data = data.partition(b"\r\n")
            length = int(size[1:])
            command.append(data[:length])
            data = data[length + 2 :]
        yield tuple(command)


class Histories(RuleBasedStateMachine):
    """Any order of waiters, results, lost connections and delays."""

    def __init__(self) -> None:
        super().__init__()
        self.waiters = Waiters()
        self.server: Server | None = None
        self.stored: dict[bytes, bytes] = {}
        self.waiting: list[Waiting] = []

    @rule(key=st.sampled_from(KEYS))
    def join(self, key: bytes) -> None:
        waiter = Waiting(key)
        self.waiting.append(waiter)
        self.waiters.enter(key, waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(waiter)
        self.waiters.leave(waiter.key, waiter)

    @rule(key=st.sampled_from(KEYS), value=st.binary(min_size=1, max_size=5))
    def store(self, key: bytes, value: bytes) -> None:
        self.stored[key] = value
        if self.server is not None:
            self.server.store(key, value)

    @precondition(lambda self: self.server is None)
    @rule()
    def connect(self) -> None:
        self.server = Server(self.stored)
        self.waiters.connected()

    @precondition(lambda self: self.server is not None)
    @rule()
    def lose(self) -> None:
        self.server = None
        self.waiters.disconnected()

    @precondition(lambda self: self.server is not None)
    @rule(share=st.floats(0, 1))
    def receive(self, share: float) -> None:
        """Bring the server's next bytes."""
        assert self.server is not None
        size = round(len(self.server.replies) * share)
        data, self.server.replies[:size] = bytes(self.server.replies[:size]), b""
        self.waiters.received(data)

    @precondition(lambda self: self.server is not None)
    @rule()
    def send(self) -> None:
        """Bring the server what is to be sent."""
        assert self.server is not None
        data, self.waiters.out[:] = bytes(self.waiters.out), b""
        self.server.carry_out(data)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def stay(self, data: st.DataObject) -> None:
        """Wait on after news, as for a result that is to change."""
        waiter = data.draw(st.sampled_from(self.waiting))
        if waiter.news:
            self.waiters.stay(waiter.key)

    @invariant()
    def nothing_is_kept_of_those_who_left(self) -> None:
        assert set(self.waiters._keys) == {waiter.key for waiter in self.waiting}

    def teardown(self) -> None:
        """In the end all bytes arrive: whoever waits on knows what is stored, and hears what will be."""
        if self.server is None:
            self.connect()
        self.settle()
        for waiter in self.waiting:
            if waiter.news:
                self.waiters.stay(waiter.key)
        self.settle()
        for waiter in self.waiting:
            stored = self.stored.get(waiter.key)
            assert waiter.news[-1:] == ([] if stored is None else [stored])
        # Also of what is stored from now on.
        for key in KEYS:
            if any(waiter.key == key and not waiter.news for waiter in self.waiting):
                self.store(key, b"late")
        self.settle()
        assert all(waiter.news for waiter in self.waiting)
        for waiter in list(self.waiting):
            self.waiting.remove(waiter)
            self.waiters.leave(waiter.key, waiter)
        self.settle()
        assert self.server is not None
        assert self.server.subscribed == set()
        assert not self.waiters.is_owed

    def settle(self) -> None:
        assert self.server is not None
        while self.waiters.out or self.server.replies:
            self.send()
            self.receive(1.0)


Histories.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase


@pytest.fixture
def connected() -> Waiters:
    waiters = Waiters()
    waiters.connected()
    return waiters


def asked(waiters: Waiters) -> list[bytes]:
    """Return the names of the commands that are to be sent, as if they were."""
    names = [command[0] for command in parsed(bytes(waiters.out))]
    waiters.out.clear()
    return names


def test_a_result_that_is_there_takes_one_look(connected: Waiters) -> None:
    """A result that is there costs one GETRANGE, and no subscription."""
    waiter = Waiting(b"a")
    connected.enter(b"a", waiter)
    connected.received(bulk(b"there"))
    connected.leave(b"a", waiter)
    assert waiter.news == [b"there"]
    assert asked(connected) == [b"GETRANGE"]


def test_a_subscription_comes_before_the_look_that_counts(connected: Waiters) -> None:
    """A result that is not there is subscribed to, looked for once more, and once at each message."""
    waiter = Waiting(b"a")
    connected.enter(b"a", waiter)
    connected.received(bulk(b""))
    assert asked(connected) == [b"GETRANGE", b"SUBSCRIBE", b"GETRANGE"]
    connected.received(confirmation(b"subscribe", b"a", 1) + bulk(b"") + message(b"a", b"forged"))
    assert asked(connected) == [b"GETRANGE"]
    connected.received(bulk(b"stored"))
    assert waiter.news == [b"stored"]
    connected.leave(b"a", waiter)
    assert asked(connected) == [b"UNSUBSCRIBE"]


def test_a_long_result_is_to_be_read_elsewhere(connected: Waiters) -> None:
    """A result above the limit is not read on the subscriber's connection."""
    waiter = Waiting(b"a")
    connected.enter(b"a", waiter)
    connected.received(bulk(bytes(MOST_BYTES + 1)))
    assert waiter.news == [Elsewhere.BY_ITSELF]


@pytest.mark.parametrize("at", ["the first look", "the subscription"])
def test_a_refusal_is_told_to_all(connected: Waiters, at: str) -> None:
    """Without the right to subscribe or to read all are told to poll, and nothing more is asked."""
    waiters = [Waiting(b"a"), Waiting(b"b")]
    for waiter in waiters:
        connected.enter(waiter.key, waiter)
    refusal = b"-NOPERM User web has no permissions to run the 'subscribe' command\r\n"
    connected.received(refusal if at == "the first look" else bulk(b"") * 2 + refusal)
    assert [waiter.news for waiter in waiters] == [[Elsewhere.BY_POLLING]] * 2
    assert connected.refused
    asked(connected)
    connected.look_again(b"a")
    assert asked(connected) == []


def test_a_server_that_is_held_up_refuses_nothing_for_good(connected: Waiters) -> None:
    """A subscription that a busy server does not take is tried again, on another connection."""
    waiter = Waiting(b"a")
    connected.enter(b"a", waiter)
    with pytest.raises(ProtocolError):
        connected.received(bulk(b"") + b"-BUSY Redis is busy running a script\r\n")
    assert connected.refused is None
    assert asked(connected)
    connected.connected()
    assert asked(connected) == [b"SUBSCRIBE", b"GETRANGE"]


def test_an_error_of_a_look_is_one_waiters_own(connected: Waiters) -> None:
    """A key of another type sends its waiter alone to the ordinary road."""
    first, second = Waiting(b"a"), Waiting(b"b")
    connected.enter(b"a", first)
    connected.enter(b"b", second)
    connected.received(b"-WRONGTYPE Operation against a key\r\n" + bulk(b"there"))
    assert (first.news, second.news) == ([Elsewhere.BY_ITSELF], [b"there"])


@pytest.mark.parametrize(
    "data",
    [bulk(b"x"), b"-ERR x\r\n", confirmation(b"subscribe", b"a", 1)],
)
def test_replies_that_were_not_asked_for_end_the_connection(connected: Waiters, data: bytes) -> None:
    """A reply without its command is a protocol error."""
    with pytest.raises(ProtocolError):
        connected.received(data)
