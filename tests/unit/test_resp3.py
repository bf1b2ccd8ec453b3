"""The reader of RESP3 replies (threadsync/broker/subscription/resp3.py), whose bytes come in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.resp3 import bulk, confirmation, message
from threadsync.broker.subscription.resp3 import ProtocolError, Push, Reader, Refusal, Reply, Value

MOST = 40


TEXTS = st.binary(max_size=MOST)
REPLIES = st.one_of(
    st.builds(lambda text: (Value(text), bulk(text)), TEXTS),
    st.just((Value(None), b"$-1\r\n")),
    st.just((Value(None), b"_\r\n")),
    st.just((Refusal("ERR it is not so"), b"-ERR it is not so\r\n")),
    # A payload may be longer than anything that is kept.
    st.builds(
        lambda channel, payload: (Push(b"message", channel), message(channel, payload)),
        TEXTS,
        st.binary(max_size=4 * MOST),
    ),
    st.builds(
        lambda kind, channel, count: (Push(kind, channel), confirmation(kind, channel, count)),
        st.sampled_from([b"subscribe", b"unsubscribe"]),
        TEXTS,
        st.integers(0, 1_000),
    ),
)


@given(st.lists(REPLIES, max_size=8), st.lists(st.integers(1, 60), max_size=60))
def test_replies_are_the_same_in_whatever_pieces_they_come(
    replies: list[tuple[Reply, bytes]], sizes: list[int]
) -> None:
    """Each reply is read once and in order, wherever the bytes are cut."""
    data = b"".join(encoded for _, encoded in replies)
    reader = Reader(MOST)
    read: list[Reply] = []
    for size in sizes:
        read += reader.feed(data[:size])
        data = data[size:]
    read += reader.feed(data)
    assert read == [reply for reply, _ in replies]


def test_a_message_is_told_before_its_payload_has_come() -> None:
    """A message's payload is neither waited for nor kept."""
    reader = Reader(MOST)
    beginning = b">3\r\n" + bulk(b"message") + bulk(b"channel") + b"$1000000\r\n"
    assert reader.feed(beginning) == [Push(b"message", b"channel")]
    for _ in range(10):
        assert reader.feed(bytes(100_000)) == []
        assert len(reader._buffer) == 0
    assert reader.feed(b"\r\n" + bulk(b"next")) == [Value(b"next")]


@pytest.mark.parametrize(
    "data",
    [b"*1\r\n", b"%1\r\n", b"$41\r\n", b"$x\r\n", b">2\r\n", b"x" * 70_000, b"$" + b"1" * 70_000, b"\r\n"],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no reply of these, or a longer one than asked for, end the connection."""
    with pytest.raises(ProtocolError):
        Reader(MOST).feed(data)
