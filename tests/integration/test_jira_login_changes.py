"""One ticket under each of Jira's logins, and over a change of login. Time is virtual here."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.jira.faults import (
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Hang,
    Truncated,
)
from tests.support.jira_logins import BOT, CLIENT, SERVICE, LoginWorld, classic, oauth, scoped
from tests.support.scale import bounded
from threadsync.marker import marker_of, site_of
from worker.db.pool import Pool
from worker.jira.answers import JiraAccount

SETTLE: Final = 600
SESSIONS: Final = bounded(100, 24)
"""Sessions over a change of login."""

OF_SHORT_TOKENS: Final = bounded(20, 8)
"""Sessions under tokens that live half a minute."""

LOGINS: Final[dict[str, JiraAccount]] = {
    "classic": classic(),
    "scoped": scoped(),
    "scoped, of a service account": scoped(SERVICE, "auto"),
    "OAuth": oauth(),
}
PAIRS: Final = list(itertools.permutations(LOGINS, 2))
AMBIGUOUS: Final = (
    CommitThenDrop(),
    CommitThenStatus(503),
    CommitLate(200, "hang"),
    CommitLate(30, "status"),
    Hang(60, committed=True),
    Truncated(),
)
every_login = pytest.mark.parametrize("login", LOGINS)
_numbers = itertools.count(1)


def new_world(pool: Pool, login: JiraAccount, search_lag: float = 0) -> LoginWorld:
    """Make a session that asks for its ticket under a login."""
    number = next(_numbers)
    world = LoginWorld(
        pool, f"{1_700_000_000 + number}.000100", search_lag=search_lag, settle=SETTLE, seed=number
    )
    world.log_in(login)
    ask(world)
    return world


def ask(world: LoginWorld) -> None:
    world.ask("The export stops at page two", "1700000000.000200")


def another_session(world: LoginWorld) -> None:
    """Let another session ask for its ticket, at the same Jira."""
    world.open_session(f"{1_700_000_000 + next(_numbers)}.000100")
    ask(world)


def is_done(world: LoginWorld) -> bool:
    return world.state().state == "done"


def tickets_of_the_thread(world: LoginWorld) -> int:
    return len(world.site.issues_with(marker_of(world.target.site, *world.thread)))


def endpoints(world: LoginWorld) -> list[str]:
    return [call.endpoint for call in world.site.calls]


@pytest.fixture
def world(pool: Pool) -> Iterator[LoginWorld]:
    """One session that asks for its ticket under OAuth."""
    world = new_world(pool, oauth())
    yield world
    world.close()


@every_login
def test_a_ticket_under_each_login(pool: Pool, login: str) -> None:
    """Each login makes the ticket and links it; the marker is the one of the site that people click."""
    world = new_world(pool, LOGINS[login])
    try:
        world.work()
        world.work()
        [issue] = world.site.issues
        [link] = issue.remote_links
        assert world.stands() == ("done", None)
        assert issue.carries(marker_of(world.target.site, *world.thread))
        assert world.target.site.startswith(site_of("https://jira.example"))
        assert world.thread[1] in link.url
        used = {"classic": "site"}.get(login, "gateway")
        assert world.front.asked[used] > 0
        assert world.front.asked["site"] * world.front.asked["gateway"] == 0
    finally:
        world.close()


@pytest.mark.bounded
@pytest.mark.parametrize(("first", "second"), PAIRS, ids=" then ".join)
@settings(
    max_examples=bounded(24, 4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fault=st.sampled_from(AMBIGUOUS),
    lag=st.sampled_from((0, 5, 120)),
    gap=st.sampled_from((0, 1, 70)),
    looks_before=st.integers(0, 2),
)
def test_a_create_in_doubt_under_one_login_is_found_under_the_other(
    pool: Pool, first: str, second: str, fault: Any, lag: int, gap: int, looks_before: int
) -> None:
    """A create in doubt under one login is found under each other one, whatever the fault and the lag."""
    world = new_world(pool, LOGINS[first], lag)
    try:
        world.site.skip_keys(gap)
        world.site.fail("create", fault)
        world.work()
        assert world.stands() == ("unknown", "no_answer")
        for _ in range(looks_before):
            world.site.fail("bulkfetch", DropBeforeCommit())
            world.site.fail("search", DropBeforeCommit())
            world.clock.advance(20)
            world.work()
        world.site.forget_faults("bulkfetch")
        world.site.forget_faults("search")
        world.front.scoped_only = second != "classic"
        world.log_in(LOGINS[second])
        world.work_until(is_done)
        assert (world.state().origin, len(world.site.issues)) == ("found", 1)
    finally:
        world.close()


@pytest.mark.bounded
def test_sessions_over_a_change_from_classic_to_scoped(pool: Pool) -> None:
    """With a third of the creates unanswered, and only scoped tokens from the middle on: one ticket each."""
    draw = random.Random(7)
    world = new_world(pool, classic())
    try:
        threads = [world.thread[1]]
        for number in range(SESSIONS):
            if number:
                another_session(world)
                threads.append(world.thread[1])
            if number == SESSIONS // 2:
                world.front.scoped_only = True
                world.log_in(scoped(SERVICE, "auto"))
            if draw.random() < 1 / 3:
                world.site.fail("create", draw.choice((*AMBIGUOUS, DropBeforeCommit())))
            world.work()
        for thread_ts in threads:
            world.open_session(thread_ts)
            world.work_until(is_done, 20_000)
            assert tickets_of_the_thread(world) == 1
        assert len(world.site.issues) == len(threads)
    finally:
        world.close()


@pytest.mark.bounded
def test_tokens_that_live_half_a_minute(pool: Pool) -> None:
    """Under OAuth with tokens that live 30 s, and revoked ones among them, each session gets one ticket."""
    draw = random.Random(3)
    world = new_world(pool, oauth())
    try:
        world.front.life = 30.0
        for number in range(OF_SHORT_TOKENS):
            if number:
                another_session(world)
            if draw.random() < 1 / 3:
                world.site.fail("create", draw.choice((*AMBIGUOUS, DropBeforeCommit())))
            if draw.random() < 1 / 3:
                world.front.revokes_at.add(draw.choice(("issue", "search", "bulkfetch")))
            world.work_until(is_done, 20_000)
            assert tickets_of_the_thread(world) == 1
        assert len(world.site.issues) == OF_SHORT_TOKENS
        assert world.front.asked["token"] > OF_SHORT_TOKENS / 2
    finally:
        world.close()


def test_a_token_that_ends_between_search_and_create(world: LoginWorld) -> None:
    """A 401 to the create is repeated at once, with a search of its own and a new token; one ticket."""
    world.front.revokes_at.add("issue")
    world.work()
    assert world.stands() == ("retry_wait", "token_renewed")
    assert (world.site.issues, world.front.asked["token"]) == ((), 1)
    before = endpoints(world).count("search")
    world.work()
    assert world.stands() == ("done", None)
    assert endpoints(world).count("search") > before
    assert (len(world.site.issues), world.front.asked["token"]) == (1, 2)
    assert [attempt.reason for attempt in world.detail().attempts] == ["token_renewed", None]


def test_a_token_that_is_refused_twice_is_a_matter_for_a_person(world: LoginWorld) -> None:
    """A second 401 in a row blocks the sync; the site is not parked, for it knows who we are."""
    world.front.refuses.add("issue")
    world.work()
    world.work()
    assert world.stands() == ("blocked", "no_access")
    assert not world.state().parked
    assert endpoints(world).count("myself") == 1


def test_a_login_that_is_refused_everywhere_parks_the_site(world: LoginWorld) -> None:
    """A client that Jira refuses for all is parked after one renewal, and goes on by itself."""
    world.front.refuses |= {"issue", "search", "myself"}
    world.work()
    world.work()
    assert world.stands() == ("blocked", "no_access")
    assert world.state().parked
    world.front.refuses.clear()
    world.work_until(is_done)
    assert len(world.site.issues) == 1


def test_a_look_whose_token_ended(world: LoginWorld) -> None:
    """In doubt a 401 that another token mends is another look at once, and the ticket is found."""
    world.site.fail("create", CommitThenDrop())
    world.work()
    world.clock.advance(6)
    world.front.revokes_at.add("bulkfetch")
    world.front.revokes_at.add("search")
    world.work()
    assert world.stands() == ("unknown", "token_renewed")
    world.front.revokes_at.clear()
    world.work()
    assert (world.stands(), world.state().origin) == (("done", None), "found")


def test_a_follow_up_whose_token_ended(world: LoginWorld) -> None:
    """What may be repeated is asked once more with a new token: the link, and the audit's search."""
    world.work()
    world.front.revokes_at.add("remote_link")
    world.work()
    [issue] = world.site.issues
    assert len(issue.remote_links) == 1
    world.clock.advance(SETTLE)
    world.front.revokes_at.add("search")
    world.work()
    follow_ups = [(attempt.step, attempt.outcome) for attempt in world.detail().attempts[1:]]
    assert follow_ups == [("link_back", "ok"), ("audit", "ok")]
    assert world.front.asked["token"] == 3


