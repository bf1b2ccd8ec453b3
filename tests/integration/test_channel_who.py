"""A channel's `who`, held by the worker in each command's own statement."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.servers import ask
from threadsync.actors import NamedActor, SlackActor
from threadsync.channel_settings.values import read_settings
from threadsync.command import Command
from threadsync.commands import GetOrCreate, Link, MarkSynced, MergeContext, RequestSync, Unlink, UpdateStatus
from threadsync.errors import ThreadsyncError
from threadsync.syncs import Draft
from worker.db import AsyncSessionStore, SessionStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.operate.importing.bookmark import Tally
from worker.operate.importing.importer import Importer
from worker.operate.importing.lines import Place
from worker.operate.importing.parsing import BadLine

CHANNEL, THREAD = "C0123", "1700000000.000100"
ANN: Final = SlackActor(user_id="U1", team_id="T1", groups=("S1",))
BOB: Final = SlackActor(user_id="U2", team_id="T1", groups=("S2",))
EVE: Final = SlackActor(user_id="U3", team_id="T9", member=False)
CLI: Final = NamedActor(name="Ann", via="cli")
NIL: Final = UUID(int=0)

_THREAD: Final[dict[str, Any]] = {"channel_id": CHANNEL, "thread_ts": THREAD}
COMMANDS: Final[Mapping[str, Callable[[Any], Command[Any]]]] = {
    "get_or_create": lambda actor: GetOrCreate(**_THREAD, user_id="U1", actor=actor),
    "update_status": lambda actor: UpdateStatus(**_THREAD, status="ready_to_sync", actor=actor),
    "request_sync": lambda actor: RequestSync(
        **_THREAD, draft=Draft(summary="x"), drafted_at="1700000001.000100", actor=actor
    ),
    "mark_synced": lambda actor: MarkSynced(**_THREAD, jira_key="PROJ-1", actor=actor),
    "link": lambda actor: Link(**_THREAD, jira_key="PROJ-1", actor=actor, command_id=uuid4()),
    "unlink": lambda actor: Unlink(
        **_THREAD, jira_key="PROJ-1", actor=actor, reason="another", command_id=uuid4()
    ),
    "merge_context": lambda actor: MergeContext(
        channel_id=CHANNEL, patch={"topic": "x"}, command_id=uuid4(), actor=actor
    ),
}
_STATE: Final = """
SELECT md5(concat(
    (SELECT json_agg(t ORDER BY id) FROM thread_sessions t),
    (SELECT json_agg(s ORDER BY session_id) FROM syncs s),
    (SELECT json_agg(c) FROM channel_context c), (SELECT count(*) FROM channel_context_commands),
    (SELECT count(*) FROM session_acts), (SELECT count(*) FROM channel_acts)
))
"""


async def let_act(store: AsyncSessionStore, who: Any) -> None:
    await store.merge_channel_context(CHANNEL, {"threadsync": {"who": who}}, uuid4())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("exists", [True, False])
async def test_who_is_not_among_them_changes_nothing(
    any_way: AsyncSessionStore, database_url: str, command: str, exists: bool
) -> None:
    """A command of a person who is not among them is refused, writes nothing, and is no error."""
    if exists:
        await any_way.get_or_create_session(CHANNEL, THREAD, "U9")
        await any_way.mark_synced(CHANNEL, THREAD, "PROJ-1")
    await let_act(any_way, ["U1", "S9"])
    before = ask(database_url, _STATE)
    result = await any_way.run(COMMANDS[command](BOB))
    assert result.outcome == "refused"
    assert ask(database_url, _STATE) == before
    if command != "merge_context":
        known = await any_way.get_session_by_thread(CHANNEL, THREAD)
        assert (result.id, result.jira_key) == ((known.id, "PROJ-1") if known else (NIL, None))


OTHERS: Final = {"among them": ANN, "command line": CLI, "program": None}
# Acts on a ticket have an actor always.
ALLOWED: Final = [
    (name, by) for name in COMMANDS for by in OTHERS if OTHERS[by] or name not in ("link", "unlink")
]


@pytest.mark.parametrize(("command", "by"), ALLOWED)
async def test_others_may(any_way: AsyncSessionStore, command: str, by: str) -> None:
    """Who is among them may, and so may operators and programs, who are no people of Slack."""
    await any_way.get_or_create_session(CHANNEL, THREAD, "U9")
    await let_act(any_way, ["U1"])
    assert (await any_way.run(COMMANDS[command](OTHERS[by]))).outcome != "refused"


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (["U1"], {"ann"}),
        (["S2"], {"bob"}),
        (["U1", "S2"], {"ann", "bob"}),
        ("workspace", {"ann", "bob"}),
        ("everyone", {"ann", "bob", "eve"}),
        (None, {"ann", "bob", "eve"}),
    ],
)
async def test_who_may(any_way: AsyncSessionStore, who: Any, may: set[str]) -> None:
    """People are let act by id or group; guests and people from elsewhere not where members are."""
    await let_act(any_way, who)
    outcomes = {
        name: (await any_way.run(COMMANDS["get_or_create"](actor))).outcome
        for name, actor in (("ann", ANN), ("bob", BOB), ("eve", EVE))
    }
    assert {name for name, outcome in outcomes.items() if outcome != "refused"} == may


JUNK: Final = st.one_of(
    st.none(),
    st.integers(),
    # Postgres keeps no NUL, and `channels.merge_context` refuses it.
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    st.lists(
        st.sampled_from(["U1", "U2", "S1", "", "U 1", "x" * 64, "x" * 65, "ü"]) | st.integers(), max_size=4
    ),
    st.lists(st.integers(0, 120).map(lambda number: f"U{number}"), min_size=99, max_size=110),
    st.dictionaries(st.sampled_from(["U1"]), st.booleans(), max_size=1),
)


@given(JUNK)
@settings(suppress_health_check=list(HealthCheck), max_examples=60)
def test_the_statement_and_the_contract_read_the_same(database_url: str, who: Any) -> None:
    """What the contract takes for a list keeps out who is not in it, and nothing else keeps anybody out."""
    read = read_settings({"threadsync": {"who": who}}).settings.who
    among = read is None or isinstance(read, str) or "U1" in read or "S1" in read
    may = ask(
        database_url,
        "SELECT threadsync_may_act(%s::jsonb, %s::jsonb)",
        json.dumps(who),
        ANN.model_dump_json(exclude_none=True),
    )
    assert may == among


async def test_no_group_is_stored(any_way: AsyncSessionStore, database_url: str) -> None:
    """A person's groups are for the moment: none is stored with what the person did."""
    await any_way.run(COMMANDS["get_or_create"](ANN))
    await any_way.run(COMMANDS["request_sync"](ANN))
    stored = ask(
        database_url,
        "SELECT concat(opened_by, ready_by, (SELECT drafted_by FROM syncs)) FROM thread_sessions",
    )
    assert "U1" in str(stored)
    assert "S1" not in str(stored)


