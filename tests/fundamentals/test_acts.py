"""`link` and `unlink` are a person's commands: each is carried out once, in the order of arrival.

Between two of them the other commands on a session commute, as everywhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from threadsync.actors import NamedActor, SlackActor
from threadsync.errors import InvalidCommand, JiraKeyConflict, SessionNotFound
from threadsync.syncs import Draft
from worker.db import AsyncSessionStore, SessionStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore

CHANNEL, THREAD = "C0123ABCD", "1700000000.000100"
ANN: Final = SlackActor(user_id="U0456", team_id="T0123")
DRAFT: Final = Draft(summary="It is broken")
threads = (f"{1_600_000_000 + number}.000100" for number in itertools.count())


async def opened(store: AsyncSessionStore, *keys: str) -> None:
    """Open a session that is linked to these tickets, one after the other."""
    await store.get_or_create_session(CHANNEL, THREAD, "U0456")
    for number, key in enumerate(keys):
        await store.link(CHANNEL, THREAD, key, ANN, uuid4())
        if number < len(keys) - 1:
            await store.unlink(CHANNEL, THREAD, key, ANN, "another one", uuid4())


async def test_link_and_unlink_give_and_take(any_store: AsyncSessionStore) -> None:
    """The session is `collecting` again without its ticket."""
    await opened(any_store)
    linked = await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, uuid4())
    assert (linked.outcome, linked.status, linked.jira_key) == ("applied", "synced", "PROJ-1")
    left = await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "a slip", uuid4())
    assert (left.outcome, left.status, left.jira_key) == ("applied", "collecting", None)


async def test_a_machine_does_not_link_again_what_a_person_unlinked(any_store: AsyncSessionStore) -> None:
    """A late `mark_synced` is stale after an unlink; a person may link the ticket again."""
    await opened(any_store, "PROJ-1")
    await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "a slip", uuid4())
    echo = await any_store.mark_synced(CHANNEL, THREAD, "PROJ-1")
    assert (echo.outcome, echo.status, echo.jira_key) == ("stale", "collecting", None)
    again = await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, uuid4())
    assert (again.outcome, again.jira_key) == ("applied", "PROJ-1")
    assert (await any_store.mark_synced(CHANNEL, THREAD, "PROJ-1")).outcome == "unchanged"


async def test_an_echo_of_a_former_ticket_is_no_conflict(any_store: AsyncSessionStore) -> None:
    """The session has another ticket by then, which a person chose: the late `mark_synced` is stale."""
    await opened(any_store, "PROJ-1", "PROJ-2")
    assert (await any_store.mark_synced(CHANNEL, THREAD, "PROJ-1")).outcome == "stale"
    with pytest.raises(JiraKeyConflict):
        await any_store.mark_synced(CHANNEL, THREAD, "PROJ-3")


async def test_an_act_is_carried_out_once(any_store: AsyncSessionStore) -> None:
    """A command that is delivered again, however late, does not undo what others did since."""
    await opened(any_store)
    linking, leaving = uuid4(), uuid4()
    await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, linking)
    assert (await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, linking)).outcome == "unchanged"
    await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "a slip", leaving)
    again = await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, linking)
    assert (again.outcome, again.jira_key) == ("stale", None)
    await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, uuid4())
    kept = await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "a slip", leaving)
    assert (kept.outcome, kept.jira_key) == ("stale", "PROJ-1")


async def test_an_act_is_carried_out_once_whichever_thread_it_names(any_store: AsyncSessionStore) -> None:
    """`/ticket unlink` without a thread takes the only thread with a ticket; later that is another one."""
    await opened(any_store)
    other = "1700000009.000100"
    await any_store.get_or_create_session(CHANNEL, other, "U0456")
    linking, leaving = uuid4(), uuid4()
    await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, linking)
    again = await any_store.link(CHANNEL, other, "PROJ-1", ANN, linking)
    assert (again.outcome, again.thread_ts, again.jira_key) == ("stale", other, None)
    await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "a slip", leaving)
    await any_store.link(CHANNEL, other, "PROJ-2", ANN, uuid4())
    kept = await any_store.unlink(CHANNEL, other, "PROJ-2", ANN, "a slip", leaving)
    assert (kept.outcome, kept.thread_ts, kept.jira_key) == ("stale", other, "PROJ-2")


async def test_a_refused_act_stays_refused(any_store: AsyncSessionStore) -> None:
    """A refused command that is delivered again does not happen: the person was told that it failed."""
    await opened(any_store, "PROJ-1")
    linking = uuid4()
    for _ in range(2):
        with pytest.raises(JiraKeyConflict) as refusal:
            await any_store.link(CHANNEL, THREAD, "PROJ-2", ANN, linking)
        assert (refusal.value.jira_key, refusal.value.refused_key) == ("PROJ-1", "PROJ-2")
        await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "a slip", uuid4())


async def test_an_older_draft_makes_no_other_ticket(any_store: AsyncSessionStore, pool: Pool) -> None:
    """Only a draft from after the unlink makes another ticket."""
    await opened(any_store)
    assert (await any_store.request_sync(CHANNEL, THREAD, DRAFT, "1700000100.000000")).outcome == "applied"
    await any_store.link(CHANNEL, THREAD, "PROJ-1", ANN, uuid4())
    left = await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "no", uuid4(), "1700000200.000000")
    syncs = SyncStore(pool)
    for drafted_at in ("1700000100.000000", "1700000150.000000", "1700000200.000000"):
        late = await any_store.request_sync(CHANNEL, THREAD, DRAFT, drafted_at)
        assert (late.outcome, late.status) == ("stale", "collecting")
    state = syncs.get_state(left.id)
    assert state is not None
    assert (state.state, state.reason, state.next_attempt_at) == ("failed", "unlinked", None)
    assert not syncs.retry(left.id, actor="ann", reason="again")
    asked = await any_store.request_sync(CHANNEL, THREAD, DRAFT, "1700000200.000001")
    assert (asked.outcome, asked.status) == ("applied", "ready_to_sync")
    state = syncs.get_state(left.id)
    assert state is not None
    assert state.state == "pending"


async def test_an_older_draft_is_stale_without_a_sync_too(any_store: AsyncSessionStore) -> None:
    """A draft from before the unlink is stale, also where the session never had a sync."""
    await opened(any_store, "PROJ-1")
    await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "no", uuid4())
    assert (await any_store.request_sync(CHANNEL, THREAD, DRAFT, "1700000100.000000")).outcome == "stale"


async def test_an_act_needs_an_actor_and_an_unlink_a_reason(any_store: AsyncSessionStore, pool: Pool) -> None:
    """Actor and reason are kept in the audit trail."""
    await opened(any_store, "PROJ-1")
    with pytest.raises(InvalidCommand):
        await any_store.unlink(CHANNEL, THREAD, "PROJ-1", ANN, "  ", uuid4())
    with pytest.raises(InvalidCommand):
        await any_store.link(CHANNEL, THREAD, "PROJ-1", {"name": "ann"}, uuid4())  # type: ignore[arg-type]
    left = await any_store.unlink(
        CHANNEL, THREAD, "PROJ-1", NamedActor(name="ann", via="cli"), "a slip", uuid4()
    )
    (linked, unlinked) = SyncStore(pool).actions(left.id)
    assert (linked.action, linked.by, linked.jira_key) == ("link", "U0456 of T0123 in Slack", "PROJ-1")
    assert (unlinked.action, unlinked.by, unlinked.reason) == ("unlink", "ann (cli)", "a slip")


@dataclass
class Model:
    """A model of one session's row."""

    status: str | None = None
    key: str | None = None
    left: set[str] = field(default_factory=set)
    done: dict[UUID, tuple[str, str, str]] = field(default_factory=dict)

    def act(self, act: str, key: str, command_id: UUID) -> str:
        if self.status is None:
            return "not found"
        if command_id in self.done:
            act, key, outcome = self.done[command_id]
            if outcome in ("stale", "conflict"):
                return outcome
            return "unchanged" if self.key == (key if act == "link" else None) else "stale"
        if act == "link":
            outcome = "applied" if self.key is None else "unchanged" if self.key == key else "conflict"
        else:
            outcome = "applied" if self.key == key else "stale"
        self.done[command_id] = (act, key, outcome)
        if outcome == "applied":
            linked = act == "link"
            self.key, self.status = (key, "synced") if linked else (None, "collecting")
            (self.left.discard if linked else self.left.add)(key)
        return outcome

    def machine(self, name: str) -> None:
        """Carry out one command of a machine, in good order."""
        if name == "open":
            self.status = self.status or "collecting"
        elif self.status is None or self.key:
            return
        elif name.startswith("PROJ"):
            if name not in self.left:
                self.key, self.status = name, "synced"
        elif name == "ready":
            self.status = "ready_to_sync"


