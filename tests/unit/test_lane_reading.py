"""The fast lane reads plain messages alone; each other kind takes the ordinary road."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.durable.lane.reading import read_plain

TASK_ID = "5f0f6c1e-3c0f-4d44-8b7e-0d9b5c3c1f00"
KWARGS = {"channel_id": "C1", "thread_ts": "1700000000.000100", "user_id": "U1"}
NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def body(args: Any = (), kwargs: Any = None, **embed: Any) -> str:
    """Return a body of Celery's protocol 2, as kombu writes it."""
    parts = [list(args), KWARGS if kwargs is None else kwargs, {**NOTHING_FOLLOWS, **embed}]
    return b64encode(json.dumps(parts).encode()).decode()


def message() -> dict[str, Any]:
    """Return a plain message, as a stock Celery client sends it."""
    return {
        "body": body(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "sessions.get_or_create",
            "id": TASK_ID,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": TASK_ID,
            "parent_id": None,
            "argsrepr": "()",
            "kwargsrepr": "{'channel_id': 'C1'}",
            "origin": "gen1@host",
            "ignore_result": False,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": TASK_ID,
            "reply_to": "7a1f",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "sessions"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "c9e1",
        },
    }


def header(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda message: message["headers"].update({name: value})


def part(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda message: message.update({name: value})


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda message: message["headers"].pop(name)


NEST: Any = []
for _ in range(250):
    NEST = [NEST]

MISFITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "eta": header("eta", "2026-11-29T12:00:00+00:00"),
    "expires": header("expires", "2026-11-29T12:00:00+00:00"),
    "retries": header("retries", 1),
    "group": header("group", "g1"),
    "shadow": header("shadow", "other"),
    "a parent": header("parent_id", "p1"),
    "another root": header("root_id", "r1"),
    "time limits": header("timelimit", [10, None]),
    "stamps": header("stamps", {"a": "b"}),
    "stamped headers": header("stamped_headers", ["a"]),
    "compressed": header("compression", "application/x-gzip"),
    "a history of pauses": header("threadsync", {"pauses": 1}),
    "redelivered, in a header": header("redelivered", True),
    "redelivered, by a stock worker": lambda message: message["properties"]["delivery_info"].update(
        redelivered=True
    ),
    "a header of other software": header("x-tenant", "a"),
    "an opened suspect": header("opened_as", "a"),
    "an id that is no text": header("id", 7),
    "an empty id": header("id", ""),
    "a name that is no text": header("task", ["sessions.get_or_create"]),
    "no id": without("id"),
    "no name": without("task"),
    "a moment that is none": header("sent_at", "now"),
    "a moment that never is": header("sent_at", float("nan")),
    "an answer to ignore that is no yes or no": header("ignore_result", "yes"),
    "headers that are none": part("headers", None),
    "pickled": part("content-type", "application/x-python-serialize"),
    "text": part("content-type", "application/text"),
    "a body that is no base64": part("body", "[[], {}, {}]"),
    "a body that is no JSON": part("body", b64encode(b"\xff{").decode()),
    "protocol 1": part("body", b64encode(json.dumps({"task": "a", "id": "b", "args": []}).encode()).decode()),
    "two parts": part("body", b64encode(b"[[], {}]").decode()),
    "positional arguments": part("body", body(args=["C1"])),
    "keyword arguments that are none": part("body", body(kwargs=[1])),
    "a callback": part("body", body(callbacks=[{"task": "sessions.get"}])),
    "an error's callback": part("body", body(errbacks=[{"task": "sessions.get"}])),
    "a chain": part("body", body(chain=[{"task": "sessions.get"}])),
    "a chord": part("body", body(chord={"task": "sessions.get"})),
    "another follower": part("body", body(parent_id=None)),
    "deeply nested": part("body", body(kwargs={**KWARGS, "more": NEST})),
    "a date of kombu's": part(
        "body", body(kwargs={**KWARGS, "thread_ts": {"__type__": "uuid", "__value__": "a"}})
    ),
}


def test_a_plain_message_is_read() -> None:
    """A stock client's message is read in parts."""
    plain = read_plain(json.dumps(message()).encode())
    assert plain is not None
    assert (plain.task_id, plain.name, plain.kwargs) == (TASK_ID, "sessions.get_or_create", KWARGS)
    assert plain.is_answered


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sent_at", 1764400000.5),
        ("traceparent", "00-1-2-01"),
        ("ignore_result", True),
        ("stamped_headers", []),
    ],
)
def test_what_means_nothing_here_is_plain(name: str, value: Any) -> None:
    """A message stays plain with what our clients add, and with what other releases of Celery write."""
    changed = message()
    changed["headers"][name] = value
    assert read_plain(json.dumps(changed).encode()) is not None


