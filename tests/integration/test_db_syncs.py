"""The SQL of syncs: drafts in any order, claims and fences, and operators' decisions."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.endings import state_after
from threadsync.channel_settings.resolution import Defaults, Sourced
from threadsync.errors import InvalidCommand, SessionNotFound
from threadsync.syncs import Draft, SyncState
from worker.db import SessionStore
from worker.db.pool import Pool
from worker.db.syncs.claim import Claim, Ending
from worker.db.syncs.store import SyncStore

CHANNEL, THREAD, SITE = "C0123ABCD", "1700000000.000100", "jira.example"
EARLY, LATE = "1700000001.000100", "1700000002.000100"
MARKER = "slk-" + "a" * 26


class Clock:
    def __init__(self) -> None:
        # The session commands use the database's clock.
        self.now = datetime.now(UTC) + timedelta(seconds=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def syncs(pool: Pool, clock: Clock) -> SyncStore:
    return SyncStore(pool, clock)


@pytest.fixture
def asked(store: SessionStore, syncs: SyncStore) -> SyncState:
    """Create a session with a requested ticket, and return its sync."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U1")
    store.request_sync(CHANNEL, THREAD, Draft(summary="First"), EARLY)
    return state(syncs, session.id)


def state(syncs: SyncStore, session_id: Any) -> SyncState:
    found = syncs.get_state(session_id)
    assert found is not None
    return found


def claim(syncs: SyncStore, session_id: Any) -> Claim:
    claimed = syncs.claim(session_id, site=SITE, lease=30)
    assert claimed is not None
    return claimed


def begin(syncs: SyncStore, claimed: Claim, **changes: Any) -> int | None:
    arguments: dict[str, Any] = {
        "site": SITE,
        "project_key": "PROJ",
        "defaults": Defaults(Sourced("PROJ", "settings"), Sourced("Task", "settings")),
        "baseline": 7,
        "at_once": 1,
        "deadline": 15,
        "turn": 3,
        "lease": 35,
    }
    begun = syncs.begin_create(claimed, **{**arguments, **changes})
    return begun.number if begun else None


def created(number: int, key: str = "PROJ-8") -> Ending:
    return Ending("done", "create", "created", jira_id="1", jira_key=key, origin="created", number=number)


def test_asking_makes_the_session_ready(store: SessionStore, syncs: SyncStore) -> None:
    """A session without a draft has no sync; a request makes it ready and starts one."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U1")
    store.update_status(CHANNEL, THREAD, "ready_to_sync")
    assert syncs.get_state(session.id) is None
    result = store.request_sync(CHANNEL, THREAD, Draft(summary="First"), EARLY)
    assert (result.outcome, result.status) == ("applied", "ready_to_sync")
    assert state(syncs, session.id).state == "pending"


def test_asking_for_an_unknown_thread_waits_for_it(store: SessionStore) -> None:
    """A request for an unknown thread raises SessionNotFound."""
    with pytest.raises(SessionNotFound):
        store.request_sync(CHANNEL, THREAD, Draft(summary="First"), EARLY)


DRAFTS = [(Draft(summary="First"), EARLY), (Draft(summary="Zweiter"), LATE), (Draft(summary="Third"), LATE)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_drafts_come_in_any_order(store: SessionStore, syncs: SyncStore, order: tuple[int, ...]) -> None:
    """The draft with the latest Slack time wins in any order, and a tie has always the same winner."""
    session = store.get_or_create_session(CHANNEL, THREAD, "U1")
    for number in (*order, *order):
        store.request_sync(CHANNEL, THREAD, *DRAFTS[number])
    detail = syncs.get(session.id)
    assert detail is not None
    assert detail.draft.summary == "Zweiter"
    assert state(syncs, session.id).state == "pending"


def test_what_a_repeated_request_answers(store: SessionStore, asked: SyncState) -> None:
    """A repeated request is unchanged, an older one stale, a newer one applied until there is a ticket."""
    del asked
    draft = Draft(summary="First")
    assert store.request_sync(CHANNEL, THREAD, draft, EARLY).outcome == "unchanged"
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="Old"), "1600000000.000100").outcome == "stale"
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="New"), LATE).outcome == "applied"
    store.mark_synced(CHANNEL, THREAD, "PROJ-1")
    assert (
        store.request_sync(CHANNEL, THREAD, Draft(summary="Newer"), "1700000009.000100").outcome
        == "unchanged"
    )


@pytest.mark.parametrize(
    "draft",
    [
        {"summary": " "},
        {"summary": "x", "labels": ["a", " "]},
        {"summary": "nul\x00"},
        {"summary": "half \ud800"},
        {"summary": "x" * 10_001},
        {"summary": "x", "project_key": "proj"},
        {"description": "no summary"},
    ],
    ids=lambda draft: ascii(draft)[:40],
)
def test_a_wrong_draft_is_refused_with_its_fault(store: SessionStore, draft: dict[str, Any]) -> None:
    """A wrong draft is refused without its text in the message."""
    store.get_or_create_session(CHANNEL, THREAD, "U1")
    with pytest.raises(InvalidCommand, match="draft") as refusal:
        store.request_sync(CHANNEL, THREAD, draft, EARLY)  # type: ignore[arg-type]
    assert "no summary" not in str(refusal.value)


def test_one_worker_at_a_time(syncs: SyncStore, asked: SyncState, clock: Clock) -> None:
    """A second worker gets no claim before the lease ends; then the first worker's writes do nothing."""
    first = claim(syncs, asked.session_id)
    assert syncs.claim(asked.session_id, site=SITE, lease=30) is None
    clock.now += timedelta(seconds=31)
    second = claim(syncs, asked.session_id)
    assert second.fence > first.fence
    assert begin(syncs, first) is None
    assert not syncs.has_claim(first)
    assert syncs.finish(first, Ending("failed", "search", None, reason="draft_refused")) is None
    assert state_after(syncs, second, Ending("retry_wait", "search", None, 5, "not_reached")) == "retry_wait"