MACHINES: Final = st.lists(st.sampled_from(["open", "collect", "ready", "PROJ-1"]), max_size=4)
ACTS: Final = st.tuples(
    st.sampled_from(["link", "unlink"]), st.sampled_from(["PROJ-1", "PROJ-2"]), st.integers(0, 5)
)


@given(data=st.data(), rounds=st.lists(st.tuples(MACHINES, ACTS), min_size=1, max_size=6))
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
def test_acts_obey_the_table_and_between_them_commands_commute(
    store: SessionStore, data: st.DataObject, rounds: Sequence[tuple[list[str], tuple[str, str, int]]]
) -> None:
    """Commands of machines come shuffled and twice, then one of a person, perhaps an old one; repeat."""
    thread, model = next(threads), Model()
    ids = [uuid4() for _ in range(6)]
    for machines, (act, key, number) in rounds:
        shuffled = data.draw(st.permutations([*machines, *machines]))
        for name in sorted(shuffled, key=lambda name: name != "open"):
            model.machine(name)
        for name in shuffled:
            deliver(store, thread, name)
        # A command that found no session is delivered again, as by a worker.
        for name in shuffled:
            deliver(store, thread, name)
        assert how_it_stands(store, thread) == (model.status, model.key)
        assert carry_out(store, thread, act, key, ids[number]) == model.act(act, key, ids[number])
        assert how_it_stands(store, thread) == (model.status, model.key)


def deliver(store: SessionStore, thread: str, name: str) -> None:
    try:
        if name == "open":
            store.get_or_create_session(CHANNEL, thread, "U0456")
        elif name.startswith("PROJ"):
            store.mark_synced(CHANNEL, thread, name)
        else:
            store.update_status(CHANNEL, thread, "collecting" if name == "collect" else "ready_to_sync")
    except (SessionNotFound, JiraKeyConflict):
        pass


def carry_out(store: SessionStore, thread: str, act: str, key: str, command_id: UUID) -> str:
    try:
        if act == "link":
            return store.link(CHANNEL, thread, key, ANN, command_id).outcome
        return store.unlink(CHANNEL, thread, key, ANN, "because", command_id).outcome
    except SessionNotFound:
        return "not found"
    except JiraKeyConflict:
        return "conflict"


def how_it_stands(store: SessionStore, thread: str) -> tuple[Any, Any]:
    session = store.get_session_by_thread(CHANNEL, thread)
    return (session.status, session.jira_key) if session else (None, None)
