"""Acts of forgetting that end halfway, at each of their steps, and are finished by the next act."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.forgetting import (
    CHANNEL,
    DRAFT,
    LATER,
    MAYA,
    OTHER,
    PERSON,
    SIGNATURE,
    THREAD,
    dump,
    owner_runs,
    without_waiting,
)
from threadsync.errors import CommandFailed, DatabaseUnavailable
from threadsync.syncs import Draft
from worker.db import SessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.durable.results import WorkersCelery
from worker.operate.forgetting import act as acts
from worker.operate.forgetting.letters import Sought
from worker.operate.forgetting.servers import forget_logs, forget_results

__all__ = ["without_waiting"]


class _Ends(ForgetStore):
    """Store that loses Postgres at its step number ``left``."""

    left = 0

    def _rows(self, *arguments: Any) -> Any:
        _Ends.left -= 1
        if not _Ends.left:
            raise DatabaseUnavailable("of this test")
        return super()._rows(*arguments)


def _lived(store: SessionStore, letters: DeadLetterStore, pool: Pool) -> UUID:
    """Let the person open a thread, draft, decide, be mentioned and fail; return the session's id."""
    session = store.get_or_create_session(CHANNEL, THREAD, PERSON, actor=MAYA)
    store.request_sync(CHANNEL, THREAD, DRAFT, LATER, actor=MAYA)
    other = store.get_or_create_session(CHANNEL, "2.2", OTHER)
    spoken_of = Draft(summary=f"Hello\nMaya Ocelot\tand\n{PERSON.lower()}")
    store.request_sync(CHANNEL, "2.2", spoken_of, LATER)
    patch = {"a": f"\u000b{PERSON}", PERSON: ["Maya\u00a0 Ocelot"]}
    store.merge_channel_context(CHANNEL, patch, uuid4(), actor=MAYA)
    store.channel_moved(CHANNEL, "C0NEW", actor=MAYA)
    SyncStore(pool).give_up(other.id, actor="maya ocelot", reason="mine")
    store.get_or_create_session(CHANNEL, "3.3", OTHER)
    store.link(CHANNEL, "3.3", "PROJ-3", MAYA, uuid4(), "ocelot")
    told: Any = {"task_name": "t", "queue": "q", "attempts": 1, "error": CommandFailed("no")}
    about = {"channel_id": CHANNEL, "thread_ts": THREAD, "draft": "ocelot"}
    letters.bury(Letter(task_id="1", arguments=json.dumps({"args": [], "kwargs": about}), **told))
    nameless = {"args": [CHANNEL, THREAD, "ocelot"], "kwargs": {}}
    letters.bury(Letter(task_id="2", arguments=json.dumps(nameless), **told))
    return session.id


@pytest.mark.parametrize("what", ["user", "thread", "channel"])
def test_an_act_that_ends_halfway_is_finished_by_the_next(
    store: SessionStore, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """An act that ended at any step is finished by the next one, which repeats every step."""
    letters = DeadLetterStore(pool)
    for step in range(1, 60):
        owner_runs(
            database_url,
            "TRUNCATE thread_sessions, syncs, channel_context, channel_context_commands, dead_letters, "
            "channel_aliases, "
            "forgotten_channels, forgotten_people, forget_acts CASCADE",
        )
        session_id = _lived(store, letters, pool)
        assert "ocelot" in dump(database_url).lower()

        def forget(id: UUID = session_id) -> object:
            match what:
                case "user":
                    return acts.forget_user(pool, PERSON, ["Maya Ocelot"], SIGNATURE)
                case "channel":
                    return acts.forget_channel(pool, CHANNEL, SIGNATURE)
                case _:
                    session = store.get_session(id)
                    assert session is not None
                    return acts.forget_thread(pool, session, SIGNATURE)

        _Ends.left = step
        with monkeypatch.context() as patched:
            patched.setattr(acts, "ForgetStore", _Ends)
            try:
                forget()
            except DatabaseUnavailable:
                ended = True
            else:
                ended = False
        forget()
        after = dump(database_url).lower()
        if what == "thread":
            assert "ocelot summary" not in after
            assert letters.list_by_state() == [], step
        else:
            assert "ocelot" not in after, step
        if not ended:
            break
    else:
        pytest.fail("it never came to its end")
    assert step > 5


def test_a_server_that_is_away_is_told_of() -> None:
    """Forgetting reports a server that is away, without its password, and what is left there."""
    url = "redis://:of-these-tests@127.0.0.1:1/0"
    with WorkersCelery("away", broker=url, backend=url, set_as_current=False) as app:
        app.conf.update(result_backend=url)
        deleted, left = forget_results(app, Sought([PERSON]))
        said = " ".join(forget_logs(app, is_redis=True))
    assert deleted == 0
    assert "RESULT_TTL_SECONDS" in left
    assert "does not answer" in said
    assert "of-these-tests" not in left + said