def test_an_attempt_is_on_record_before_it_is_made(syncs: SyncStore, asked: SyncState) -> None:
    """A create is recorded with its deadline before it is sent."""
    number = begin(syncs, claim(syncs, asked.session_id))
    detail = syncs.get(asked.session_id)
    assert detail is not None
    assert detail.sync.state == "inflight"
    (attempt,) = detail.attempts
    assert (attempt.number, attempt.step, attempt.outcome) == (number, "create", None)
    assert attempt.deadline == attempt.started_at + timedelta(seconds=15)


def test_a_create_whose_worker_died_is_in_doubt(syncs: SyncStore, asked: SyncState, clock: Clock) -> None:
    """A create whose worker died becomes `unknown`, never `pending`, as it may have made a ticket."""
    begin(syncs, claim(syncs, asked.session_id))
    clock.now += timedelta(seconds=36)
    found = claim(syncs, asked.session_id)
    assert (found.state, found.baseline, found.doubtful_project) == ("unknown", 7, "PROJ")
    assert found.deadline == clock.now - timedelta(seconds=21)
    assert begin(syncs, found) is None
    detail = syncs.get(asked.session_id)
    assert detail is not None
    assert [(attempt.outcome, attempt.reason) for attempt in detail.attempts] == [("unknown", "worker_died")]


def test_a_ticket_and_its_session_change_in_one_moment(
    store: SessionStore, syncs: SyncStore, asked: SyncState
) -> None:
    """A sync ends in the same write in which its session gets the ticket."""
    claimed = claim(syncs, asked.session_id)
    number = begin(syncs, claimed)
    assert number is not None
    assert state_after(syncs, claimed, created(number)) == "done"
    session = store.get_session(asked.session_id)
    assert session is not None
    assert (session.status, session.jira_key) == ("synced", "PROJ-8")
    assert (state(syncs, asked.session_id).origin, state(syncs, asked.session_id).jira_key) == (
        "created",
        "PROJ-8",
    )


def test_a_named_ticket_closes_an_open_sync(store: SessionStore, syncs: SyncStore, asked: SyncState) -> None:
    """A named ticket closes an open sync, even under a worker that holds its claim."""
    claimed = claim(syncs, asked.session_id)
    store.mark_synced(CHANNEL, THREAD, "OTHER-1")
    assert begin(syncs, claimed) is None
    closed = state(syncs, asked.session_id)
    assert (closed.state, closed.origin, closed.jira_key) == ("done", "named", "OTHER-1")


def test_a_named_ticket_beside_a_created_one_is_for_a_person(
    store: SessionStore, syncs: SyncStore, asked: SyncState
) -> None:
    """A ticket created after another was named leads to review; the session keeps the named one."""
    claimed = claim(syncs, asked.session_id)
    number = begin(syncs, claimed)
    assert number is not None
    store.mark_synced(CHANNEL, THREAD, "OTHER-1")
    assert state_after(syncs, claimed, created(number)) == "review"
    both = state(syncs, asked.session_id)
    assert both.reason == "two_tickets"
    session = store.get_session(asked.session_id)
    assert session is not None
    assert session.jira_key == "OTHER-1"


