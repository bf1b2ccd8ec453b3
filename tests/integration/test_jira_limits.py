"""Limits on pauses, moments and drafts from Jira, messages and old rows. Time is virtual."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from sandbox.chaos.world import World
from sandbox.jira.faults import BURST, GLOBAL_QUOTA, ISSUE_WRITES, TENANT_QUOTA, Throttle
from tests.support.servers import as_owner
from threadsync.errors import InvalidCommand
from threadsync.syncs import Draft
from worker.db import SessionStore
from worker.db.moments import END_OF_TIME
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.jira.answers import LONGEST_ASKED_SECONDS
from worker.operate import decisions
from worker.operate.decisions import Signature

ANN = Signature("ann", "because")
EARLY, LATE = "1700000001.000100", "1700000002.000100"
_numbers = itertools.count(1)

NewWorld = Callable[..., World]


@pytest.fixture
def new_world(pool: Pool) -> Iterator[NewWorld]:
    """Yield a function that creates a session with a requested ticket and its own Jira."""
    with ExitStack() as worlds:

        def new(site_name: str | None = None) -> World:
            number = next(_numbers)
            thread = f"{1_700_000_000 + number}.000100"
            world = World(pool, thread, search_lag=0, settle=600, seed=number, site_name=site_name)
            worlds.callback(world.close)
            world.ask("First", EARLY)
            return world

        yield new


def execute(database_url: str, statement: str, *parameters: Any) -> None:
    """Run a statement as the owner of the tables."""
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(statement.encode(), parameters)


def calls(world: World) -> list[str]:
    return [call.endpoint for call in world.site.calls]


@pytest.mark.parametrize(
    ("reason", "others_create", "tickets_are_linked"),
    [
        (BURST, False, True),
        (ISSUE_WRITES, True, True),
        (GLOBAL_QUOTA, False, False),
        (TENANT_QUOTA, False, False),
    ],
)
def test_a_limit_slows_what_it_is_about(
    new_world: NewWorld, reason: str, others_create: bool, tickets_are_linked: bool
) -> None:
    """A throttled create delays its endpoint, its ticket or the site, as the reason of the limit says."""
    first = new_world()
    other, done = new_world(first.target.site), new_world(first.target.site)
    done.work()
    assert done.state().state == "done"
    first.site.fail("create", Throttle(60, reason))
    first.work()
    assert (first.state().state, first.state().reason) == ("retry_wait", "rate_limit")
    other.work()
    assert ("create" in calls(other)) == others_create
    if not others_create:
        waits = (other.state().next_attempt_at or END_OF_TIME).timestamp() - other.clock()
        assert 55 < waits < 80
    done.work()
    assert ("remotelink" in calls(done)) == tickets_are_linked
    for world in (first, other, done):
        world.clock.advance(80)
        world.work()
    assert (first.state().state, other.state().state) == ("done", "done")


def test_a_search_that_is_throttled_makes_no_link_wait(new_world: NewWorld) -> None:
    """A throttled search delays no link, and limits are not counted as failures."""
    first = new_world()
    done = new_world(first.target.site)
    done.work()
    first.site.fail("search", Throttle(60, BURST))
    first.work()
    assert first.store.trouble_of(first.target.site).endpoints.keys() == {"search"}
    done.site.fail("remotelink", *[Throttle(20, BURST)] * 6)
    for _ in range(8):
        done.clock.advance(30)
        done.work()
    assert len(done.site.issues[0].remote_links) == 1, "six limits are not six failures"


@pytest.mark.parametrize("until", ["2088-01-01", "infinity", "58000-01-01"])
def test_a_pause_for_decades_is_none(new_world: NewWorld, database_url: str, until: str) -> None:
    """A stored pause of decades is ignored, and a real pause beside it holds."""
    world = new_world()
    site = world.target.site
    execute(database_url, "INSERT INTO jira_sites (site, paused_until) VALUES (%s, %s)", site, until)
    execute(database_url, "INSERT INTO jira_pauses VALUES (%s, 'create', %s)", site, until)
    trouble = world.store.trouble_of(site)
    assert (trouble.reason, trouble.paused_for, trouble.endpoints) == (None, 0.0, {})
    world.store.pause_site(site, 60)
    world.store.pause_endpoint(site, "create", 30)
    trouble = world.store.trouble_of(site)
    assert 59 < trouble.paused_for <= 60
    assert 29 < trouble.endpoints["create"] <= 30
    world.work()
    assert world.site.issues == ()
    world.clock.advance(61)
    assert world.session_id in world.store.take_due(most=10, for_seconds=1)
    world.work()
    assert world.state().state == "done"


def test_jira_asks_for_a_year_and_gets_an_hour(new_world: NewWorld) -> None:
    """A pause of a year that Jira asks for is cut to an hour plus a fifth at most."""
    world = new_world()
    world.site.fail("create", Throttle(31_536_000, GLOBAL_QUOTA))
    world.work()
    waits = (world.state().next_attempt_at or END_OF_TIME).timestamp() - world.clock()
    assert LONGEST_ASKED_SECONDS - 5 < waits <= LONGEST_ASKED_SECONDS * 1.2
    world.clock.advance(LONGEST_ASKED_SECONDS * 1.2 + 1)
    world.work()
    assert world.state().state == "done"


def test_a_retry_into_a_pause_says_so_and_all_of_them_end_it(new_world: NewWorld, pool: Pool) -> None:
    """A retry during a pause says so, and a retry of all blocked syncs ends the pause."""
    world = new_world()
    world.site.fail("create", Throttle(1800, GLOBAL_QUOTA))
    world.work()
    session = world.sessions.get_session(world.session_id)
    assert session is not None
    _, sentence = decisions.retry(pool, session, ANN)
    assert "Jira asked for a pause" in sentence
    assert "retry --all-blocked" in sentence
    decisions.retry_all_blocked(pool, ANN)
    assert SyncStore(pool).trouble_of(world.target.site).paused_for == 0
    world.work()
    assert world.state().state == "done"


@pytest.mark.parametrize("moment", ["2093-01-01", "infinity", "58000-01-01"])
def test_a_sync_that_waits_for_decades(new_world: NewWorld, database_url: str, moment: str) -> None:
    """A sync with a next attempt in decades is listed, can be retried, and can be brought forward."""
    world = new_world()
    statement = "UPDATE syncs SET state = 'retry_wait', reason = 'rate_limit', next_attempt_at = %s"
    execute(database_url, statement, moment)
    (listed,) = world.store.list_syncs()
    assert listed.next_attempt_at is not None
    assert listed.next_attempt_at.year >= 2093
    assert world.detail().sync == listed
    assert world.store.take_due(most=10, for_seconds=1) == []
    assert world.store.retry(world.session_id, actor="ann", reason="now")
    execute(database_url, statement, moment)
    assert world.store.pull_in() == 1
    assert world.store.pull_in() == 0
    world.work()
    assert world.state().state == "done"


@pytest.mark.parametrize(
    "drafted_at",
    ["1795608030000.000100", "1795608030000000.000100", "4102444800.000000", "9999999999999999.9"],
)
def test_a_moment_to_come_is_refused(store: SessionStore, drafted_at: str) -> None:
    """A draft dated in the future is refused."""
    store.get_or_create_session("C1", "1700000000.000100", "U1")
    with pytest.raises(InvalidCommand, match=r"drafted_at: lies in the future"):
        store.request_sync("C1", "1700000000.000100", Draft(summary="x"), drafted_at)


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_moment_to_come_that_is_stored_loses(new_world: NewWorld, database_url: str, state: str) -> None:
    """A stored draft dated in the future loses to any new draft, which still wins over older ones."""
    world = new_world()
    reason = "draft_refused" if state == "failed" else None
    update = "UPDATE syncs SET drafted_at = 1795608030000, state = %s, reason = %s"
    execute(database_url, update, state, reason)
    assert world.ask("Later", LATE) == "applied"
    assert world.ask("Older", EARLY) == "stale"
    assert (world.detail().draft.summary, world.state().state) == ("Later", "pending")


def test_a_draft_that_cannot_be_read_fails_alone(new_world: NewWorld, database_url: str) -> None:
    """A stored draft that cannot be read fails its sync, and a new draft starts it again."""
    world = new_world()
    execute(database_url, """UPDATE syncs SET draft = '{"summary": ["no text"], "labels": 7}'""")
    assert world.detail().draft.summary == "(the stored draft cannot be read)"
    world.work()
    assert (world.state().state, world.state().reason) == ("failed", "draft_unreadable")
    assert world.ask("Another", LATE) == "applied"
    world.work()
    assert world.state().state == "done"


def test_a_step_reads_its_row_once(new_world: NewWorld) -> None:
    """A step reads its row with the claim only, and its last write returns the sync."""
    names = new_world().work().names
    assert (names.count("claim"), names.count("finish"), names.count("get_state")) == (1, 1, 0)
