"""The requester as the reporter of a ticket, and what the ticket does without. Time is virtual here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, Literal

import pytest

from sandbox.chaos.interruptions import Interruption
from sandbox.jira.faults import CommitThenDrop, DropBeforeCommit, Refuse, Status
from tests.support.jira_logins import LoginWorld, classic, oauth
from threadsync.actors import NamedActor, SlackActor
from threadsync.syncs import Draft
from worker.db.pool import Pool
from worker.http_once import NotSent
from worker.jira.answers import CallFailed
from worker.jira.reporter import LOOK_AGAIN_SECONDS

ADA: Final = SlackActor(user_id="U0ADA", team_id="T1")
GRACE: Final = SlackActor(user_id="U0GRACE", team_id="T1")
ACCOUNTS: Final = {"U0ADA": "712020:sandbox-ada", "U0GRACE": "712020:sandbox-grace"}
_numbers = itertools.count(1)


@pytest.fixture
def world(pool: Pool) -> Iterator[LoginWorld]:
    """A worker that names requesters, and one session without a draft."""
    number = next(_numbers)
    world = LoginWorld(pool, f"{1_800_000_000 + number}.000100", search_lag=5, settle=600, seed=number)
    world.log_in(classic())
    world.name_requesters(ACCOUNTS.get)
    yield world
    world.close()


def ask(world: LoginWorld, actor: SlackActor | NamedActor | None = ADA, second: int = 1) -> None:
    draft = Draft(summary="The export stops", description="")
    world.sessions.request_sync(*world.thread, draft, f"17000000{second:02}.000200", actor)


def another_ticket(world: LoginWorld, actor: SlackActor | None = ADA) -> str | None:
    """Let another session get its ticket; return the reporter."""
    world.open_session(f"{1_800_000_000 + next(_numbers)}.000100")
    ask(world, actor)
    world.work_until(is_done)
    return reporter(world)


def is_done(world: LoginWorld) -> bool:
    return world.state().state == "done"


def reporter(world: LoginWorld) -> str | None:
    """Return the reporter that the session's ticket names."""
    [issue] = [issue for issue in world.site.issues if issue.key == world.state().jira_key]
    return world.front.reporters.get(issue.id)


def problems(world: LoginWorld) -> list[tuple[str, str]]:
    found = world.store.reporters.problems(world.target.site)
    return [(problem.project_key, problem.problem) for problem in found]


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (ADA, "712020:sandbox-ada"),
        (SlackActor(user_id="U0NOBODY", team_id="T1"), None),
        (NamedActor(name="ada", via="cli"), None),
        (None, None),
    ],
    ids=str,
)
def test_the_requester_is_the_reporter(
    world: LoginWorld, actor: SlackActor | NamedActor | None, expected: str | None
) -> None:
    """The person in Slack who asked is the reporter; a person without an account, or a name, is not."""
    ask(world, actor)
    world.work()
    assert (world.stands(), reporter(world)) == (("done", None), expected)
    assert (len(world.site.issues), problems(world)) == (1, [])


def test_by_default_the_reporter_is_the_login(pool: Pool) -> None:
    """Without JIRA_REPORTER=requester nobody is looked up or named."""
    world = LoginWorld(pool, "1800000000.000100", search_lag=0, settle=600, seed=99)
    asked: list[str] = []
    world.account_of = lambda user_id: asked.append(user_id)
    try:
        world.log_in(classic())
        ask(world)
        world.work()
        assert (reporter(world), asked) == (None, [])
    finally:
        world.close()


def test_a_reporter_that_cannot_be_looked_up_holds_no_ticket(world: LoginWorld) -> None:
    """With the lookup away the ticket goes without a reporter, at once."""

    def away(user_id: str) -> str | None:
        raise CallFailed(NotSent("away"), "user/search")

    world.account_of = away
    ask(world)
    world.work()
    assert (world.stands(), reporter(world)) == (("done", None), None)


def test_a_reporter_that_jira_refuses(world: LoginWorld) -> None:
    """Jira's refusal of the reporter is repeated at once without one, after a search of its own."""
    world.front.takes_reporters = False
    ask(world)
    world.work()
    assert (world.stands(), world.site.issues) == (("retry_wait", "reporter_refused"), ())
    searches = [call.endpoint for call in world.site.calls].count("search")
    world.work()
    assert (world.stands(), reporter(world)) == (("done", None), None)
    assert [call.endpoint for call in world.site.calls].count("search") > searches
    creates = [attempt for attempt in world.detail().attempts if attempt.step == "create"]
    assert [attempt.reason for attempt in creates] == ["reporter_refused", None]
    assert problems(world) == [("PROJ", "refused")]


def test_a_refused_reporter_is_not_tried_again_for_this_ticket(world: LoginWorld) -> None:
    """After the refusal no later attempt of the session names a reporter; the next session does."""
    world.front.takes_reporters = False
    ask(world)
    world.work()
    world.site.fail("create", Status(429), DropBeforeCommit())
    world.front.takes_reporters = True
    world.work_until(is_done)
    assert (len(world.site.issues), reporter(world)) == (1, None)
    assert another_ticket(world) == "712020:sandbox-ada"