@pytest.mark.parametrize(
    ("key", "ending", "end"),
    [
        ("PROJ-8", None, "done"),
        ("OTHER-1", Ending("retry_wait", "create", "not_sent", 5, "not_reached"), "done"),
        ("OTHER-1", Ending("failed", "create", "rejected", reason="draft_refused"), "done"),
        ("OTHER-1", Ending("unknown", "create", "unknown", 5, "no_answer"), "unknown"),
    ],
)
def test_a_ticket_named_during_the_create(
    store: SessionStore, syncs: SyncStore, asked: SyncState, key: str, ending: Ending | None, end: str
) -> None:
    """A ticket named during a create closes the sync, unless the create may have made another ticket."""
    claimed = claim(syncs, asked.session_id)
    number = begin(syncs, claimed)
    assert number is not None
    store.mark_synced(CHANNEL, THREAD, key)
    ended = replace(ending, number=number) if ending else created(number)
    assert state_after(syncs, claimed, ended) == end


@pytest.mark.parametrize(
    "ending",
    [
        Ending("failed", "create", "rejected", reason="draft_refused"),
        Ending("blocked", "create", "rejected", reason="not_found"),
        Ending("review", "create", "not_sent", reason="kept_failing"),
    ],
    ids=lambda ending: ending.state,
)
def test_a_newer_draft_tries_again_what_waited_for_a_person(
    store: SessionStore, syncs: SyncStore, asked: SyncState, ending: Ending
) -> None:
    """A newer draft starts a stopped sync again; the same draft does not."""
    claimed = claim(syncs, asked.session_id)
    number = begin(syncs, claimed)
    syncs.finish(claimed, replace(ending, number=number))
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="First"), EARLY).outcome == "unchanged"
    assert state(syncs, asked.session_id).state == ending.state
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="Better"), LATE).outcome == "applied"
    mended = state(syncs, asked.session_id)
    assert (mended.state, mended.reason) == ("pending", None)
    assert mended.next_attempt_at is not None


def test_a_draft_that_comes_too_late_is_kept(store: SessionStore, syncs: SyncStore, asked: SyncState) -> None:
    """A draft that arrives during a create is stale, but kept for a later create."""
    claimed = claim(syncs, asked.session_id)
    number = begin(syncs, claimed)
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="Late"), LATE).outcome == "stale"
    syncs.finish(claimed, Ending("retry_wait", "create", "not_sent", 0, "not_reached", number=number))
    assert claim(syncs, asked.session_id).draft == Draft(summary="Late")


@pytest.mark.parametrize("given_up", [False, True])
def test_a_retry_never_creates_past_a_doubt(
    store: SessionStore, syncs: SyncStore, asked: SyncState, given_up: bool
) -> None:
    """A retry of a create in doubt leads to `unknown`, never to another create."""
    claimed = claim(syncs, asked.session_id)
    number = begin(syncs, claimed)
    syncs.finish(claimed, Ending("unknown", "create", "unknown", 300, "no_answer", number=number))
    if given_up:
        assert syncs.give_up(asked.session_id, actor="ada", reason="not needed")
        assert state(syncs, asked.session_id).reason == "given_up"
        store.request_sync(CHANNEL, THREAD, Draft(summary="After all"), LATE)
    else:
        assert syncs.retry(asked.session_id, actor="ada", reason="again")
    found = claim(syncs, asked.session_id)
    assert found.state == "unknown"
    assert begin(syncs, found) is None


def test_nobody_gives_up_what_is_in_flight(syncs: SyncStore, asked: SyncState) -> None:
    """A create that is being sent can be neither given up nor retried."""
    begin(syncs, claim(syncs, asked.session_id))
    assert not syncs.give_up(asked.session_id, actor="ada", reason="no")
    assert not syncs.retry(asked.session_id, actor="ada", reason="no")


def test_decisions_are_on_record(syncs: SyncStore, asked: SyncState) -> None:
    """Decisions are recorded with action, actor and reason."""
    syncs.give_up(asked.session_id, actor="ada", reason="not needed")
    syncs.retry(asked.session_id, actor="ben", reason="needed after all")
    detail = syncs.get(asked.session_id)
    assert detail is not None
    assert [(action.action, action.actor, action.reason) for action in detail.actions] == [
        ("give_up", "ada", "not needed"),
        ("retry", "ben", "needed after all"),
    ]


