"""Slack's event ids as task ids."""

from __future__ import annotations

import pytest

from handlers.event_ids import EventIds


def test_an_event_is_its_task() -> None:
    """An event's first task has the event's id; a redelivery has its own, which begins with it."""
    ids = EventIds()
    assert ids.task_id("Ev01") == "Ev01"
    again = [ids.task_id("Ev01"), ids.task_id("Ev01"), ids.task_id("Ev02", retries="1")]
    assert len({*again, "Ev01", "Ev02"}) == 5
    assert [str(task_id).partition("-")[0] for task_id in again] == ["Ev01", "Ev01", "Ev02"]


@pytest.mark.parametrize("event_id", [None, "", 7, "Ev 1", "x" * 65, "Ev1\n", {"a": 1}])
def test_what_is_no_id_is_none(event_id: object) -> None:
    """A malformed event id gives no task id."""
    assert EventIds().task_id(event_id) is None


def test_it_forgets() -> None:
    """Old event ids are forgotten, so that the memory stays bounded."""
    ids = EventIds()
    for number in range(10_001):
        ids.task_id(f"Ev{number}")
    assert ids.task_id("Ev0") == "Ev0"
    assert ids.task_id("Ev10000") != "Ev10000"