@pytest.mark.parametrize("spoil", ["is_token_server_down", "is_site_silent"])
def test_without_token_server_or_site_id_work_waits(pool: Pool, spoil: str) -> None:
    """While there is no token, or no cloud id, the sync waits as for a Jira that is away, and goes on."""
    world = new_world(pool, oauth())
    try:
        setattr(world.front, spoil, True)
        world.work()
        assert world.stands() == ("retry_wait", "not_reached")
        assert world.front.asked["gateway"] == 0
        setattr(world.front, spoil, False)
        world.work_until(is_done)
        assert len(world.site.issues) == 1
    finally:
        world.close()


@pytest.mark.parametrize("account", [scoped(), oauth()], ids=["scoped", "OAuth"])
@pytest.mark.parametrize("lacks", ["issue", "search"])
def test_a_missing_scope_parks_the_site_and_does_not_flap(
    pool: Pool, account: JiraAccount, lacks: str
) -> None:
    """A missing scope parks the site; one sync probes it every 15 minutes, and `/myself` is not asked."""
    world = new_world(pool, account)
    try:
        world.front.lacks.add(lacks)
        world.work()
        assert world.stands() == ("blocked", "scope_missing")
        assert world.state().parked
        asked = world.front.asked["gateway"]
        for _ in range(29):
            world.clock.advance(30)
            world.probe()
            world.work()
        assert world.front.asked["gateway"] == asked
        world.clock.advance(31)
        for _ in range(5):
            world.probe()
            world.work()
        assert world.stands() == ("blocked", "scope_missing")
        assert endpoints(world).count("myself") == 0
        assert world.front.asked["token"] <= 1
        tries = [attempt for attempt in world.detail().attempts if attempt.reason == "scope_missing"]
        assert len(tries) == 2
        world.front.lacks.clear()
        world.work_until(is_done, 1_000)
        assert len(world.site.issues) == 1
    finally:
        world.close()


