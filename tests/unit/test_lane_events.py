"""A chunk's events are those that Celery's dispatcher sends, and its results those that Celery stores."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

from celery import Celery
from celery.events import EventDispatcher
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection, Exchange, Queue

from threadsync.commands import GetOrCreate
from threadsync.dto import Dto
from worker.durable.lane.chunk import Job
from worker.durable.lane.ending import Ending, stored_results
from worker.durable.lane.events import EACH, EXCHANGE, MANY, event_message
from worker.durable.lane.reading import Plain
from worker.durable.redaction import shown

TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)
"""Any text that JSON may carry, lone surrogates too."""


class Result(Dto):
    text: str

    def summary(self) -> str:
        return self.text


@st.composite
def endings(draw: st.DrawFn) -> Ending:
    """Make the end of a command that says anything, with headers of any sender."""
    task_id = draw(TEXTS)
    headers: dict[str, Any] = {"root_id": draw(st.sampled_from([task_id, None]))}
    headers |= draw(st.dictionaries(st.sampled_from(["argsrepr", "kwargsrepr"]), TEXTS))
    headers["ignore_result"] = draw(st.booleans())
    kwargs = draw(
        st.dictionaries(st.sampled_from(["channel_id", "thread_ts", "user_id", "session_id"]), TEXTS)
    )
    # The text of a result is a row's, so UTF-8.
    result = Result(text=draw(st.text(max_size=30)))
    sent = draw(st.lists(TEXTS, max_size=2))
    return Ending(0, Plain(task_id, draw(TEXTS), kwargs, headers), GetOrCreate, result, sent)


HOSTS = st.text(st.characters(exclude_categories=()), min_size=1, max_size=30)
MOMENTS = st.floats(min_value=0, max_value=2**33)


@given(st.lists(endings(), min_size=1, max_size=4), MOMENTS, MOMENTS, st.integers(0, 10**12), HOSTS)
def test_a_form_that_is_filled_in_is_what_celerys_dispatcher_sends(
    ended: list[Ending], began: float, seconds: float, clock: int, host: str
) -> None:
    """Whatever the texts hold, message and events are the same, in the same order."""
    job = Job(b"", [], frozenset(), host, clock, os.getpid())
    ours = json.loads(event_message(job, ended, began, seconds))
    theirs = dispatched(job, ended, began, seconds)
    tags = [message["properties"].pop("delivery_tag") for message in (ours, theirs)]
    assert tags[0] != tags[1]
    bodies = [json.loads(base64.b64decode(message.pop("body"))) for message in (ours, theirs)]
    for event in (*bodies[0][2::EACH], *bodies[1][2::EACH]):
        # The one that tells of the end has the time of the telling.
        assert abs(event.pop("timestamp") - time.time()) < 60
    assert bodies[0] == bodies[1]
    assert ours == theirs


def dispatched(job: Job, ended: list[Ending], began: float, seconds: float) -> Any:
    """Return the message by which Celery's own dispatcher sends the events of these ends."""
    app: Any = Celery(set_as_current=False, broker="memory://")
    app.clock.value = job.clock
    with Connection("memory://") as connection:
        channel: Any = connection.channel()
        queue = Queue("events", Exchange(EXCHANGE, type="topic"), routing_key="#")(channel)
        queue.declare()
        queue.purge()
        dispatcher: Any = EventDispatcher(
            connection,
            hostname=job.hostname,
            app=app,
            channel=channel,
            buffer_group=["task"],
            buffer_limit=1000,
        )
        for end in ended:
            name, message = end.message.name, end.message
            reprs = (message.headers.get("argsrepr"), message.headers.get("kwargsrepr"))
            args, kwargs = shown(end.command, [], message.kwargs, *reprs)
            received = {"name": name, "args": args, "kwargs": kwargs, "root_id": message.headers["root_id"]}
            nothing = {"parent_id": None, "retries": 0, "eta": None, "expires": None}
            told = {"uuid": message.task_id, "timestamp": began}
            dispatcher.send("task-received", **told, **received, **nothing)
            dispatcher.send("task-started", **told)
            outcome = {"result": end.result.summary(), "runtime": seconds}
            dispatcher.send("task-succeeded", uuid=message.task_id, **outcome)
        dispatcher.flush()
        found = channel._get("events")
        assert found["properties"]["delivery_info"] == {"exchange": EXCHANGE, "routing_key": MANY}
        return found


@given(st.lists(endings(), max_size=4))
def test_results_are_those_that_celery_stores(ended: list[Ending]) -> None:
    """Each command that is to have a result has one, with the ids of what it has sent."""
    found = stored_results(ended)
    answered = [end for end in ended if end.message.is_answered]
    assert [task_id for task_id, _ in found] == [end.message.task_id for end in answered]
    for (task_id, text), end in zip(found, answered, strict=True):
        stored = json.loads(text)
        assert stored.pop("date_done")
        assert stored == {
            "status": "SUCCESS",
            "result": end.result.model_dump(mode="json"),
            "traceback": None,
            "children": [[[child, None], None] for child in end.sent],
            "task_id": task_id,
        }
