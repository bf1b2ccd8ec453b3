"""Who asked for a ticket is named in it: property, link and description. Time is virtual here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import pytest

from sandbox.chaos.world import ANN, World
from sandbox.faults import Refused
from sandbox.jira.faults import CommitThenDrop
from sandbox.jira.issues import Draft as Ticket
from sandbox.jira.issues import Issue
from tests.support.forgetting import begun
from threadsync.actors import NamedActor, SlackActor
from threadsync.syncs import Draft
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import Pool

BOB: Final = SlackActor(user_id="U0BOB", team_id="T0SANDBOX")
NAMES: Final = {ANN.user_id: "Ann \u202eof\nAccounts", BOB.user_id: "Bob"}
PLAIN: Final = "Slack thread"
_numbers = itertools.count(1)


@pytest.fixture
def world(pool: Pool) -> Iterator[World]:
    number = next(_numbers)
    world = World(pool, f"{1_720_000_000 + number}.000100", search_lag=0, settle=600, seed=number)
    world.name_of = NAMES.get
    for user, name in NAMES.items():
        world.workspace.people[user] = {"profile": {"display_name": name}}
    yield world
    world.close()


def ask(world: World, actor: Any = ANN, description: str = "as *told*", second: int = 1) -> None:
    draft = Draft(summary="The export stops", description=description)
    world.sessions.request_sync(*world.thread, draft, f"17500000{second:02}.000200", actor)


def made(world: World) -> None:
    """Let workers make the ticket and do all that follows it."""
    for _ in range(40):
        world.work()
        world.follow()
        world.clock.advance(60)


def ticket(world: World) -> Issue:
    [issue] = world.site.issues
    return issue


def titles(world: World) -> list[str]:
    return [link.title for link in ticket(world).remote_links]


def paragraphs(world: World) -> list[str]:
    """Return the texts of the description's paragraphs."""
    description = ticket(world).description or {"content": []}
    return ["".join(part.get("text", "") for part in block["content"]) for block in description["content"]]


def test_who_asked_is_in_the_ticket(world: World) -> None:
    """The property has the id, the link and the description have the name, without what turns text."""
    ask(world)
    made(world)
    assert ticket(world).properties["threadsync"]["requester"] == ANN.user_id
    assert titles(world) == ["Slack thread, requested by Ann of Accounts"]
    assert paragraphs(world) == ["as told", "Requested in Slack by Ann of Accounts."]


def test_without_a_name_the_id_stands_there(world: World) -> None:
    """Where Slack tells no name the ticket has the person's id; it is not late for that."""
    world.name_of = lambda user: None
    world.slack.plan = lambda method: Refused("user_not_found") if method == "users.info" else None
    ask(world)
    made(world)
    assert titles(world) == [f"Slack thread, requested by {ANN.user_id}"]
    assert paragraphs(world) == ["as told", f"Requested in Slack by {ANN.user_id}."]


def test_no_description_is_added(world: World) -> None:
    """A ticket without a drafted description has none: the field may not be on the screen."""
    ask(world, description="")
    made(world)
    assert ticket(world).description is None
    assert titles(world) == ["Slack thread, requested by Ann of Accounts"]


@pytest.mark.parametrize("actor", [None, NamedActor(name="ann", via="cli")], ids=["nobody", "a name"])
def test_only_people_in_slack_are_named(world: World, actor: NamedActor | None) -> None:
    """A request of an older release, or from elsewhere, makes the ticket that it always made."""
    ask(world, actor)
    made(world)
    assert set(ticket(world).properties["threadsync"]) == {"marker", "attempt"}
    assert (titles(world), paragraphs(world)) == ([PLAIN], ["as told"])


def test_a_ticket_that_a_person_linked(world: World) -> None:
    """A ticket that a person linked, although one was asked for, was requested by nobody."""
    world.site.is_down = True
    ask(world)
    world.work()
    key = world.site.commit(Ticket("PROJ", "Task", "Of a person")).key
    world.link(key)
    world.site.is_down = False
    made(world)
    assert titles(world) == [PLAIN]


def test_a_ticket_that_is_linked_again(world: World) -> None:
    """A ticket that a person took off and linked again keeps no name in its link."""
    ask(world)
    made(world)
    key = world.unlink()
    assert key
    world.link(key)
    made(world)
    assert titles(world) == [PLAIN]


def test_a_person_who_was_forgotten(world: World, pool: Pool) -> None:
    """A link that is put after its person was forgotten names nobody."""
    ask(world)
    world.work()
    forgets = ForgetStore(pool)
    act: UUID = begun(forgets, "user")
    forgets.forget_named(act, ANN.user_id, [])
    made(world)
    assert titles(world) == [PLAIN]


def test_a_draft_of_another_person_that_came_too_late(world: World) -> None:
    """A ticket names who asked for it, and not who asked while it was made."""
    world.site.fail("create", CommitThenDrop())
    ask(world)
    world.work()
    assert world.state().state == "unknown"
    ask(world, BOB, second=2)
    made(world)
    assert ticket(world).properties["threadsync"]["requester"] == ANN.user_id
    assert titles(world) == [PLAIN]


def test_a_later_draft_of_another_person(world: World) -> None:
    """The draft that becomes the ticket says who asked."""
    ask(world)
    ask(world, BOB, second=2)
    made(world)
    assert ticket(world).properties["threadsync"]["requester"] == BOB.user_id
    assert titles(world) == ["Slack thread, requested by Bob"]
    assert paragraphs(world) == ["as told", "Requested in Slack by Bob."]