def test_one_sync_probes_for_all(world: LoginWorld) -> None:
    """Only the sync that met the missing scope probes; when it is accepted all others go on."""
    world.front.lacks.add("issue")
    world.work()
    first = world.thread[1]
    others = []
    for _ in range(3):
        another_session(world)
        others.append(world.thread[1])
        world.work()
        assert world.stands() == ("blocked", "scope_missing")
    world.clock.advance(901)
    world.probe()
    waiting = []
    for thread_ts in (first, *others):
        world.open_session(thread_ts)
        if world.state().state == "pending":
            waiting.append(thread_ts)
    assert waiting == [first]
    world.front.lacks.clear()
    world.open_session(first)
    world.work()
    assert is_done(world)
    assert world.store.trouble_of(world.target.site).reason is None
    for thread_ts in others:
        world.open_session(thread_ts)
        assert world.state().state == "pending"
        world.work_until(is_done)
    assert len(world.site.issues) == 4


def test_a_probe_is_taken_over_when_its_sync_was_given_up(world: LoginWorld) -> None:
    """When the sync that met the missing scope waits no longer, another one probes; without any it ends."""
    world.front.lacks.add("issue")
    world.work()
    first = world.session_id
    another_session(world)
    world.work()
    world.store.give_up(first, actor="ann", reason="not needed")
    world.clock.advance(901)
    world.probe()
    assert world.state().state == "pending"
    world.work()
    assert world.stands() == ("blocked", "scope_missing")
    world.store.give_up(world.session_id, actor="ann", reason="not needed")
    world.clock.advance(901)
    world.probe()
    assert world.store.trouble_of(world.target.site).reason is None


def test_a_missing_scope_in_doubt(world: LoginWorld) -> None:
    """A look without its scope parks the site and proves no absence; with the scope the ticket is found."""
    world.site.fail("create", CommitThenDrop())
    world.work()
    world.front.lacks |= {"bulkfetch", "search"}
    world.clock.advance(6)
    world.work()
    assert world.stands() == ("unknown", "look_refused")
    assert world.store.trouble_of(world.target.site).reason == "scope_missing"
    for _ in range(200):
        world.clock.advance(60)
        world.probe()
        world.work()
    assert (world.stands(), len(world.site.issues)) == (("unknown", "look_refused"), 1)
    world.front.lacks.clear()
    world.work_until(is_done)
    assert (world.state().origin, len(world.site.issues)) == ("found", 1)
    assert world.store.trouble_of(world.target.site).reason is None


