"""Histories of what follows a ticket, in which Hypothesis searches for a second comment or a second copy."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.chaos.interruptions import Interruption
from tests.support.scale import bounded
from tests.support.thread_servers import TicketFault
from tests.support.thread_world import CONTENT, SETTLE, ThreadWorld, new_world
from worker.db.pool import Pool
from worker.thread.work import PROPERTY

FAULTS: Final = tuple(fault for fault in get_args(TicketFault) if fault not in ("400", "404", "413"))
"""What a write may meet that is no refusal for good."""

EVENTS: Final = st.one_of(
    st.tuples(st.just("follow"), st.none()),
    st.tuples(
        st.just("die"),
        st.builds(Interruption, st.integers(1, 40), st.sampled_from(["before", "after"]), st.just("crash")),
    ),
    st.tuples(st.just("pass"), st.integers(1, 900)),
    st.tuples(
        st.just("fault"),
        st.tuples(st.sampled_from(["comment", "attachments", "remotelink"]), st.sampled_from(FAULTS)),
    ),
    st.tuples(st.just("late"), st.integers(0, SETTLE - 20)),
    st.tuples(st.just("slack is away"), st.integers(1, 4)),
    st.tuples(st.just("blind"), st.integers(1, 3)),
)


def happen(world: ThreadWorld, event: tuple[str, Any]) -> None:
    match event:
        case "follow", _:
            world.follow()
        case "die", interruption:
            world.follow(interruption)
        case "pass", seconds:
            world.clock.advance(seconds)
        case "fault", (endpoint, fault):
            world.tickets.faults.setdefault(endpoint, []).append(fault)
        case "late", seconds:
            world.tickets.lateness = seconds
        case "slack is away", calls:
            world.thread_slack.away += calls
        case "blind", looks:
            world.tickets.blind += looks


@pytest.mark.bounded
def test_no_history_writes_anything_twice(pool: Pool) -> None:
    """Over any history of faults, deaths and pauses each text and each file is there once in the end."""

    @settings(
        max_examples=bounded(150, 25),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(EVENTS, max_size=25))
    def check(events: list[tuple[str, Any]]) -> None:
        with new_world(pool, "files") as world:
            for number in range(1, 9):
                world.reply(number, "U1", f"word{number}end " + "x" * 5_000)
            world.thread_slack.messages[1]["files"] = [
                world.thread_slack.add_file(name, f"{name}.pdf", CONTENT) for name in ("F1", "F2")
            ]
            world.make()
            for event in events:
                happen(world, event)
            world.tickets.blind = 0
            world.follow_until_over()
            copies = Counter(name for _, name, _ in world.tickets.attachments)
            assert set(copies.values()) <= {1}
            assert len(world.tickets.comments) == 1
            assert len(world.tickets.links) == 1
            ((_, _, properties),) = world.tickets.comments
            assert properties[PROPERTY]["cut"] is True
            states = world.states()
            assert {states[step] for step in ("link", "plan", "thread", "attachment")} == {"done"}
            # Slack gave each file at last.
            assert set(copies) == {"F1-F1.pdf", "F2-F2.pdf", f"thread-{world.detail().marker}.txt"}

    check()


@pytest.mark.bounded
def test_unlinks_and_links_leave_each_ticket_with_one_copy(pool: Pool) -> None:
    """Unlinks and links between the steps write no text twice, and leave the link of the linked ticket."""

    @settings(
        max_examples=bounded(60, 10),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        st.lists(st.one_of(EVENTS, st.tuples(st.sampled_from(["unlink", "link"]), st.none())), max_size=20)
    )
    def check(events: list[tuple[str, Any]]) -> None:
        with new_world(pool, "text") as world:
            world.make()
            first = world.state().jira_key or ""
            for event in events:
                if event[0] == "unlink":
                    world.unlink()
                elif event[0] == "link":
                    session = world.sessions.get_session(world.session_id)
                    if session and session.jira_key is None:
                        world.link(first)
                else:
                    happen(world, event)
            world.tickets.blind = 0
            world.follow_until_over()
            assert len(world.tickets.comments) <= 1

    check()
