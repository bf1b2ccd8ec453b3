"""Table of the parts of a message that Celery may read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed
from kombu.message import Message

from threadsync.errors import CommandFailed
from worker.durable.admission import MOST_NESTED, admit
from worker.durable.json_message import JsonMessage
from worker.durable.raw_message import WAITED

TASKS: Final = frozenset({"sessions.get"})


class _Message(JsonMessage, Message):
    """A message as a transport of ours makes it."""


def made(body: Any, **options: Any) -> _Message:
    """Make a message whose body may be bytes, where kombu's types say text."""
    return _Message(body, **options)


def message(content: Any, headers: Any = None, **parts: Any) -> Any:
    options: dict[str, Any] = {"content_type": "application/json", "content_encoding": "utf-8", **parts}
    return made(json.dumps(content).encode(), headers=headers, **options)


def second(content: Any = None, /, **headers: Any) -> Any:
    """Make a message of protocol 2."""
    content = [[], {}, {}] if content is None else content
    return message(content, {"task": "sessions.get", "id": "a", **headers})


def first(**fields: Any) -> Any:
    """Make a message of protocol 1."""
    return message({"task": "sessions.get", "id": "a", "args": [], "kwargs": {}, **fields})


def admitted(found: Any) -> Any:
    admit(found, TASKS)
    return found


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


def group_of(*tasks: Any) -> Any:
    return {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": list(tasks)}}


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("name", "kept", "left_out"),
    [
        ("root_id", ["r", "é"], [5, {"a": 1}, "", "a\nb", "x" * 256, ["x"], None, "\ud800"]),
        # The sender's own text, which would be shown in place of the task's name.
        ("shadow", [], ["a name", 5, ["x"]]),
        ("group", ["g"], [[1]]),
        ("retries", [0, 7, 2**31 - 1], [-1, 2**31, "1", True, 1.5, [1]]),
        ("group_index", [3], ["3"]),
        ("ignore_result", [True, False], ["true", 1, [1]]),
        ("argsrepr", ["()", ""], [5, "x" * 5000, "a\x1bb"]),
        ("traceparent", ["00-1-2-01"], [5, ["x"]]),
        ("sent_at", [1.5, 0, -1], ["x", float("nan"), float("inf"), True, 10**400, -(2**64)]),
        (
            "threadsync",
            [{"pauses": 3}, {}, {"x": [1]}],
            [
                5,
                [],
                {"pauses": 2**31},
                {"pause": 1e9},
                {"waited": -1},
                {"waited": 10**400},
                {"x": nested(40)},
            ],
        ),
        ("x-of-others", [5, "x", {"y": [None]}, "\ud800", None], [nested(30)]),
        *((name, [], [5, "x", [1, 2, 3], {"a": 1}]) for name in ("timelimit", "stamps", "stamped_headers")),
        *((name, [], [5, "x", [1], {}]) for name in ("update", "headers", "is_eager", "called_directly")),
        *((name, [], [5, "x"]) for name in ("properties", "delivery_info", "args", "chord", "compression")),
    ],
)
def test_what_is_told_is_kept_or_left_out(name: str, kept: list[Any], left_out: list[Any]) -> None:
    """A header that only informs is kept unchanged if it is usable, and left out if not."""
    for value in kept:
        assert admitted(second(**{name: value})).headers[name] == value
    for value in left_out:
        headers = admitted(second(**{name: value})).headers
        assert headers == {"task": "sessions.get", "id": "a"}, value


