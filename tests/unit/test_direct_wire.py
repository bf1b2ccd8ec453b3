"""Redis' protocol as the client writes and reads it."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from threadsync.broker.direct.wire import LONGEST_LINE, Replies, Template, request

SOME: tuple[tuple[bytes, Any], ...] = ((b":12\r\n", 12), (b":-1\r\n", -1), (b"+OK\r\n", "OK"), (b"+\r\n", ""))


@given(st.lists(st.sampled_from(SOME)), st.data())
def test_replies_may_come_in_any_pieces(told: list[tuple[bytes, Any]], data: st.DataObject) -> None:
    """Replies are the same however the bytes are cut."""
    stream = b"".join(text for text, _ in told)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    replies = Replies()
    read = [
        reply
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for reply in replies.feed(stream[start:end])
    ]
    assert read == [value for _, value in told]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"-READONLY You can't write against a read only replica.", redis.ReadOnlyError),
        (b"-OOM command not allowed when used memory > 'maxmemory'.", redis.OutOfMemoryError),
        (b"-LOADING the dataset in memory", redis.BusyLoadingError),
        (b"-ERR anything", redis.ResponseError),
        (b"-\xff", redis.ResponseError),
    ],
)
def test_errors_are_redis_pys(line: bytes, kind: type[Exception]) -> None:
    """An error is of the class that redis-py makes of it, and is returned, not raised."""
    (error,) = Replies().feed(line + b"\r\n")
    assert type(error) is kind


@pytest.mark.parametrize(
    "junk", [b"\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"$3\r\n", b":x\r\n", b":--1\r\n", b":\r\n"]
)
def test_what_is_no_reply_is_refused(junk: bytes) -> None:
    """Bytes of another protocol raise InvalidResponse."""
    with pytest.raises(redis.InvalidResponse):
        Replies().feed(junk)


def test_a_reply_without_an_end_is_refused() -> None:
    replies = Replies()
    assert replies.feed(b"+" + bytes(LONGEST_LINE - 1)) == []
    with pytest.raises(redis.InvalidResponse, match="no end"):
        replies.feed(b"0")


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_a_template_makes_the_request(parts: list[bytes]) -> None:
    """A template filled in equals the request, and redis-py packs the same."""
    kind: Any = redis.Connection
    connection = kind()
    packed = b"".join(connection.pack_command("LPUSH", *parts))
    assert request(b"LPUSH", *parts) == packed
    assert Template(b"LPUSH", *parts[:-1]).request(parts[-1]) == packed