async def test_the_channels_other_id_has_the_same_people(any_way: AsyncSessionStore) -> None:
    """A command under the channel's other id is held to the same `who`."""
    await let_act(any_way, ["U1"])
    await any_way.channel_moved(CHANNEL, "C0NEW")
    command = GetOrCreate(channel_id="C0NEW", thread_ts=THREAD, user_id="U2", actor=BOB)
    assert (await any_way.run(command)).outcome == "refused"


def test_a_retry_is_held_to_it_too(pool: Pool, store: SessionStore) -> None:
    """A retry of a person who is not among them is refused, and recorded nowhere."""
    session = store.run(COMMANDS["get_or_create"](None))
    store.run(COMMANDS["request_sync"](None))
    syncs = SyncStore(pool)
    assert syncs.give_up(session.id, actor="ann", reason="not now")
    store.merge_channel_context(CHANNEL, {"threadsync": {"who": ["U1"]}}, uuid4())
    retried: dict[str, Any] = {"actor": "U", "reason": "button"}
    assert syncs.retry_once(session.id, **retried, acted_by=BOB, command_id=uuid4()) == "refused"
    assert [item.action for item in syncs.actions(session.id)] == ["give_up"]
    assert syncs.retry_once(session.id, **retried, acted_by=ANN, command_id=uuid4()) == "applied"


class Lines:
    """A listener that keeps the bad lines."""

    def __init__(self) -> None:
        self.found: list[BadLine] = []

    def advance(self, place: Place, tally: Tally) -> None:
        pass

    def bad(self, lines: Sequence[BadLine]) -> None:
        self.found.extend(lines)

    def say(self, sentence: str) -> None:
        raise AssertionError(sentence)


def test_an_import_names_the_lines_that_are_refused(store: SessionStore) -> None:
    """A line of a person who may not act there is bad, and not counted; the lines beside it are imported."""
    store.merge_channel_context(CHANNEL, {"threadsync": {"who": ["U1"]}}, uuid4())
    lines = [
        {"channel_id": CHANNEL, "thread_ts": "1.1", "user_id": "U9"},
        {"channel_id": "C0FREE", "thread_ts": "1.1", "user_id": "U9", "status": "ready_to_sync"},
        {"channel_id": CHANNEL, "thread_ts": "1.2", "user_id": "U9", "jira_key": "PROJ-1"},
    ]
    blocks = iter(["\n".join(map(json.dumps, lines)).encode(), b""])
    listener, tally = Lines(), Tally()
    importer = Importer(
        store,
        None,
        listener,
        place=Place(),
        tally=tally,
        patience=0,
        stopped=lambda: False,
        actor=BOB,
    )
    assert importer.run(lambda: next(blocks))
    assert (tally.created, tally.unchanged, tally.bad) == (1, 0, 2)
    reason = "the channel's settings do not let this person act"
    assert [(line.number, line.reason) for line in listener.found] == [(1, reason), (3, reason)]
    assert store.get_session_by_thread(CHANNEL, "1.1") is None


def test_an_unknown_actor_is_no_way_around_it(store: SessionStore) -> None:
    """A message with an actor of another shape is refused before it reaches Postgres."""
    with pytest.raises(ThreadsyncError):
        GetOrCreate.from_message((), {**_THREAD, "user_id": "U1", "actor": {"user_id": "U1"}})
