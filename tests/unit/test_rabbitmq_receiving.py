"""Reading of RabbitMQ's frames into messages, also of damaged and of too large ones."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from struct import pack
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp import spec
from amqp.exceptions import UnexpectedFrame

from worker.durable.deliveries import KEPT_BYTES, LARGEST_SUSPECT, nameless
from worker.durable.rabbitmq.receiving import Arriving, frame_handler

_PART = 131_064


def received(body: bytes, *, redelivered: bool = False, damage: bytes = b"", **headers: Any) -> Arriving:
    """Return the message that the frames of a delivery make."""
    done: list[Arriving] = []
    connection = SimpleNamespace(bytes_recv=0)
    handle = frame_handler(connection, lambda *said: done.append(said[-1]))
    method = pack(">HH", *spec.Basic.Deliver) + b"\x03tag" + pack(">Q", 7) + bytes([redelivered]) + b"\0\0"
    made: Any = amqp.Message(application_headers=headers)
    properties = made._serialize_properties()
    if damage:
        properties = properties[: -len(damage)] + damage
    assert not handle((1, 1, method))
    is_all = handle((2, 1, pack(">HxxQ", 60, len(body)) + properties))
    # One after the other, as they come.
    for start in range(0, len(body), _PART):
        assert not is_all
        is_all = handle((3, 1, body[start : start + _PART]))
    assert is_all
    assert connection.bytes_recv == 2 + -(-len(body) // _PART)
    (message,) = done
    return message


@pytest.mark.parametrize("size", [0, 1, _PART, _PART + 1, 3 * _PART])
def test_all_of_it_is_there(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    message = received(body, id="one", task="some.task")
    assert (message.body or b"", message.missing) == (body, 0)
    assert message.headers == {"id": "one", "task": "some.task"}


def test_a_suspect_larger_than_any_command_comes_without_its_content() -> None:
    """A redelivered message that is too large comes without its content, under the name of the whole one."""
    body = b"x" * (LARGEST_SUSPECT + 1)
    counted: Any = {"x-delivery-count": 2}
    for message in (received(body, redelivered=True), received(body, **counted)):
        assert message.body == body[:KEPT_BYTES]
        assert message.missing == len(body) - KEPT_BYTES
        whole: Any = amqp.Message(body)
        assert message.content_name == nameless(whole)
    for whole in (received(body), received(body[1:], redelivered=True)):
        assert (len(whole.body), whole.missing) == (whole.body_size, 0)


def test_properties_that_cannot_be_read_are_none() -> None:
    """Properties that cannot be read are empty, and the message's body is still there."""
    for kind, value in ((b"T", 2**62), (b"?", 1)):
        message = received(b"junk", damage=kind + pack(">Q", value), when=datetime(2026, 1, 1, tzinfo=UTC))
        assert (message.properties, message.body) == ({}, b"junk")


def test_what_stands_within_a_message_is_an_error() -> None:
    handle = frame_handler(SimpleNamespace(bytes_recv=0), lambda *_: None)
    handle((1, 1, pack(">HH", *spec.Basic.Deliver)))
    with pytest.raises(UnexpectedFrame):
        handle((3, 1, b"a part"))


_SMALL: str = """
import resource
from pathlib import Path
from tests.unit.test_rabbitmq_receiving import received
from worker.durable.deliveries import KEPT_BYTES

body = b"x" * (32 * 1024 * 1024)
received(body[:-1])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 16 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
message = received(body)
assert message.body == body[:KEPT_BYTES], len(message.body)
assert message.missing == len(body) - KEPT_BYTES
"""


def test_what_does_not_fit_into_memory_comes_without_its_content() -> None:
    done = subprocess.run([sys.executable, "-c", _SMALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
