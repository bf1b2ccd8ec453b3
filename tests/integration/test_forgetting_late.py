"""Events that arrive late, out of order or half done after a person, thread or channel was forgotten."""

from __future__ import annotations

import base64
import bz2
import json
import zlib
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import pytest
from structlog.contextvars import get_contextvars

from tests.support.endings import state_after
from tests.support.forgetting import (
    CHANNEL,
    DRAFT,
    LATER,
    MAYA,
    OTHER,
    PERSON,
    SIGNATURE,
    THREAD,
    begun,
    dump,
    owner_runs,
    without_waiting,
)
from tests.support.servers import ask
from threadsync.actors import NamedActor, SlackActor
from threadsync.command import Command
from threadsync.config import get_settings
from threadsync.errors import CommandFailed, InvalidCommand, SessionNotFound
from threadsync.lookup_commands import LinkLookup
from threadsync.reply_commands import SayReply
from threadsync.sync_commands import Follow, Leave, RetrySync, Sync
from threadsync.syncs import Draft
from worker.celery import app
from worker.cli.forget import session_of
from worker.db import AsyncSessionStore, SessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.forgetting.arrivals import ARGUMENTS, PLACES, Redaction, hash_of
from worker.db.forgetting.store import ForgetStore, ForgottenPerson
from worker.db.forgetting.words import as_compared
from worker.db.pool import Pool
from worker.db.sessions.statements import COMMANDS
from worker.db.syncs.claim import Ending
from worker.db.syncs.store import SyncStore
from worker.durable import task as task_module
from worker.operate.forgetting import act as acts
from worker.operate.forgetting.letters import Sought

__all__ = ["without_waiting"]

ANN: Final = NamedActor(name="ann", via="cli")
AFTER: Final = "4000000000.000100"


@pytest.fixture
def forgets(pool: Pool) -> ForgetStore:
    return ForgetStore(pool)


def redaction_of(*words: str) -> Redaction:
    known = [as_compared(word) for word in words]
    return Redaction([ForgottenPerson(b"key", hash_of(b"key", word), len(word)) for word in known])


COMMANDS_ON_A_THREAD: Final[dict[str, Callable[..., Any]]] = {
    "request_sync": lambda store, thread: store.request_sync(CHANNEL, thread, DRAFT, LATER, actor=MAYA),
    "update_status": lambda store, thread: store.update_status(CHANNEL, thread, "ready_to_sync"),
    "mark_synced": lambda store, thread: store.mark_synced(CHANNEL, thread, "PROJ-1"),
    "link": lambda store, thread: store.link(CHANNEL, thread, "PROJ-1", ANN, uuid4(), "ocelot"),
    "unlink": lambda store, thread: store.unlink(CHANNEL, thread, "PROJ-1", ANN, "ocelot", uuid4()),
}


@pytest.mark.parametrize("name", COMMANDS_ON_A_THREAD)
async def test_in_a_forgotten_channel_each_command_is_stale_whichever_comes_first(
    any_store: AsyncSessionStore, pool: Pool, database_url: str, name: str
) -> None:
    """Any first command on an older thread of a forgotten channel is stale; later threads are unaffected."""
    forgets, command = ForgetStore(pool), COMMANDS_ON_A_THREAD[name]
    forgets.forget_channel(begun(forgets, "channel"), CHANNEL)
    answer = await command(any_store, THREAD)
    assert (answer.outcome, answer.user_id, answer.jira_key) == ("stale", "forgotten", None)
    assert (await any_store.get_or_create_session(CHANNEL, THREAD, PERSON)).id == answer.id
    assert (await command(any_store, THREAD)).outcome == "stale"
    assert SyncStore(pool).take_due(most=10, for_seconds=1) == []
    assert "ocelot" not in dump(database_url).lower()
    with pytest.raises(SessionNotFound):
        await command(any_store, AFTER)


def test_a_repeated_act_on_a_tombstone_is_stale_too(store: SessionStore, forgets: ForgetStore) -> None:
    """A repeated link on a forgotten session is stale and returns its ticket."""
    session, link = store.get_or_create_session(CHANNEL, THREAD, PERSON), uuid4()
    assert store.link(CHANNEL, THREAD, "PROJ-1", ANN, link).outcome == "applied"
    forgets.forget_sessions(begun(forgets), [session.id])
    again = store.link(CHANNEL, THREAD, "PROJ-1", ANN, link)
    assert (again.outcome, again.jira_key) == ("stale", "PROJ-1")


