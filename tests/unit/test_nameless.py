"""The name of a message that has no id."""

from __future__ import annotations

from typing import Any

from kombu.message import Message

from worker.durable.burial import arguments_in
from worker.durable.deliveries import OPENED_AS, envelope_of, nameless


def message(body: Any, headers: Any = None, tag: Any = 1) -> Message:
    """Make a message; RabbitMQ's tags begin with 1 in each connection."""
    return Message(body=body, delivery_tag=tag, headers=headers, content_type="application/json")


def test_it_is_the_same_at_each_delivery_and_another_messages_is_not() -> None:
    """A nameless message has the same name at each delivery, and another message another name."""
    assert nameless(message(b"[1]")) == nameless(message(b"[1]", tag=2))
    assert nameless(message(b"[1]")) != nameless(message(b"[2]"))
    assert nameless(message(b"[1]", {"task": "a"})) != nameless(message(b"[1]", {"task": "b"}))
    assert nameless(message(b"[1]")) == envelope_of(message(b"[1]")).key


def test_one_that_was_opened_after_a_record_has_the_records_key() -> None:
    """A message that a worker opened after a record has the record's key, so both end together."""
    assert nameless(message(b"[1]", {OPENED_AS: "key"})) == "key"


def test_arguments_are_found_in_both_protocols() -> None:
    """Arguments are found in messages of both protocols, and in no other payload."""
    expected = '{"args": [1], "kwargs": {"a": 2}}'
    assert arguments_in([[1], {"a": 2}, None]) == expected
    assert arguments_in({"task": "x", "args": [1], "kwargs": {"a": 2}}) == expected
    assert arguments_in({"task": "x"}) == '{"args": [], "kwargs": {}}'
    none = [{"args": [1]}, {"a": 1, "b": 2, "c": 3}, {"task": "x", "args": "y"}, [[], {}], "abc", None, 7]
    assert [arguments_in(payload) for payload in none] == [None] * len(none)
