"""Heartbeats on RabbitMQ: a stream that any number of readers read without removing anything.

Each is a message in the stream ``threadsync.signs``: the field of ``threadsync.liveness.heartbeats``, what it
says, and the broker's time when it was written. The newest of a field counts. A reader looks at the
last ten minutes, up to a mark that it writes itself, so that it knows the end.

AMQP tells neither what is unacknowledged nor how old a message is. So workers say what they hold, and the age
is reckoned by canaries (ADR 11).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import amqp
from amqp.exceptions import NotFound

from threadsync.broker.rabbitmq import ConfirmingChannel
from threadsync.broker.rabbitmq_clock import whole_seconds
from threadsync.liveness.fields import LONGEST_HEARTBEAT, is_number, read_fields

STREAM: Final = "threadsync.signs"

WINDOW_SECONDS: Final = 600
"""The age of the oldest heartbeats that a reader looks at."""

_KEPT: Final = "1h"
_SEGMENT_BYTES: Final = 500_000
_AT_ONCE: Final = 200
_PATIENCE_SECONDS: Final = 2.0
_MARK: Final = "mark"

Heartbeat = dict[str, Any]
"""A heartbeat: ``at`` is its time at the broker, ``since`` the time since when its field had no pause."""


def tell(channel: ConfirmingChannel, field: str, heartbeat: Mapping[str, Any] | None) -> float:
    """Write a heartbeat, or None to remove it. Return the broker's time in whole seconds."""
    _declare_stream(channel)
    now = whole_seconds(channel)
    _write(channel, {"field": field, "at": now, "sign": heartbeat})
    return now


def read(channel: ConfirmingChannel, unbroken_seconds: float) -> tuple[float, dict[str, Heartbeat], int]:
    """Return the broker's time, each field's newest heartbeat, and the number of invalid entries.

    Args:
        unbroken_seconds: after a longer pause between two heartbeats of a field, ``since`` begins again.
    """
    _declare_stream(channel)
    now = whole_seconds(channel)
    found: dict[str, Heartbeat] = {}
    entries, spoilt = _entries(channel, now)
    for entry in entries:
        _take(found, entry, unbroken_seconds)
    return now, found, spoilt


def messages_in(channel: ConfirmingChannel, queue: str) -> int:
    """Return the number of messages that no worker has taken; 0 where there is no such queue yet."""
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except NotFound:
        return 0


def _take(found: dict[str, Heartbeat], entry: Mapping[str, Any], unbroken_seconds: float) -> None:
    field, at, heartbeat = entry["field"], entry["at"], entry["sign"]
    before = found.pop(field, None)
    if heartbeat is None:
        return
    goes_on = (
        before is not None
        and at - before["at"] < unbroken_seconds
        and before.get("database") == heartbeat.get("database")
    )
    found[field] = {**heartbeat, "at": at, "since": before["since"] if goes_on and before else at}


def _entries(channel: ConfirmingChannel, now: float) -> tuple[list[dict[str, Any]], int]:
    """Return the entries up to a mark that is written now, oldest first, and the number of invalid ones."""
    mark = uuid4().hex
    _write(channel, {_MARK: mark})
    entries: list[dict[str, Any]] = []
    reader = channel.opened.channel()
    is_read, spoilt = False, 0

    def take(message: Any) -> None:
        nonlocal is_read, spoilt
        entry = _parsed(message.body)
        if entry is not None and _MARK in entry:
            is_read = is_read or entry[_MARK] == mark
        elif entry is not None and _is_heartbeat(entry, now):
            entries.append(entry)
        else:
            spoilt += 1
        if message.delivery_tag % (_AT_ONCE // 2) == 0:
            reader.basic_ack(message.delivery_tag, multiple=True)

    try:
        reader.basic_qos(0, _AT_ONCE, False)
        begin = datetime.fromtimestamp(now - WINDOW_SECONDS, UTC)
        reader.basic_consume(STREAM, callback=take, arguments={"x-stream-offset": begin})
        deadline = monotonic() + _PATIENCE_SECONDS
        while not is_read:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError("the heartbeats could not be read in time")
            channel.opened.drain_events(timeout=left)
    finally:
        if reader.is_open:
            reader.close()
    # A stream is read from the beginning of a chunk.
    return [entry for entry in entries if entry["at"] > now - WINDOW_SECONDS], spoilt


def _parsed(body: Any) -> dict[str, Any] | None:
    try:
        entry = json.loads(body) if len(body) <= LONGEST_HEARTBEAT else None
    except (ValueError, TypeError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _is_heartbeat(entry: Mapping[str, Any], now: float) -> bool:
    """Return True for a valid entry: any program may write to the stream."""
    field, at, heartbeat = entry.get("field"), entry.get("at"), entry.get("sign")
    if not isinstance(field, str) or not is_number(at) or not isinstance(heartbeat, dict | None):
        return False
    # An entry that removes a heartbeat has no further fields.
    return heartbeat is None or not read_fields(now, [(field, {**heartbeat, "at": at, "since": at})])[1]


def _write(channel: ConfirmingChannel, entry: Mapping[str, Any]) -> None:
    channel.publish_unconfirmed(amqp.Message(json.dumps(entry), delivery_mode=1), "", STREAM)


def _declare_stream(channel: ConfirmingChannel) -> None:
    arguments = {
        "x-queue-type": "stream",
        "x-max-age": _KEPT,
        "x-stream-max-segment-size-bytes": _SEGMENT_BYTES,
    }
    channel.queue_declare(STREAM, durable=True, auto_delete=False, arguments=arguments)