@pytest.mark.parametrize("actor", [None, MAYA], ids=["unnamed", "named"])
def test_a_draft_of_before_brings_nothing_back_a_day_later(
    store: SessionStore, forgets: ForgetStore, database_url: str, actor: SlackActor | None
) -> None:
    """A day after the act an older draft is applied without its text, and a newer one as it is."""
    store.get_or_create_session(CHANNEL, THREAD, PERSON)
    forgets.forget_opened_by(begun(forgets, "user"), PERSON)
    owner_runs(database_url, "UPDATE thread_sessions SET drafts_since = drafts_since - 25 * 3600")
    assert store.request_sync(CHANNEL, THREAD, DRAFT, LATER, actor=actor).outcome == "applied"
    assert "ocelot" not in dump(database_url).lower()
    anew = store.request_sync(CHANNEL, THREAD, Draft(summary="anew"), str(_now(database_url)), actor=actor)
    assert anew.outcome == "applied"
    assert "anew" in dump(database_url)


def _now(database_url: str) -> object:
    return ask(database_url, "SELECT to_char(extract(epoch FROM now()), 'FM9999999999.000000')")


@pytest.mark.parametrize("has_rows", [True, False], ids=["both have rows", "the new one has rows"])
@pytest.mark.parametrize("forgotten", ["C0OLD", "C0NEW"])
def test_a_channel_that_was_forgotten_and_then_moves(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str, forgotten: str, has_rows: bool
) -> None:
    """A channel that moves after it was forgotten is forgotten under its other id too."""
    if has_rows:
        store.get_or_create_session("C0OLD", "1700000001.000100", PERSON)
    store.get_or_create_session("C0NEW", THREAD, PERSON)
    store.request_sync("C0NEW", THREAD, DRAFT, LATER)
    store.merge_channel_context("C0NEW", {"topic": "ocelot"}, uuid4())
    acts.forget_channel(pool, forgotten, SIGNATURE)
    store.get_or_create_session("C0NEW", AFTER, OTHER)
    assert store.channel_moved("C0OLD", "C0NEW").outcome == "applied"
    for channel in ("C0OLD", "C0NEW"):
        for thread in (THREAD, "1700000001.000100", "1700000002.000100"):
            assert store.get_or_create_session(channel, thread, PERSON).outcome == "stale"
        assert store.get_or_create_session(channel, AFTER, OTHER).outcome == "unchanged"
    assert SyncStore(pool).take_due(most=10, for_seconds=1) == []
    after = dump(database_url).lower()
    assert "ocelot" not in after
    assert OTHER.lower() in after


def test_ids_are_written_in_any_case(store: SessionStore, pool: Pool, database_url: str) -> None:
    """A channel and a person are forgotten whatever the case of their ids; longer ids stay."""
    for channel, thread, user in (("C0123", "1.1", "U1"), ("C0123", "2.2", "U12"), ("C01234", "3.3", "U12")):
        store.get_or_create_session(channel, thread, user)
        store.request_sync(channel, thread, Draft(summary=f"of {user}, not u1, <@u1> (U1x)"), LATER)
    assert acts.forget_user(pool, "u1", [], SIGNATURE).sessions == 1
    draft = "SELECT draft ->> 'summary' FROM syncs s JOIN thread_sessions t ON t.id = s.session_id"
    assert (
        ask(database_url, f"{draft} WHERE thread_ts = %s", "2.2")
        == "of U12, not forgotten, <@forgotten> (U1x)"
    )
    assert acts.forget_channel(pool, "<#c0123|general>", SIGNATURE).sessions == 2
    assert store.get_or_create_session("C01234", "3.3", OTHER).outcome == "unchanged"
    session = session_of(pool, ["c0999", THREAD])
    assert session.channel_id == "C0999"


@pytest.mark.parametrize("user", ["forgotten", "FORGOTTEN", "<@Forgotten>"])
def test_forgotten_is_no_person(pool: Pool, user: str) -> None:
    """The placeholder `forgotten` is refused as a person."""
    with pytest.raises(InvalidCommand):
        acts.forget_user(pool, user, [], SIGNATURE)


THREAD_JSON: Final = {"channel_id": CHANNEL, "thread_ts": THREAD, "draft": {"summary": "word " * 20_000}}
_BODY: Final = json.dumps([[], THREAD_JSON, {}]).encode()
_ENVELOPE: Final = json.dumps({"body": base64.b64encode(_BODY).decode(), "headers": {}}).encode()
CUT_OFF: Final = {
    "JSON": _BODY[:5_000],
    "base64": base64.b64encode(_BODY)[:5_001],
    "envelope": _ENVELOPE[:5_003],
    "zlib": zlib.compress(_BODY)[:100],
    "zlib in base64": base64.b64encode(zlib.compress(_BODY))[:180],
    "bz2": bz2.compress(_BODY),
}