def test_headers_that_an_older_celery_leaves_out_are_not_missed() -> None:
    """A message without the newer headers is plain."""
    changed = message()
    for name in ("replaced_task_nesting", "stamped_headers", "stamps", "ignore_result", "group_index"):
        del changed["headers"][name]
    plain = read_plain(json.dumps(changed).encode())
    assert plain is not None
    assert plain.is_answered


def test_a_result_that_is_to_be_ignored_is_not_stored() -> None:
    """The sender says that no result is wanted."""
    changed = message()
    changed["headers"]["ignore_result"] = True
    plain = read_plain(json.dumps(changed).encode())
    assert plain is not None
    assert not plain.is_answered


@pytest.mark.parametrize("kind", MISFITS)
def test_a_misfit_is_left_over(kind: str) -> None:
    """A message that is not plain is left to the ordinary road, whatever is special about it."""
    changed = deepcopy(message())
    MISFITS[kind](changed)
    assert read_plain(json.dumps(changed).encode()) is None


@pytest.mark.parametrize("around", ["{}{}", "{}x", "\ufeff{}"])
def test_what_is_no_json_is_left_over(around: str) -> None:
    """The ordinary road refuses what is no JSON, and knows of other encodings."""
    raw = around.replace("{}", json.dumps(message()))
    assert read_plain(raw.encode()) is None
    assert read_plain(json.dumps(message()).encode("utf-16")) is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES, st.booleans())
@example("half of a pair: \ud83d", True)
@example(["\u2028", "\x00", "é", 10**40, 1e308, -0.0, 5e-324, 0.1 + 0.2], False)
def test_arguments_are_read_as_python_reads_json(value: Any, is_ascii: bool) -> None:
    """Each value comes as on the ordinary road, or its message is left to that road."""
    parts = json.dumps([[], {"value": value, "\xe9": value}, NOTHING_FOLLOWS], ensure_ascii=is_ascii)
    changed = {**message(), "body": b64encode(parts.encode(errors="surrogatepass")).decode()}
    plain = read_plain(json.dumps(changed).encode())
    read = json.loads(parts)[1]
    assert plain is None or (plain.kwargs == read and repr(plain.kwargs) == repr(read))


@pytest.mark.parametrize("value", ["{", "a" * 10_000, 2**70, 0.1, [1, None], {"a": {"b": "ü€😀"}}])
def test_ordinary_arguments_are_left_to_no_other_road(value: Any) -> None:
    """The property above is not true for want of messages that are read."""
    plain = read_plain(json.dumps({**message(), "body": body(kwargs={"value": value})}).encode())
    assert plain is not None
    assert plain.kwargs == {"value": value}


@pytest.mark.parametrize("twice", ['{"a": 1, "a": 2}', '{"a": {"b": 1}, "a": {}}'])
def test_of_a_name_that_is_there_twice_the_last_counts(twice: str) -> None:
    """Both parsers of JSON agree, and so do the roads."""
    parts = f"[[], {twice}, {json.dumps(NOTHING_FOLLOWS)}]"
    plain = read_plain(json.dumps({**message(), "body": b64encode(parts.encode()).decode()}).encode())
    assert plain is not None
    assert plain.kwargs == json.loads(twice)


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"7", b"\xff", b"[" * 10_000])
def test_junk_is_left_over(raw: bytes) -> None:
    """Bytes that are no message at all are left over, and raise nothing."""
    assert read_plain(raw) is None
