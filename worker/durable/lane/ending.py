"""A command of a chunk that was carried out, and its result as Celery stores it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

from threadsync.command import Command
from threadsync.dto import Dto
from worker.durable.lane.reading import Plain


class Ending(NamedTuple):
    """A command that was carried out.

    Attributes:
        place: of its message in the chunk.
        sent: ids of the messages that it has sent.
    """

    place: int
    message: Plain
    command: type[Command[Any]]
    result: Dto
    sent: Sequence[str]


def stored_results(ended: Sequence[Ending]) -> list[tuple[str, str]]:
    """Return the id and the result of each command that is to have one, as Celery's backends store it."""
    now = datetime.now(UTC).isoformat()
    return [
        (
            end.message.task_id,
            f'{{"status": "SUCCESS", "result": {end.result.model_dump_json(warnings=False)}, '
            f'"traceback": null, "children": [{_children(end.sent)}], "date_done": "{now}", '
            f'"task_id": {quoted(end.message.task_id)}}}',
        )
        for end in ended
        if end.message.is_answered
    ]


def _children(sent: Sequence[str]) -> str:
    return ", ".join([f"[[{quoted(task_id)}, null], null]" for task_id in sent]) if sent else ""
