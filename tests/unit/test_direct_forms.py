"""The texts of messages and events that the client fills in: equal to what kombu and json write."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection, Exchange, Queue
from kombu.utils.json import dumps

from threadsync import GetOrCreate, MergeContext, RequestSync, UpdateStatus
from threadsync.broker.clocks import SENT_AT
from threadsync.broker.direct.forms import Forms
from threadsync.broker.messages import EVENTS, NO_CALLBACKS, PERSISTENT, SENT, TRANSIENT, event_of, headers_of
from threadsync.command import Command
from threadsync.syncs import Draft
from worker.durable.lane.reading import read_plain

THREAD: Final[Mapping[str, Any]] = {"channel_id": "C0123ABC", "thread_ts": "1700000000.000100"}
ODD: Final = st.text(min_size=1, max_size=40)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=8,
)


def _without_nul(text: str) -> str:
    return text.replace("\0", "").strip() or "a"


COMMANDS: Final = st.one_of(
    st.just(GetOrCreate(**THREAD, user_id="U1")),
    st.just(UpdateStatus(**THREAD, status="ready_to_sync")),
    st.builds(
        lambda text: RequestSync(
            **THREAD, draft=Draft(summary=_without_nul(text)), drafted_at=THREAD["thread_ts"]
        ),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40),
    ),
    st.builds(
        lambda patch: MergeContext(channel_id="C1", patch=patch, command_id="0" * 32),
        st.dictionaries(st.text("abc%s<>\"'\\é€😀", min_size=1, max_size=8), st.integers(-9, 9), max_size=4),
    ),
)


def by_kombu(body: Any, headers: Mapping[str, Any], **properties: Any) -> dict[str, Any]:
    """Return the message that kombu's virtual transports, of which Redis' is one, put into a queue."""
    with Connection("memory://") as connection:
        channel: Any = connection.default_channel
        queue = Queue("there", Exchange("there", type="direct"), routing_key="there", auto_delete=True)
        connection.Producer(channel).publish(
            body, routing_key="there", declare=[queue], serializer="json", headers=dict(headers), **properties
        )
        message: dict[str, Any] = channel._get("there")
        channel._purge("there")
    return message


def placed(message: dict[str, Any], exchange: str, routing_key: str, tag: str) -> str:
    """Return kombu's text of the message with another address and tag."""
    message["properties"]["delivery_info"] = {"exchange": exchange, "routing_key": routing_key}
    message["properties"]["delivery_tag"] = tag
    text: str = dumps(message)
    return text


@given(COMMANDS, ODD)
def test_forms_are_filled_as_kombu_and_json_write(command: Command[Any], task_id: str) -> None:
    """A message and its event equal those of kombu to the last byte, whatever stands in them."""
    ours, event = Forms().filled(command.name, command.queue, command.arguments(), task_id, command.summary())
    read, told = json.loads(ours), json.loads(event)
    headers = headers_of(command.name, task_id, command.summary(), read["headers"][SENT_AT])
    message = by_kombu(
        ((), command.arguments(), NO_CALLBACKS),
        headers,
        delivery_mode=PERSISTENT,
        correlation_id=task_id,
        reply_to=read["properties"]["reply_to"],
    )
    tag = read["properties"]["delivery_tag"]
    assert ours.decode() == placed(message, "", command.queue, tag)

    inner = json.loads(base64.b64decode(told["body"]))
    expected = by_kombu(
        event_of(headers, command.queue, inner["clock"], inner["timestamp"]),
        {"hostname": headers["origin"]},
        delivery_mode=TRANSIENT,
    )
    assert event.decode() == placed(expected, EVENTS, SENT, told["properties"]["delivery_tag"])


@given(COMMANDS, ODD)
def test_a_message_with_other_headers_differs_in_these_alone(command: Command[Any], task_id: str) -> None:
    """A message to whose headers a hook has added equals the others but for that header."""
    forms = Forms()
    headers = headers_of(command.name, task_id, command.summary(), 1.5)
    plain, _ = forms.filled(command.name, command.queue, command.arguments(), task_id, command.summary())
    hooked, _ = forms.with_headers({**headers, "traceparent": "00"}, command.queue, command.arguments())
    one, other = json.loads(plain), json.loads(hooked)
    assert other["headers"].pop("traceparent") == "00"
    for read in (one, other):
        del read["headers"][SENT_AT], read["properties"]["delivery_tag"]
    assert (one, list(one)) == (other, list(other))


@given(COMMANDS)
def test_the_fast_lane_reads_them(command: Command[Any]) -> None:
    """A worker reads a filled form as a plain message with the command's arguments."""
    message, _ = Forms().filled(command.name, command.queue, command.arguments(), "one", command.summary())
    plain = read_plain(message)
    assert plain is not None
    assert (plain.task_id, plain.name, plain.kwargs) == ("one", command.name, command.arguments())


def test_each_message_has_a_tag_and_each_event_a_clock_of_its_own() -> None:
    forms = Forms()
    command = GetOrCreate(**THREAD, user_id="U1")
    filled = [
        forms.filled(command.name, command.queue, command.arguments(), "one", command.summary())
        for _ in range(3)
    ]
    tags = {json.loads(text)["properties"]["delivery_tag"] for pair in filled for text in pair}
    clocks = [json.loads(base64.b64decode(json.loads(event)["body"]))["clock"] for _, event in filled]
    assert (len(tags), clocks) == (6, [1, 2, 3])