def several(store: SessionStore, count: int) -> list[Any]:
    ids = []
    for number in range(count):
        thread = f"1700000000.{number:06}"
        ids.append(store.get_or_create_session(CHANNEL, thread, "U1").id)
        store.request_sync(CHANNEL, thread, Draft(summary="x"), EARLY)
    return ids


def marker(number: int) -> str:
    return f"slk-{'abcdefgh'[number] * 26}"


def test_one_create_a_project_at_a_time(store: SessionStore, syncs: SyncStore, clock: Clock) -> None:
    """A project gets one create at a time, unless more are allowed or the first one takes too long."""
    claims = []
    for session_id in several(store, 3):
        claimed = syncs.claim(session_id, site=SITE, lease=30)
        assert claimed is not None
        claims.append(claimed)
    first = begin(syncs, claims[0])
    assert first is not None
    assert begin(syncs, claims[1]) is None
    assert begin(syncs, claims[1], at_once=2) is not None
    clock.now += timedelta(seconds=4)
    assert begin(syncs, claims[2]) is not None


def test_the_sweep_takes_what_is_due_once(store: SessionStore, syncs: SyncStore, clock: Clock) -> None:
    """The sweep takes each due sync once, never more than asked for, and again when its message is lost."""
    ids = several(store, 4)
    assert syncs.take_due(most=10, for_seconds=60) == []
    clock.now += timedelta(seconds=16)
    assert set(syncs.take_due(most=3, for_seconds=60)) <= set(ids)
    assert len(syncs.take_due(most=3, for_seconds=60)) == 0
    assert len(syncs.take_due(most=4, for_seconds=60)) == 1
    clock.now += timedelta(seconds=61)
    assert len(syncs.take_due(most=10, for_seconds=60)) == 4


def test_a_site_that_refuses_us_parks_its_syncs(store: SessionStore, syncs: SyncStore, clock: Clock) -> None:
    """A site that refuses us blocks all its syncs with the reason, and all go on when it accepts us again."""
    ids = several(store, 3)
    first = syncs.claim(ids[0], site=SITE, lease=30)
    assert first is not None
    syncs.finish(first, Ending("blocked", "search", "auth", reason="no_access", parked=True))
    assert syncs.open_breaker(SITE, "no_access", 30) == 2
    for session_id in ids:
        parked = state(syncs, session_id)
        assert (parked.state, parked.reason, parked.parked) == ("blocked", "no_access", True)
    assert syncs.trouble_of(SITE).reason == "no_access"
    assert not syncs.take_probe(SITE, 30)
    clock.now += timedelta(seconds=31)
    assert syncs.take_probe(SITE, 30)
    assert not syncs.take_probe(SITE, 30), "one asks for all"
    assert syncs.close_breaker(SITE) == 3
    assert {state(syncs, session_id).state for session_id in ids} == {"pending"}
    assert syncs.trouble_of(SITE).reason is None


def test_a_newer_draft_does_not_unpark(store: SessionStore, syncs: SyncStore, asked: SyncState) -> None:
    """A newer draft leaves a sync of a paused site parked."""
    claimed = claim(syncs, asked.session_id)
    syncs.finish(claimed, Ending("blocked", "search", "auth", reason="no_access", parked=True))
    assert store.request_sync(CHANNEL, THREAD, Draft(summary="Newer"), LATE).outcome == "applied"
    assert state(syncs, asked.session_id).parked


def test_a_pause_of_the_site_keeps_everybody_away(
    store: SessionStore, syncs: SyncStore, clock: Clock
) -> None:
    """A site's pause holds back its syncs until it ends; a shorter pause does not shorten it."""
    ids = several(store, 2)
    claimed = syncs.claim(ids[0], site=SITE, lease=30)
    assert claimed is not None
    syncs.finish(claimed, Ending("retry_wait", "search", "throttled", 0, "rate_limit"))
    syncs.pause_site(SITE, 100)
    syncs.pause_site(SITE, 50)
    clock.now += timedelta(seconds=61)
    assert 38 < syncs.trouble_of(SITE).paused_for <= 40
    assert ids[0] not in syncs.take_due(most=10, for_seconds=1)
    clock.now += timedelta(seconds=40)
    assert ids[0] in syncs.take_due(most=10, for_seconds=1)
