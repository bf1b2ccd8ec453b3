"""Replies of Valkey and Redis in RESP3, as bytes."""

from __future__ import annotations


def bulk(text: bytes) -> bytes:
    """Return a string."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def message(channel: bytes, payload: bytes) -> bytes:
    """Return a message that was published."""
    return b">3\r\n" + bulk(b"message") + bulk(channel) + bulk(payload)


def confirmation(kind: bytes, channel: bytes, count: int) -> bytes:
    """Return the confirmation of a subscription, or of its end."""
    return b">3\r\n" + bulk(kind) + bulk(channel) + b":%d\r\n" % count
