"""Carry out operators' decisions from the command line and the console; record actor and reason.

All raise ``DatabaseUnavailable``. A decision that does not fit raises an error of ours, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID, uuid4

from threadsync.actors import NamedActor, Via, named_actor
from threadsync.config import get_settings
from threadsync.dead_letters import DeadLetter
from threadsync.errors import InvalidCommand, SyncNotChanged, SyncNotFound
from threadsync.reasons import explain
from threadsync.sessions import SessionResult, ThreadSession
from threadsync.syncs import SyncDetail, SyncState
from worker.db.dead_letters.store import DeadLetterStore, already_settled
from worker.db.installation.store import installation_of
from worker.db.sessions.store import SessionStore
from worker.db.syncs.store import SyncStore
from worker.operate.resend import resend
from worker.text.named_key import OtherSite, named_key

if TYPE_CHECKING:
    from worker.db.pool import Pool

SOON: Final = "A worker takes it up within seconds."
LONGEST_ACTOR: Final = 200
LONGEST_REASON: Final = 2_000


@dataclass(frozen=True)
class Signature:
    """The operator and the reason of a decision, neither blank. Made by ``signature``."""

    actor: str
    reason: str
    via: Via = "api"
    address: str | None = None

    @property
    def acted_by(self) -> NamedActor:
        """Return the actor: the name that was claimed, and where."""
        actor = named_actor(self.actor, self.via, self.address)
        return actor or NamedActor(name=self.actor, via=self.via)


def signature(actor: str, reason: str, via: Via = "api", address: str | None = None) -> Signature:
    """Return the signature, trimmed. Raises ``InvalidCommand``."""
    actor, reason = actor.strip(), reason.strip()
    if not actor or not reason:
        raise InvalidCommand("neither the reason nor the actor may be blank")
    if len(actor) > LONGEST_ACTOR or len(reason) > LONGEST_REASON:
        raise InvalidCommand(
            f"too long: the actor may have {LONGEST_ACTOR} characters, the reason {LONGEST_REASON}"
        )
    if "\x00" in actor + reason:
        raise InvalidCommand("the reason or the actor contains a NUL character")
    return Signature(actor, reason, via, address)


def detail_of(pool: Pool, session: ThreadSession) -> SyncDetail:
    """Return the session's sync. Raises ``SyncNotFound``."""
    detail = SyncStore(pool).get(session.id)
    if detail is None:
        raise SyncNotFound(f"no ticket was requested for {session.channel_id} / {session.thread_ts}")
    return detail


def retry(pool: Pool, session: ThreadSession, by: Signature) -> tuple[SyncState, str]:
    """Retry the session's sync now. Return its state, and a sentence on the next step.

    Raises ``SyncNotFound`` or ``SyncNotChanged``.
    """
    before = detail_of(pool, session).sync
    if not SyncStore(pool).retry(session.id, actor=by.actor, reason=by.reason, acted_by=by.acted_by):
        raise _not_changed(detail_of(pool, session).sync, "retry")
    return detail_of(pool, session).sync, f"Retried. {_what_next(pool, before)}"


def _what_next(pool: Pool, before: SyncState) -> str:
    # Alone it would only wait for its site once more.
    if before.parked:
        return f"But all syncs of its site are paused: {explain(before.reason)}"
    trouble = SyncStore(pool).trouble_of(before.site) if before.site else None
    seconds = trouble and max(trouble.paused_for, *trouble.endpoints.values(), 0.0)
    if not seconds:
        return SOON
    return (
        f"But Jira asked for a pause, which has {seconds / 60:.0f} min left. To end all pauses now: "
        "threadsync syncs retry --all-blocked"
    )


def retry_all_blocked(pool: Pool, by: Signature) -> Sequence[UUID]:
    """Retry all blocked syncs now. Return their sessions' ids."""
    return SyncStore(pool).retry_all_blocked(actor=by.actor, reason=by.reason, acted_by=by.acted_by)


def link(pool: Pool, session: ThreadSession, key: str, by: Signature) -> tuple[SessionResult, str]:
    """Link a ticket to the session. Return the session, and a sentence on open ends.

    Raises ``InvalidCommand`` for no key, ``JiraKeyConflict`` when it has another one.
    """
    linked = SessionStore(pool).link(
        session.channel_id, session.thread_ts, _key_of(key), by.acted_by, uuid4(), by.reason
    )
    if linked.outcome == "stale":
        raise SyncNotChanged(f"cannot link {session.channel_id} / {session.thread_ts}: it was forgotten")
    sync = SyncStore(pool).get_state(session.id)
    sentence = f"Linked {session.channel_id} / {session.thread_ts} to {linked.jira_key}: {linked.outcome}."
    if sync and sync.state in ("inflight", "unknown"):
        sentence += " An earlier attempt may have created another ticket. If it did, that is reported."
    elif sync and sync.state != "done":
        # The session had the ticket before, and its sync waits for an operator.
        sentence += (
            f" Its sync is still {sync.state}. To end it: threadsync syncs retry {session.id} --reason …"
        )
    return linked, sentence