@pytest.mark.parametrize("identity", [None, 5, "", "x" * 256, ["x"], "a\x00b"])
def test_without_a_usable_id_there_is_none(identity: Any) -> None:
    """A message without a usable id has none; worker/durable/request.py gives it a name."""
    assert admitted(second(id=identity)).headers["id"] is None
    assert admitted(first(id=identity)).payload["id"] is None


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (5, "unpack"),
        ([], "unpack"),
        ([[], {}], "unpack"),
        ([[], {}, {}, {}], "unpack"),
        ([{}, {}, {}], "must be a JSON array"),
        ([[], [], {}], "must be a JSON array"),
        ([[], {}, 5], "what is to follow"),
        ([[], {}, {"callbacks": 5}], "callbacks"),
        ([[], {}, {"callbacks": [5]}], "callbacks"),
        ([[], {}, {"callbacks": [{"task": 5}]}], "callbacks"),
        ([[], {}, {"callbacks": [{"task": "t", "args": 5}]}], "callbacks"),
        ([[], {}, {"callbacks": [{"task": "t", "options": {"queue": [1]}}]}], "callbacks"),
        *(
            ([[], {}, {"callbacks": [{"task": "t", "options": {name: 1}}]}], "callbacks")
            for name in ("timeout", "confirm_timeout", "declare", "retry_policy", "connection")
        ),
        ([[], {}, {"callbacks": [group_of({"task": "t", "options": {"timeout": 1e-9}})]}], "callbacks"),
        ([[], {}, {"errbacks": {"task": "t"}}], "errbacks"),
        ([[], {}, {"chain": "x"}], "chain"),
        ([[], {}, {"chord": []}], "chord"),
        ([[], {}, {"is_eager": True}], "must not say is_eager"),
        ([[], {}, {"id": "b", "called_directly": True}], "must not say called_directly, id"),
        ([[nested(MOST_NESTED)], {}, {}], "nested deeper"),
        ([[], {"x": {"y": nested(900)}}, {}], "nested deeper"),
    ],
)
def test_what_decides_must_be_readable(content: Any, error: str) -> None:
    """A malformed body of protocol 2 is refused."""
    with pytest.raises(CommandFailed, match=error):
        admitted(second(content))


@pytest.mark.parametrize(
    "follows",
    [None, {}, {"callbacks": None}, {"callbacks": []}, {"chain": [{"task": "t", "args": [1], "kwargs": {}}]}],
)
def test_what_follows_stays(follows: Any) -> None:
    """The tasks that follow a task are kept as they are."""
    assert admitted(second([[1], {"a": 2}, follows])).payload == [[1], {"a": 2}, follows]


@pytest.mark.parametrize("make", [second, first])
@pytest.mark.parametrize("name", ["eta", "expires"])
@pytest.mark.parametrize("value", ["soon", 5, [1], {}, True, "2026-02-30T00:00:00", "", "\ud800"])
def test_a_moment_must_be_one(make: Any, name: str, value: Any) -> None:
    with pytest.raises(CommandFailed, match="not a moment"):
        admitted(make(**{name: value}))


@pytest.mark.parametrize("make", [second, first])
def test_an_eta_is_within_a_day(make: Any) -> None:
    """An eta more than a day ahead is refused, and one that has passed is left out."""
    for value in (in_seconds(86_460), "9999-12-31T23:59:59-14:00"):
        with pytest.raises(CommandFailed, match="more than a day"):
            admitted(make(eta=value))
    place = admitted(make(eta=in_seconds(86_300)))
    assert "eta" in (place.headers or place.payload)
    for value in (in_seconds(-1), "0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00"):
        place = admitted(make(eta=value))
        assert "eta" not in (place.headers or place.payload)


def test_what_has_waited_is_not_asked_again() -> None:
    """A message that has waited is admitted again, although a clock that went back makes its eta too far."""
    found = second(eta=in_seconds(90_000))
    found.delivery_info[WAITED] = True
    assert "eta" in admitted(found).headers


def test_what_expires_in_years_does_not_expire() -> None:
    assert "expires" not in admitted(second(expires="9999-12-31T23:59:59-14:00")).headers
    assert "expires" in admitted(second(expires=in_seconds(86_400))).headers
    assert "expires" in admitted(second(expires="0001-01-01T00:00:00+14:00")).headers


@pytest.mark.parametrize(
    "found",
    [
        message(5),
        message([[], {}, {}]),
        message({"args": [], "kwargs": {}}),
        message({"task": 5, "args": [], "kwargs": {}}),
        message([[], {}, {}], {"task": ["sessions.get"]}),
        message([[], {}, {}], {"task": None}),
        message({"task": "sessions.get", "kwargs": {}}, {"task": {}}),
    ],
)
def test_what_names_no_task_is_none(found: Any) -> None:
    with pytest.raises(CommandFailed, match="not a Celery task message"):
        admitted(found)


