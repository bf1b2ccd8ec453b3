"""Forget a thread, a channel or a person. Each act may be repeated.

All raise ``DatabaseUnavailable``; what is done by then stays done, and a repetition does the rest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Final
from unicodedata import normalize
from uuid import UUID

from threadsync.config import get_settings
from threadsync.errors import InvalidCommand
from worker.db.forgetting.arrivals import FORGOTTEN, LOOK_SECONDS
from worker.db.forgetting.store import ForgetStore, Thread, What
from worker.operate.decisions import Signature
from worker.operate.forgetting.letters import Sought

if TYPE_CHECKING:
    from threadsync.sessions import ThreadSession
    from worker.db.pool import Pool

NOT_OURS: Final = (
    "Out of threadsync's reach: tickets and their text in Jira, messages in Slack, log files and archives of "
    "logs from before, backups, and Postgres' write-ahead log and rows that no VACUUM has passed yet."
)
_WAITS: Final = (
    "{count} of them wait for a ticket that Jira gave no answer about. They are erased when that is settled; "
    "repeat this to see whether it is."
)
_NO_BROKER: Final = (
    "CELERY_BROKER_URL is not set here: results go after RESULT_TTL_SECONDS, and the server's log keeps "
    "messages of before until BGREWRITEAOF."
)
_SLACK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_MENTION: Final = re.compile(r"<[@#]([A-Za-z0-9]+)(\|[^>]*)?>")
_HEARD_SECONDS: Final = 2 * LOOK_SECONDS
"""Time within which every worker looks for people to redact."""
_SHORTEST_NAME: Final = 2
_LONGEST_NAME: Final = 200
_MOST_NAMES: Final = 20


@dataclass(frozen=True)
class Forgotten:
    """Result of an act: numbers of what was erased, and sentences on what is left."""

    act: UUID
    sessions: int
    waiting: int
    letters: int
    results: int
    named: int = 0
    left: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "act": str(self.act), "left": list(self.left)}

    def sentence(self) -> str:
        counts = f"Forgotten: sessions {self.sessions}, dead letters {self.letters}, results {self.results}"
        named = f", other rows {self.named}" if self.named else ""
        return " ".join((f"{counts}{named}.", *self.left))


def forget_thread(pool: Pool, session: ThreadSession, by: Signature) -> Forgotten:
    """Make the session its own tombstone."""
    store = ForgetStore(pool)
    act = _begin(store, "thread", f"{session.channel_id} / {session.thread_ts}", by)
    threads = store.threads_of(session.id)
    sessions = sorted({thread.id for thread in threads})
    waiting = store.forget_sessions(act, sessions)
    return _rest(store, act, _about(threads), len(sessions), waiting)


def forget_channel(pool: Pool, channel: str, by: Signature) -> Forgotten:
    """Make tombstones of all sessions of a channel, and empty its context. Raises ``InvalidCommand``."""
    store, channel_id = ForgetStore(pool), _slack_id(channel)
    if not store.knows_channel(channel_id):
        # Slack writes its ids in capitals, people do not.
        channel_id = channel_id.upper()
    act = _begin(store, "channel", channel_id, by)
    ids = store.forget_channel(act, channel_id)
    count = waiting = 0
    for page in store.sessions_of(ids):
        count += len(page)
        waiting += store.forget_sessions(act, page)
    return _rest(store, act, Sought(channels=ids), count, waiting)


def forget_user(pool: Pool, user: str, names: Sequence[str], by: Signature) -> Forgotten:
    """Erase a person everywhere. Raises ``InvalidCommand``.

    Args:
        names: by which operators and others call the person.
    """
    store, person, names = ForgetStore(pool), _slack_id(user), _names(names)
    act = _begin(store, "user", None, by)
    # Names stand alone where an operator signs.
    for name in (person, *names):
        store.expect_person(act, name)
    time.sleep(_HEARD_SECONDS)
    threads = _about(store.opened_by(person))
    sought = Sought((person, *names), threads.threads, threads.sessions)
    # Dead letters first, as the sessions tell which of them are about the person.
    letters = _forget_letters(store, act, sought)
    sessions, waiting = store.forget_opened_by(act, person)
    named = store.forget_named(act, person, names)
    return _rest(store, act, sought, sessions, waiting, letters, named)


def _begin(store: ForgetStore, what: What, subject: str | None, by: Signature) -> UUID:
    return store.begin(what, subject, actor=by.actor, reason=by.reason, acted_by=by.acted_by)


def _rest(
    store: ForgetStore,
    act: UUID,
    sought: Sought,
    sessions: int,
    waiting: int,
    letters: int = 0,
    named: int = 0,
) -> Forgotten:
    """Forget dead letters, results and logs of servers, the part that all acts share."""
    # Imported here: the console loads neither Celery nor redis.
    from worker.celery import app
    from worker.operate.forgetting.servers import forget_logs, forget_results

    letters += _forget_letters(store, act, sought)
    settings = get_settings()
    if settings.broker_url:
        results, left = forget_results(app, sought)
        logs = forget_logs(app, settings.broker_is_redis)
    else:
        results, left, logs = 0, _NO_BROKER, []
    said = (_WAITS.format(count=waiting) if waiting else "", left, *logs, NOT_OURS)
    return Forgotten(act, sessions, waiting, letters, results, named, tuple(filter(None, said)))


def _forget_letters(store: ForgetStore, act: UUID, sought: Sought) -> int:
    deleted = 0
    for page in store.letters():
        found = [letter["id"] for letter in page if sought.is_in(letter)]
        deleted += store.delete(act, found, ()) if found else 0
    openings = [key for key, name in store.openings() if sought.is_named_in(key, name)]
    if openings:
        store.delete(act, (), openings)
    return deleted


def _about(threads: Sequence[Thread]) -> Sought:
    return Sought(
        threads={(thread.channel_id, thread.thread_ts) for thread in threads},
        sessions={thread.id for thread in threads},
    )


def _slack_id(text: str) -> str:
    # Also as it is written in a message: `<@U0123>`.
    text = text.strip()
    mention = _MENTION.fullmatch(text)
    found = mention[1] if mention else text
    if not _SLACK_ID.fullmatch(found) or found.lower() == FORGOTTEN:
        raise InvalidCommand("that is not a Slack id, such as U0123ABCD")
    return found


def _names(names: Sequence[str]) -> list[str]:
    given = [name.strip() for name in names if name.strip()]
    if len(given) > _MOST_NAMES or any(not _SHORTEST_NAME <= len(name) <= _LONGEST_NAME for name in given):
        raise InvalidCommand(
            f"a name must have {_SHORTEST_NAME} to {_LONGEST_NAME} characters, and there may be {_MOST_NAMES}"
        )
    if any("\x00" in name for name in given):
        raise InvalidCommand("a name contains a NUL character")
    # Accents as one character or as two, and `&` as Slack writes it.
    spelt = {normalize(form, name) for name in given for form in ("NFC", "NFD")}
    return sorted({form for name in spelt for form in (name, escape(name, quote=False))})
