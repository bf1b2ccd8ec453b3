"""`threadsync syncs` as a person runs it: real processes on a real database; no broker is needed."""

from __future__ import annotations

import json
from typing import get_args
from uuid import UUID, uuid4

import pytest

from tests.support.command_runs import Run, failure, output, run_in
from tests.support.endings import state_after
from threadsync.actors import NamedActor
from threadsync.channel_settings.resolution import Defaults, Sourced
from threadsync.syncs import Draft, SyncStatus
from worker.db import SessionStore
from worker.db.pool import Pool
from worker.db.syncs.claim import Claim, Ending
from worker.db.syncs.store import SyncStore
from worker.db.ticket_steps.store import StepKey

DRAFT = Draft(summary="Secret plans", description="of *mine*")


@pytest.fixture
def run(database_url: str, process_env: dict[str, str]) -> Run:
    """Run `threadsync` on this test's database, with a broker that is away."""
    env = {**process_env, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    return lambda *arguments: run_in(env, *arguments)


@pytest.fixture
def syncs(pool: Pool) -> SyncStore:
    return SyncStore(pool)


def ask(store: SessionStore, number: int = 1) -> UUID:
    thread = f"1700000000.{number:06}"
    session = store.get_or_create_session("C0123", thread, "U1")
    store.request_sync("C0123", thread, DRAFT, "1700000001.000100")
    return session.id


def begin(syncs: SyncStore, session_id: UUID) -> Claim:
    """Begin a create that stays in flight."""
    claim = syncs.claim(session_id, site="jira.example", lease=60)
    assert claim is not None
    begun = syncs.begin_create(
        claim,
        site="jira.example",
        project_key="PROJ",
        defaults=Defaults(Sourced("PROJ", "settings"), Sourced("Task", "settings")),
        baseline=0,
        at_once=9,
        deadline=15,
        turn=2,
        lease=60,
    )
    assert begun is not None
    return claim


def bring_to(syncs: SyncStore, session_id: UUID, ending: Ending) -> None:
    """Bring a sync to the state that this ending of its create leads to."""
    syncs.finish(begin(syncs, session_id), ending)


def test_syncs_are_listed_with_their_reasons(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """Syncs are listed by state and page, with their reasons in plain words and without the draft."""
    first, second = ask(store, 1), ask(store, 2)
    bring_to(syncs, first, Ending("blocked", "create", "auth", reason="no_access", number=1))
    text = output(run("syncs", "list"))
    assert str(first) in text
    assert "Jira rejects the credentials" in text
    assert "Secret" not in text
    blocked = json.loads(output(run("syncs", "list", "--state", "blocked", "--json")))
    assert [sync["session_id"] for sync in blocked] == [str(first)]
    page = run("syncs", "list", "--limit", "1")
    assert str(second) in page.stdout
    assert f"--cursor {second}" in page.stderr
    assert str(first) in output(run("syncs", "list", "--limit", "1", "--cursor", str(second)))


def test_the_states_to_choose_from_are_all(process_env: dict[str, str]) -> None:
    """The help names each state that a sync can be in."""
    text = output(run_in(process_env, "syncs", "list", "--help"))
    assert all(state in text for state in get_args(SyncStatus))


def test_a_sync_is_shown_with_all_that_was_tried(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """A sync is shown with its attempts, reasons, Jira's words and decisions; the draft only on request."""
    session_id = ask(store)
    ending = Ending(
        "failed",
        "create",
        "rejected",
        reason="draft_refused",
        detail="Summary is too long.",
        number=1,
        http_status=400,
        trace_id="trace-7",
    )
    bring_to(syncs, session_id, ending)
    syncs.give_up(session_id, actor="ada", reason="not needed")
    text = output(run("syncs", "show", "C0123", "1700000000.000001"))
    for shown in (
        "trace-7",
        "400",
        "Summary is too long.",
        "Jira refused the draft",
        "ada",
        "not needed",
    ):
        assert shown in text
    assert "Secret plans" not in text
    assert "Secret plans" in output(run("syncs", "show", str(session_id), "--draft"))
    detail = json.loads(output(run("syncs", "show", str(session_id), "--json")))
    assert detail["draft"]["summary"] == "Secret plans"
    assert detail["attempts"][0]["http_status"] == 400


def test_a_retry_needs_no_broker(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """A retry is only written down, so it needs no broker; the sweep sends it."""
    session_id = ask(store)
    bring_to(syncs, session_id, Ending("blocked", "create", "rejected", reason="not_found", number=1))
    text = output(
        run("syncs", "retry", str(session_id), "--reason", "the project is there now", "--actor", "ben")
    )
    assert "pending" in text
    assert "within seconds" in text
    detail = syncs.get(session_id)
    assert detail is not None
    assert detail.sync.state == "pending"
    assert [(action.actor, action.reason) for action in detail.actions] == [
        ("ben", "the project is there now")
    ]


def test_all_that_is_blocked_is_tried_again(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """A retry of all blocked syncs includes those parked with their site, and closes its breaker."""
    for number in (1, 2):
        ask(store, number)
    assert syncs.open_breaker("jira.example", "no_access", 30) == 2
    assert "Retried: 2." in output(run("syncs", "retry", "--all-blocked", "--reason", "a new token"))
    assert {sync.state for sync in syncs.list_syncs()} == {"pending"}
    assert syncs.trouble_of("jira.example").reason is None
    assert "No sync is blocked" in output(run("syncs", "retry", "--all-blocked", "--reason", "once more"))


def test_a_retry_of_what_is_parked_says_that_its_site_waits(
    run: Run, store: SessionStore, syncs: SyncStore
) -> None:
    """A retry of one parked sync names `--all-blocked`, because the sync would still wait for its site."""
    session_id = ask(store)
    syncs.open_breaker("jira.example", "no_access", 30)
    text = output(run("syncs", "retry", str(session_id), "--reason", "x"))
    assert "--all-blocked" in text
    assert "within seconds" not in text


def test_what_is_in_flight_cannot_be_changed(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """A retry or give-up during a create is refused, and says that the create is in progress."""
    session_id = ask(store)
    begin(syncs, session_id)
    for command in ("retry", "give-up"):
        assert "a create is in progress" in failure(run("syncs", command, str(session_id), "--reason", "x"))


def test_a_ticket_is_named_by_hand(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """`link` ends the sync and is recorded; a second key is refused with both names."""
    session_id = ask(store)
    text = output(
        run("syncs", "link", "C0123", "1700000000.000001", "OTHER-7", "--reason", "was there already")
    )
    assert "OTHER-7" in text
    detail = syncs.get(session_id)
    assert detail is not None
    assert (detail.sync.state, detail.sync.origin) == ("done", "named")
    assert [action.action for action in detail.actions] == ["link"]
    refused = failure(run("syncs", "link", str(session_id), "OTHER-8", "--reason", "x"))
    assert "OTHER-7" in refused
    assert "OTHER-8" in refused


def test_a_ticket_is_named_for_a_session_without_a_sync(run: Run, store: SessionStore) -> None:
    """`link` gives a session its key also where it has no sync."""
    session = store.get_or_create_session("C0123", "1700000000.000009", "U1")
    linked = json.loads(output(run("syncs", "link", str(session.id), "OTHER-7", "--reason", "x", "--json")))
    assert (linked["status"], linked["jira_key"]) == ("synced", "OTHER-7")


def test_a_link_while_a_create_is_in_flight(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """`link` during a create works at once, and warns that there may be another ticket."""
    session_id = ask(store)
    begin(syncs, session_id)
    text = output(run("syncs", "link", str(session_id), "OTHER-7", "--reason", "was there already"))
    assert "OTHER-7" in text
    assert "may have created another ticket" in text


def test_two_tickets_are_ended_by_a_retry(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """`link` with the ticket that the session has already changes nothing, and says so."""
    session_id = ask(store)
    claim = begin(syncs, session_id)
    store.mark_synced("C0123", "1700000000.000001", "OTHER-7")
    created = Ending("done", "create", "created", jira_id="1", jira_key="PROJ-1", origin="created", number=1)
    assert state_after(syncs, claim, created) == "review"
    text = output(run("syncs", "link", str(session_id), "OTHER-7", "--reason", "PROJ-1 is closed"))
    assert "still review" in text
    assert f"threadsync syncs retry {session_id}" in text


def test_giving_up_what_may_have_a_ticket_says_so(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """Giving up a sync that may have a ticket tells the operator to look in Jira."""
    session_id = ask(store)
    bring_to(syncs, session_id, Ending("unknown", "create", "unknown", reason="no_answer", number=1))
    text = output(run("syncs", "give-up", str(session_id), "--reason", "not needed"))
    assert "may have created a ticket" in text


def test_giving_up_ends_it(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """A sync that was given up stays so until it is asked for again."""
    session_id = ask(store)
    given_up = json.loads(
        output(run("syncs", "give-up", str(session_id), "--reason", "not needed", "--json"))
    )
    assert (given_up["state"], given_up["reason"]) == ("failed", "given_up")
    output(run("syncs", "retry", str(session_id), "--reason", "needed after all"))
    state = syncs.get_state(session_id)
    assert state is not None
    assert state.state == "pending"


def test_what_is_not_there(run: Run, store: SessionStore) -> None:
    """A session without a sync, an unknown session and a malformed id each get a sentence."""
    session = store.get_or_create_session("C0123", "1700000000.000009", "U1")
    assert "no ticket was requested" in failure(run("syncs", "show", str(session.id)))
    assert "no session" in failure(run("syncs", "show", "C0123", "1700000000.000010"))
    assert "--all-blocked" in failure(run("syncs", "retry", "--reason", "x"), code=2)


def test_the_steps_after_a_ticket_are_shown(run: Run, store: SessionStore, syncs: SyncStore) -> None:
    """What follows a ticket is shown with its state, also for a ticket that was only linked."""
    session_id = ask(store)
    created = Ending(
        "done", "create", "created", jira_id="10001", jira_key="PROJ-1", origin="created", number=1
    )
    bring_to(syncs, session_id, created)
    claim = syncs.steps.claim(StepKey(session_id, "10001", "link"), lease=60)
    assert claim is not None
    syncs.steps.end(claim, "rejected", http_status=400, fields=["object"])
    text = output(run("syncs", "show", str(session_id)))
    for shown in (
        "permalink of the thread",
        "given up: rejected",
        "HTTP 400: object",
        "settings of the channel",
    ):
        assert shown in " ".join(text.split())
    detail = json.loads(output(run("syncs", "show", str(session_id), "--json")))
    assert [step["step"] for step in detail["steps"]] == ["link", "plan"]
    store.get_or_create_session("C0124", "1700000000.000009", "U1")
    store.link("C0124", "1700000000.000009", "PROJ-77", NamedActor(name="ann", via="api"), uuid4())
    shown = output(run("sessions", "show", "C0124", "1700000000.000009"))
    assert "permalink of the thread" in shown