@pytest.mark.parametrize("name", ["celery.chord_unlock", "celery.map"])
def test_what_has_no_end_is_not_begun(name: str) -> None:
    """Celery's built-in tasks that have no end are refused."""
    for found in (message([[], {}, {}], {"task": name}), message({"task": name, "args": []})):
        with pytest.raises(CommandFailed, match="is not run here"):
            admit(found, {name})


def test_an_unknown_task_is_not_parsed() -> None:
    found = made(b"no JSON", headers={"task": "of.tomorrow"}, content_type="application/json")
    with pytest.raises(CommandFailed, match="no task of this name"):
        admitted(found)


@pytest.mark.parametrize(
    "kind", ["application/text", "application/data", "text/plain", 5, None, ["x"], "\x00"]
)
def test_content_is_json_or_not_read(kind: Any) -> None:
    """Content that is not JSON is refused, also where kombu has a codec of Python's for it."""
    with pytest.raises(ContentDisallowed, match="not application/json"):
        admitted(second_of(kind))


def second_of(kind: Any) -> Any:
    return message([[], {}, {}], {"task": "sessions.get"}, content_type=kind, content_encoding="bz2")


def test_content_of_too_many_parts_is_not_parsed() -> None:
    """Content of too many parts is not parsed, because Celery would also make a text of all of it."""
    with pytest.raises(ContentDisallowed, match="more than 300000 parts"):
        admitted(second([[], {"x": [1] * 300_002}, {}]))


def test_of_protocol_1_nothing_stays_that_is_not_known() -> None:
    """Unknown fields of protocol 1, which would become attributes of the request, are left out."""
    found = first(
        timelimit=[1, 2, 3], retries="x", taskset=[1], headers=5, update=1, utc="x", shadow="s", root_id="r"
    )
    assert admitted(found).payload == {
        **{"task": "sessions.get", "id": "a", "args": [], "kwargs": {}},
        "root_id": "r",
    }
    body = {"args": [1], "kwargs": {}, "timelimit": 5, "eta": None, "expires": None, "x": 1}
    both = admitted(message(body, {"task": "sessions.get", "id": "a", "stamps": 5}))
    assert (both.payload, both.headers) == (
        {"args": [1], "kwargs": {}},
        {"task": "sessions.get", "id": "a"},
    )


def test_of_properties_few_stay() -> None:
    properties = {
        **{"correlation_id": "c", "reply_to": ["x"], "priority": 7, "content_type": "application/json"},
        **{"user_id": "ann", "expiration": "1", "x": 1, "application_headers": {"a": 1}},
    }
    found = message([[], {}, {}], {"task": "sessions.get"}, properties=properties)
    assert admitted(found).properties == {
        "correlation_id": "c",
        "priority": 7,
        "content_type": "application/json",
    }
    for priority in (-1, 256, "high", True, [1]):
        found = message([[], {}, {}], {"task": "sessions.get"}, properties={"priority": priority})
        assert admitted(found).properties == {}


_ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_NAMES: Final = st.sampled_from(
    [
        "task",
        "id",
        "eta",
        "expires",
        "retries",
        "args",
        "kwargs",
        "callbacks",
        "chord",
        "threadsync",
        "headers",
    ]
)


@given(content=_ANYTHING, headers=st.dictionaries(_NAMES | st.text(), _ANYTHING, max_size=6))
def test_whatever_it_is_it_is_admitted_or_refused(content: Any, headers: dict[str, Any]) -> None:
    """Any message is admitted or refused without another error, and admission is idempotent."""
    found = message(content, headers)
    try:
        admit(found, TASKS)
    except (CommandFailed, ContentDisallowed):
        return
    before = (dict(found.headers), found.payload, dict(found.properties))
    admit(found, TASKS)
    assert repr((dict(found.headers), found.payload, dict(found.properties))) == repr(before)


@given(fields=st.dictionaries(_NAMES, _ANYTHING, max_size=6))
def test_of_protocol_1_too(fields: dict[str, Any]) -> None:
    """Any message of protocol 1 is admitted or refused without another error."""
    found = message({"task": "sessions.get", "args": [], "kwargs": {}, **fields})
    try:
        admit(found, TASKS)
    except CommandFailed:
        return
    assert isinstance(found.payload["kwargs"], dict)