def unlink(
    pool: Pool, session: ThreadSession, by: Signature, key: str | None = None
) -> tuple[SessionResult, str]:
    """Unlink the session's ticket. Return the session, and a sentence on open ends.

    Args:
        key: of the ticket that the operator saw; the session's present one if None.

    Raises ``InvalidCommand`` when it has none, or another one.
    """
    key = _key_of(key) if key else session.jira_key
    if key is None:
        raise InvalidCommand(f"{session.channel_id} / {session.thread_ts} has no ticket to unlink")
    left = SessionStore(pool).unlink(
        session.channel_id, session.thread_ts, key, by.acted_by, by.reason, uuid4()
    )
    if left.outcome == "stale":
        has = f"has {left.jira_key}" if left.jira_key else "has no ticket"
        raise InvalidCommand(f"nothing changed: {session.channel_id} / {session.thread_ts} {has}, not {key}")
    sentence = (
        f"Unlinked {key} from {session.channel_id} / {session.thread_ts}. Another ticket is created only on "
        "a new request."
    )
    sync = SyncStore(pool).get_state(session.id)
    if sync and sync.state in ("inflight", "unknown"):
        sentence += " An earlier attempt may have created one. If it did, that becomes the thread's ticket."
    return left, sentence


def _key_of(text: str) -> str:
    try:
        key = named_key(text, get_settings().jira_url)
    except OtherSite as exc:
        raise InvalidCommand("jira_key: that URL is in another Jira than JIRA_URL") from exc
    # A text that is no key is refused where all are, in the same words.
    return key or text


def give_up(pool: Pool, session: ThreadSession, by: Signature) -> tuple[SyncState, str]:
    """End the session's sync without a ticket. Raises ``SyncNotFound`` or ``SyncNotChanged``."""
    if not SyncStore(pool).give_up(session.id, actor=by.actor, reason=by.reason, acted_by=by.acted_by):
        raise _not_changed(detail_of(pool, session).sync, "give up")
    detail = detail_of(pool, session)
    sentence = "Given up."
    if any(attempt.step == "create" and attempt.outcome == "unknown" for attempt in detail.attempts):
        sentence += " An earlier attempt may have created a ticket. Only a retry looks for it."
    return detail.sync, sentence


def replay(pool: Pool, letter_id: UUID | str, by: Signature) -> tuple[DeadLetter, str]:
    """Send a dead letter's command again. Return the settled dead letter, and the new task's id.

    Raises ``DeadLetterNotFound`` when it is not open, ``InvalidCommand`` when its arguments cannot be read,
    and ``EnqueueFailed``; then it stays open.
    """
    letters = DeadLetterStore(pool)
    letter = letters.get(letter_id)
    if letter.state != "dead":
        raise already_settled(letter)
    # Sent first: a crash in between sends it twice, which commands allow; the other order would lose it.
    task_id = resend(letter, installation_of(pool))
    return _settled(letters, letter_id, "retried", by), task_id


def discard(pool: Pool, letter_id: UUID | str, by: Signature) -> DeadLetter:
    """Give up a dead letter's command; the dead letter is kept. Raises ``DeadLetterNotFound``."""
    return _settled(DeadLetterStore(pool), letter_id, "discarded", by)


def _settled(
    letters: DeadLetterStore, letter_id: UUID | str, state: Literal["retried", "discarded"], by: Signature
) -> DeadLetter:
    return letters.settle(letter_id, state, actor=by.actor, reason=by.reason, acted_by=by.acted_by)


def _not_changed(sync: SyncState, what: str) -> SyncNotChanged:
    match sync.state:
        case "done":
            why = f"it is done: {sync.jira_key}"
        case "inflight":
            why = "a create is in progress and cannot be cancelled; try again in a minute"
        case "pending":
            why = "it is about to be tried anyway"
        case "failed" if sync.reason in ("forgotten", "draft_expired"):
            why = explain(sync.reason)
        case "failed" if what == "retry" and sync.reason != "moved":
            why = "its ticket was unlinked; another one is created only on a new request"
        case _:
            why = "a worker is working on it; try again in a minute"
    return SyncNotChanged(f"cannot {what} {sync.channel_id} / {sync.thread_ts}: {why}")
