"""Slack's event id is its task's id."""

from __future__ import annotations

import pytest

from handlers.event_ids import EventIds


def test_an_event_is_its_task() -> None:
    """Once; what is delivered again has a result of its own, and is found by the same id."""
    ids = EventIds()
    assert ids.task_id("Ev01") == "Ev01"
    again = [ids.task_id("Ev01"), ids.task_id("Ev01"), ids.task_id("Ev02", retries="1")]
    assert len({*again, "Ev01", "Ev02"}) == 5
    assert [str(task_id).partition("-")[0] for task_id in again] == ["Ev01", "Ev01", "Ev02"]


@pytest.mark.parametrize("event_id", [None, "", 7, "Ev 1", "x" * 65, "Ev1\n", {"a": 1}])
def test_what_is_no_id_is_none(event_id: object) -> None:
    """The task gets one of its own."""
    assert EventIds().task_id(event_id) is None


def test_it_forgets() -> None:
    """A process that runs for years does not remember every event."""
    ids = EventIds()
    for number in range(10_001):
        ids.task_id(f"Ev{number}")
    assert ids.task_id("Ev0") == "Ev0"
    assert ids.task_id("Ev10000") != "Ev10000"