@pytest.mark.parametrize("how", CUT_OFF)
def test_letters_of_which_only_the_beginning_was_kept_are_found(how: str) -> None:
    """A truncated dead letter is found by thread, channel and word, and not by other threads."""
    letter = {"body": CUT_OFF[how]}
    assert Sought(threads={(CHANNEL, THREAD)}).is_in(letter)
    assert Sought(channels=[CHANNEL]).is_in(letter)
    assert Sought(words=[CHANNEL]).is_in(letter)
    assert not Sought(threads={(CHANNEL, "1.1"), ("C01", THREAD)}, channels=["C01"]).is_in(letter)


@pytest.mark.parametrize(
    "message",
    [
        {"args": [CHANNEL, THREAD, {}], "kwargs": {}},
        [[CHANNEL, THREAD], {}, {}],
        {"args": [], "kwargs": {"channel_id": CHANNEL, "thread_ts": 1700000000.0001}},
    ],
    ids=["args", "body", "number"],
)
def test_letters_without_names_are_found(message: Any) -> None:
    """A dead letter with positional arguments is found by thread and channel."""
    letter = {"arguments": json.dumps(message)}
    assert Sought(threads={(CHANNEL, THREAD)}).is_in(letter)
    assert Sought(channels=[CHANNEL]).is_in(letter)
    moved = {"args": [], "kwargs": {"channel_id": "C9", "new_channel_id": CHANNEL}}
    assert Sought(channels=[CHANNEL]).is_in({"arguments": json.dumps(moved)})
    elsewhere = {"channel_id": "C9", "thread_ts": THREAD, "text": f"see <#{CHANNEL}>"}
    others = {"arguments": json.dumps({"args": [], "kwargs": elsewhere})}
    assert not Sought(threads={(CHANNEL, THREAD)}, channels=[CHANNEL]).is_in(others)