def test_a_refusal_of_more_than_the_reporter_is_as_before(world: LoginWorld) -> None:
    """A refusal that names another field, too, is a matter of the set-up or the draft."""
    errors = {"reporter": "cannot be set", "customfield_1": "is required"}
    world.site.fail("create", Refuse(400, errors=errors))
    ask(world)
    world.work()
    assert world.stands() == ("blocked", "set_up")
    assert problems(world) == []


def test_a_refused_reporter_that_nobody_named(world: LoginWorld) -> None:
    """A create without a reporter that is refused for it is a matter of the set-up; nothing is repeated."""
    world.site.fail("create", Refuse(400, errors={"reporter": "Reporter is required."}))
    ask(world, None)
    world.work()
    assert world.stands() == ("blocked", "set_up")


def test_a_ticket_that_is_then_hidden(world: LoginWorld) -> None:
    """A ticket that its reporter hides from us is made; the project's next ones go without a reporter."""
    world.front.hides_reported = True
    ask(world)
    world.work()
    assert (world.stands(), reporter(world)) == (("done", None), "712020:sandbox-ada")
    assert problems(world) == [("PROJ", "hidden")]
    assert another_ticket(world) is None
    assert another_ticket(world, GRACE) is None


def test_a_hidden_ticket_is_looked_at_again(world: LoginWorld) -> None:
    """Once an hour it is looked whether we see the ticket by now; then tickets name a reporter again."""
    world.front.hides_reported = True
    ask(world)
    world.work()
    world.clock.advance(LOOK_AGAIN_SECONDS + 1)
    assert another_ticket(world) is None
    world.front.hides_reported = False
    assert another_ticket(world) is None
    world.clock.advance(LOOK_AGAIN_SECONDS)
    assert another_ticket(world, GRACE) == "712020:sandbox-grace"
    assert problems(world) == []


def test_a_create_in_doubt_with_a_reporter_is_found(world: LoginWorld) -> None:
    """A create in doubt that names a reporter is found, and is no other one's."""
    world.site.fail("create", CommitThenDrop())
    ask(world)
    world.work()
    world.work_until(is_done)
    assert (world.state().origin, len(world.site.issues), reporter(world)) == (
        "found",
        1,
        "712020:sandbox-ada",
    )


def test_a_create_in_doubt_whose_reporter_hides_it(world: LoginWorld) -> None:
    """Not seeing a ticket that names a reporter is not absence: a person decides; none is created again."""
    world.front.hides_reported = True
    world.site.fail("create", CommitThenDrop())
    ask(world)
    world.work()
    world.work_until(lambda world: world.state().state in ("done", "review"))
    assert (world.stands(), len(world.site.issues)) == (("review", "cannot_see"), 1)


def test_absence_counts_where_such_tickets_are_seen(world: LoginWorld) -> None:
    """Where our account has read a ticket that names a reporter, absence counts and it is created again."""
    ask(world)
    world.work()
    world.site.fail("create", DropBeforeCommit())
    assert another_ticket(world, GRACE) == "712020:sandbox-grace"
    assert len(world.site.issues) == 2


def test_a_change_of_login_with_a_reporter(world: LoginWorld) -> None:
    """A ticket of another account that names a reporter is looked for by one that has read such a ticket."""
    ask(world)
    world.work()
    world.open_session(f"{1_800_000_000 + next(_numbers)}.000100")
    world.site.fail("create", CommitThenDrop())
    ask(world, GRACE)
    world.work()
    world.log_in(oauth())
    world.work_until(is_done)
    assert (len(world.site.issues), reporter(world)) == (2, "712020:sandbox-grace")


def test_a_newer_draft_of_another_person(world: LoginWorld) -> None:
    """The reporter is who wrote the draft that became the ticket."""
    ask(world, ADA)
    ask(world, GRACE, second=2)
    world.work()
    assert reporter(world) == "712020:sandbox-grace"


@pytest.mark.parametrize("jira", ["takes it", "refuses it", "hides it"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_at_any_step(pool: Pool, jira: str, when: Literal["before", "after"]) -> None:
    """Wherever the worker dies, there is one ticket, or none and a person who is asked to look for it."""
    for step in itertools.count(1):
        number = next(_numbers)
        world = LoginWorld(pool, f"{1_800_000_000 + number}.000100", search_lag=5, settle=600, seed=number)
        try:
            world.log_in(classic())
            world.name_requesters(ACCOUNTS.get)
            world.front.takes_reporters = jira != "refuses it"
            world.front.hides_reported = jira == "hides it"
            ask(world)
            if not world.work(Interruption(step, when, "crash")).crashed:
                break
            world.work_until(lambda world: world.state().state in ("done", "review"))
            in_doubt = world.stands() == ("review", "cannot_see")
            assert len(world.site.issues) == (0 if in_doubt and not world.front.reporters else 1)
            assert bool(world.front.reporters) == (jira != "refuses it" and bool(world.site.issues))
        finally:
            world.close()
    assert step > 5