def test_an_operator_need_not_wait_for_the_probe(world: LoginWorld) -> None:
    """A retry of all that is blocked goes on at once after the token got its scope."""
    world.front.lacks.add("search")
    world.work()
    world.front.lacks.clear()
    world.store.retry_all_blocked(actor="ann", reason="it has the scope")
    world.work()
    assert is_done(world)


def test_a_follow_up_without_its_scope_fails_alone(world: LoginWorld) -> None:
    """A link that lacks its scope is given up by itself; other syncs go on."""
    world.front.lacks.add("remote_link")
    world.work()
    first = world.thread[1]
    for _ in range(8):
        world.clock.advance(300)
        world.work()
    assert world.store.trouble_of(world.target.site).reason is None
    another_session(world)
    world.work()
    assert is_done(world)
    world.open_session(first)
    world.work_until(lambda world: world.state().next_attempt_at is None)
    assert {attempt.outcome for attempt in world.detail().attempts if attempt.step == "link_back"} == {
        "unclear"
    }


def to_the_end_of_doubt(world: LoginWorld) -> None:
    world.work_until(lambda world: world.state().state in ("done", "review"))


def test_absence_under_another_account_needs_a_ticket_of_the_first_one(pool: Pool) -> None:
    """Without a ticket that shows what the new account sees, absence goes to an operator and stays open."""
    world = new_world(pool, classic())
    try:
        world.site.fail("create", DropBeforeCommit())
        world.work()
        world.log_in(oauth())
        to_the_end_of_doubt(world)
        assert world.stands() == ("review", "cannot_see")
        for _ in range(2):
            world.store.retry(world.session_id, actor="ann", reason="again")
            assert world.state().state == "unknown"
            to_the_end_of_doubt(world)
        assert (world.stands(), world.site.issues) == (("review", "cannot_see"), ())
        world.log_in(classic())
        world.store.retry(world.session_id, actor="ann", reason="with the account that sent it")
        world.work_until(is_done)
        assert len(world.site.issues) == 1
    finally:
        world.close()


@pytest.mark.parametrize("token", ["hunter2", "another"])
def test_another_token_of_the_same_account_sees_the_same(pool: Pool, token: str) -> None:
    """Another token of the account, or the same one at the gateway, is the same sender: absence counts."""
    world = new_world(pool, classic())
    try:
        world.site.fail("create", DropBeforeCommit())
        world.work()
        world.front.accounts[BOT[0]] = token
        world.log_in(scoped((BOT[0], token)))
        world.work_until(is_done)
        assert len(world.site.issues) == 1
    finally:
        world.close()


def test_an_account_that_has_read_a_ticket_of_the_first_one(pool: Pool) -> None:
    """A new account that reads what the first one created sees enough for absence to count."""
    world = new_world(pool, classic())
    try:
        world.work()
        assert is_done(world)
        another_session(world)
        world.site.fail("create", DropBeforeCommit())
        world.work()
        world.log_in(oauth())
        world.work_until(is_done)
        assert (tickets_of_the_thread(world), len(world.site.issues)) == (1, 2)
    finally:
        world.close()


@pytest.mark.parametrize("fault", [DropBeforeCommit(), CommitThenDrop()], ids=["absent", "hidden"])
def test_an_account_that_sees_only_its_own_creates_nothing_again(pool: Pool, fault: Any) -> None:
    """A ticket that the new account cannot see is not created again, and is found once it can."""
    world = new_world(pool, classic())
    try:
        world.work()
        another_session(world)
        world.site.fail("create", fault)
        world.work()
        world.front.blind.add(CLIENT.client_id)
        world.log_in(oauth())
        to_the_end_of_doubt(world)
        assert world.stands() == ("review", "cannot_see")
        existing = tickets_of_the_thread(world)
        assert existing == (1 if isinstance(fault, CommitThenDrop) else 0)
        world.front.blind.clear()
        world.store.retry(world.session_id, actor="ann", reason="it may browse the project now")
        world.work_until(is_done)
        assert tickets_of_the_thread(world) == 1
        assert world.state().origin == ("found" if existing else "created")
    finally:
        world.close()


def test_a_create_of_before_counts_as_another_accounts(pool: Pool) -> None:
    """A create whose sender was not recorded is not taken for our own."""
    world = new_world(pool, classic())
    try:
        world.site.fail("create", DropBeforeCommit())
        world.work()
        with pool.connection() as connection:
            connection.execute("UPDATE sync_attempts SET account = NULL")
        to_the_end_of_doubt(world)
        assert world.stands() == ("review", "cannot_see")
    finally:
        world.close()