def test_what_may_be_about_any_thread_is_kept_without_words_for_a_day(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """For a day after an act, dead letters that may be about any thread are kept without words."""
    session = store.get_or_create_session(CHANNEL, THREAD, PERSON)
    store.get_or_create_session(CHANNEL, "2.2", OTHER)
    letters = DeadLetterStore(pool)
    told: Any = {"task_name": "t", "queue": "q", "attempts": 1, "error": CommandFailed("ocelot")}
    unclear: list[dict[str, Any]] = [
        {"arguments": json.dumps({"args": [CHANNEL, THREAD, "ocelot"], "kwargs": {}})},
        {"arguments": json.dumps({"args": [], "kwargs": {"thread": THREAD, "text": "ocelot"}})},
        {"body": f'{{"channel_id": "{CHANNEL}", "thread_ts": "{THREAD}", "draft": "ocelot'.encode()},
        {"body": zlib.compress(b"ocelot")},
    ]
    clear: dict[str, Any] = {
        "arguments": json.dumps({"args": [], "kwargs": {"channel_id": CHANNEL, "thread_ts": "2.2"}})
    }
    letters.bury(Letter(task_id="before", **told, **unclear[0]))
    forgets.forget_sessions(begun(forgets), [session.id])
    forgets.delete(begun(forgets), [letter.id for letter in letters.list_by_state()], [])
    for number, content in enumerate(unclear):
        kept = letters.get(letters.bury(Letter(task_id=str(number), **told, **content)))
        assert (kept.arguments, kept.body, kept.error) == ("(forgotten)", None, "(forgotten)")
    assert letters.get(letters.bury(Letter(task_id="clear", **told, **clear))).arguments == clear["arguments"]
    junk = letters.get(letters.bury(Letter(task_id="junk", **told, body=b"no message at all")))
    assert junk.body == b"no message at all"
    owner_runs(database_url, "UPDATE forget_acts SET at = at - interval '25 hours'")
    later = letters.get(letters.bury(Letter(task_id="later", **told, **unclear[0])))
    assert later.arguments == unclear[0]["arguments"]


def test_letters_of_a_forgotten_channel_have_no_words_a_day_later_either(
    pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """A dead letter about an older thread of a forgotten channel has no words, however late it comes."""
    forgets.forget_channel(begun(forgets, "channel"), CHANNEL)
    owner_runs(
        database_url,
        "UPDATE forgotten_channels SET forgotten_at = forgotten_at - interval '25 hours'",
        "UPDATE forget_acts SET at = at - interval '25 hours'",
    )
    letters = DeadLetterStore(pool)
    told: Any = {"task_name": "t", "queue": "q", "attempts": 1, "error": CommandFailed("no")}
    for thread, is_whole in ((THREAD, False), (AFTER, True), ("soon", True)):
        about = {"channel_id": CHANNEL, "thread_ts": thread, "draft": "ocelot"}
        letter = letters.get(
            letters.bury(Letter(task_id=thread, arguments=json.dumps({"args": [], "kwargs": about}), **told))
        )
        assert ("ocelot" in (letter.arguments or "")) is is_whole, thread


def test_names_in_others_words_on_their_way_are_redacted() -> None:
    """A person's names in others' drafts, reasons and patches are redacted; ids and argument names stay."""
    known = redaction_of(PERSON, "Maya Ünal", "Project", "c0123")
    draft = {
        "summary": f"Maya  ÜNAL and {PERSON}x",
        "description": f"so\nmaya\nünal: <@{PERSON.lower()}> in a Project",
        "project_key": "PROJECT",
        "labels": ["of-maya ünal"],
    }
    place = {"channel_id": "C012", "thread_ts": THREAD, "jira_key": "PROJECT-7"}
    redacted = known.arguments({**place, "draft": draft, "reason": "Maya Ünals or Maya Ünal", "project": 1})
    assert redacted == {
        **place,
        "draft": {
            "summary": f"forgotten and {PERSON}x",
            "description": "so\nforgotten: <@forgotten> in a forgotten",
            "project_key": "forgotten",
            "labels": ["of-forgotten"],
        },
        "reason": "Maya Ünals or forgotten",
        "forgotten": 1,
    }
    patch = {"patch": {"project": {"type": "a project", "Maya Ünal": ["project_key"]}}}
    assert known.arguments(patch) == {
        "patch": {"forgotten": {"type": "a forgotten", "forgotten": ["forgotten_key"]}}
    }
    maya = {"name": "Maya Ünal (support)", "via": "console", "address": "192.0.2.1"}
    assert known.arguments({"actor": maya, "reason": "x"}) == {
        "actor": {"name": "forgotten (support)", "via": "console"},
        "reason": "(forgotten)",
    }
    assert known.text(json.dumps({"text": f"one\n{PERSON}"})) == '{"text": "one\\nforgotten"}'


def test_a_step_under_way_in_anothers_thread_keeps_nothing_of_a_person(
    store: SessionStore, pool: Pool, forgets: ForgetStore, database_url: str
) -> None:
    """A step in progress writes a person's name, forgotten meanwhile, as `forgotten`."""
    session = store.get_or_create_session(CHANNEL, THREAD, OTHER)
    store.request_sync(CHANNEL, THREAD, Draft(summary="Ask Maya Ocelot"), LATER)
    claim = SyncStore(pool).claim(session.id, site="jira", lease=60)
    assert claim is not None
    acts.forget_user(pool, PERSON, ["Maya Ocelot"], SIGNATURE)
    quoted = f"'Ask\nMaya OCELOT' of {PERSON} is not wanted"
    ending = Ending("failed", "search", "rejected", reason="draft_refused", detail=quoted)
    assert state_after(SyncStore(pool), claim, ending) == "failed"
    sync = SyncStore(pool).get(session.id)
    assert sync is not None
    assert sync.detail == "'Ask\nforgotten' of forgotten is not wanted"
    assert "ocelot" not in dump(database_url).lower()


def test_the_names_of_all_arguments_are_known() -> None:
    """The names of all arguments of commands, drafts and actors are exempt from redaction."""
    commands: tuple[type[Command[Any]], ...] = (
        *COMMANDS,
        Sync,
        RetrySync,
        Leave,
        Follow,
        LinkLookup,
        SayReply,
    )
    names = {name for command in commands for name in command.model_fields}
    names |= set(Draft.model_fields) | set(SlackActor.model_fields) | set(NamedActor.model_fields)
    assert names <= ARGUMENTS
    assert PLACES < ARGUMENTS


def test_a_forgotten_person_is_in_no_new_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log lines of a command show a forgotten actor as `forgotten`."""
    seen: list[Any] = []
    # No message is sent to this address.
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()
    monkeypatch.setattr(task_module, "redaction", lambda: redaction_of(PERSON))

    @app.task(name="tests.actor", ignore_result=True)
    def task(**_: Any) -> None:
        seen.append(get_contextvars().get("actor"))

    try:
        for user in (PERSON, OTHER):
            task.apply(kwargs={"actor": {"user_id": user, "team_id": "T1"}})
    finally:
        app.tasks.pop("tests.actor")
    assert seen == ["forgotten", OTHER]
    assert "actor" not in get_contextvars()
