"""Bring a sync's status message up to date.

    claim it                                     no other process has it for a while
    it shows what it should      nothing to do
    it is there                  edit it         gone: as below
    it cannot be edited          post another    once there is something to say that lasts
    a post has an unknown end    look for it     there: edit it; absent for long enough: post
    there never was one          commit to the post, post
    Slack refuses us             park it, and all others; ``probe`` asks whether it takes us again

Whatever step it dies at, the next claim finds whether a post may have been made. There would be two messages
only if Slack posted one ``SETTLE_SECONDS`` after it was asked to, and had given no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never
from uuid import UUID

import structlog

from worker.db.status_messages.store import StatusClaim, StatusStore
from worker.db.syncs.store import SyncStore
from worker.http_once import NotSent, Unknown
from worker.status_message.answers import Done, Failure, Refused, Throttled
from worker.status_message.decide import FIRST_PAUSE_SECONDS, Later, Park, Replace, Stop, decide, pause_after
from worker.status_message.describe import describe
from worker.status_message.message import StatusMessage
from worker.status_message.thread import Absent, Shown, SlackThread
from worker.status_message.web_api import WebApi
from worker.text.slack_errors import MESSAGE_GONE, OF_INSTALLATION

LEASE_SECONDS: Final = 60.0

LATEST_SEND_SECONDS: Final = 40.0
"""Most seconds from the claim to a call, so that the call's deadline is before the lease's end."""

SETTLE_SECONDS: Final = 15.0
"""Time in which a post without a response may still appear."""

Result = Literal["not due", "silent", "unchanged", "shown", "put off", "parked", "stopped", "lost"]
Said = Literal["said", "later", "refused"]

_TOO_LATE: Final = NotSent("too much time passed before it could be sent")

log = structlog.get_logger("threadsync.status")


class Announcer:
    """Announcer of a process, the only one, so that it can pause for a Slack that does not respond.

    Args:
        jira_url: what tickets' links begin with; without one they are no links.
        monotonic: seconds, as this process measures them.
    """

    def __init__(
        self,
        store: StatusStore,
        syncs: SyncStore,
        connection: WebApi,
        jira_url: str | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._syncs = syncs
        self.connection = connection
        self._jira_url = jira_url
        self._monotonic = monotonic
        self._silent_until = 0.0
        self._failures = 0
        self.moves: list[tuple[str, str]] = []
        """Channels for which Slack has answered with another id: the old one and the new one."""

    def close(self) -> None:
        """Close the connection to Slack; may be repeated."""
        self.connection.close()

    def announce(self, session_id: UUID) -> Result:
        """Bring the session's message up to date now. Raises ``DatabaseUnavailable``."""
        if self._monotonic() < self._silent_until:
            # Each call would keep a process busy until its time-out. The sweep comes again.
            return "silent"
        latest = self._monotonic() + LATEST_SEND_SECONDS
        claim = self._store.claim(session_id, lease=LEASE_SECONDS)
        # Read after the claim: it is newer than the announce_at that the claim will settle, or the same.
        sync = self._syncs.get_state(session_id) if claim else None
        if claim is None or sync is None:
            return "not due"
        message = describe(sync, self._jira_url)
        update = _Update(self._store, self.connection, claim, message, lambda: self._monotonic() < latest)
        result = update.run()
        self._mind(update.failure)
        if update.called is not None and update.called != claim.channel_id:
            # A conversion, for instance, of which no event tells.
            log.info("slack calls the channel by another id", channel_id=claim.channel_id, new=update.called)
            self.moves.append((claim.channel_id, update.called))
        return result

    def say(self, thread: SlackThread, message: StatusMessage, since: datetime) -> Said:
        """Post a reply in a thread, unless it is there already. May be repeated."""
        if self._monotonic() < self._silent_until:
            return "later"
        answer = thread.find(since)
        if isinstance(answer, Absent):
            answer = thread.post(message)
        if isinstance(answer, Shown):
            self._mind(None)
            return "said"
        self._mind(answer)
        following = decide(answer, 0, 0)
        waits = isinstance(following, Park) or (isinstance(following, Later) and following.refusal is None)
        log.info("reply put off" if waits else "reply refused", reason=_reason(answer))
        return "later" if waits else "refused"

    def probe(self) -> bool:
        """Ask Slack whether it accepts us again, if it refuses us and a probe is due; True when it does."""
        if not self._store.take_probe():
            return False
        answer = self.connection.call("auth.test")
        if isinstance(answer, Done):
            log.info("slack takes us again")
            return self._store.taken_again()
        if isinstance(answer, Refused):
            if answer.error in OF_INSTALLATION:
                self._store.still_refused(answer.error)
            log.warning("slack still refuses us", error=answer.error)
        return False

    def _mind(self, failure: Failure | None) -> None:
        """Pause all sessions for a while when Slack asks for it or does not respond."""
        if isinstance(failure, Throttled):
            self._silent_until = self._monotonic() + failure.retry_after
        elif isinstance(failure, NotSent | Unknown):
            self._silent_until = self._monotonic() + pause_after(self._failures)
            self._failures += 1
        else:
            self._failures = 0


class _Update:
    """The steps for one message under one claim.

    Args:
        may_send: whether there is still time to send something.
    """

    def __init__(
        self,
        store: StatusStore,
        connection: WebApi,
        claim: StatusClaim,
        message: StatusMessage,
        may_send: Callable[[], bool],
    ) -> None:
        self.failure: Failure | None = None
        self.called: str | None = None
        self._store = store
        self._claim = claim
        self._message = message
        self._may_send = may_send
        self._thread = SlackThread(
            connection, claim.channel_id, claim.thread_ts, claim.session_id, claim.replaced_ts
        )

    def run(self) -> Result:
        claim = self._claim
        if claim.message_ts is not None:
            if claim.shown == self._message.fingerprint:
                kept = self._store.note_shown(claim, claim.message_ts, claim.shown)
                return "unchanged" if kept else "lost"
            answer = self._edit(claim.message_ts)
            if not (isinstance(answer, Refused) and answer.error == MESSAGE_GONE):
                return self._end(answer)
            forgotten = self._store.forget(claim)
            if forgotten is None:
                return "lost"
            self._claim = forgotten
        return self._post() if self._claim.post_begun_at is None else self._look()

    def _edit(self, message_ts: str) -> Shown | Failure:
        # A late edit, after another process's, would show an older state.
        return self._thread.edit(self._message, message_ts) if self._may_send() else _TOO_LATE

    def _look(self) -> Result:
        claim = self._claim
        assert claim.post_begun_at is not None  # noqa: S101 - else there is nothing to look for
        seen = self._thread.find(claim.post_begun_at)
        if isinstance(seen, Shown):
            if not self._store.adopt(claim, seen.message_ts):
                return "lost"
            self._claim = replace(claim, message_ts=seen.message_ts)
            return self._end(self._edit(seen.message_ts))
        if not isinstance(seen, Absent):
            return self._end(seen)
        unsettled = claim.post_begun_at + timedelta(seconds=SETTLE_SECONDS) - claim.now
        if unsettled > timedelta():
            later = Later(unsettled.total_seconds(), claim.failures, claim.refusals)
            return self._put_off(later, maybe_posted=True)
        return self._post()

    def _post(self) -> Result:
        if not self._store.begin_post(self._claim):
            return "lost"
        answer = self._thread.post(self._message) if self._may_send() else _TOO_LATE
        return self._end(answer, maybe_posted=isinstance(answer, Unknown))

    def _end(self, answer: Shown | Failure, *, maybe_posted: bool = True) -> Result:
        if isinstance(answer, Shown):
            self.called = answer.channel_id
            kept = self._store.note_shown(self._claim, answer.message_ts, self._message.fingerprint)
            self._log("status shown" if kept else "status lost")
            return "shown" if kept else "lost"
        if answer is _TOO_LATE:
            # Slack was not asked, so nothing is known of it: other sessions must not wait for our database.
            self._log("status put off", seconds=FIRST_PAUSE_SECONDS, reason=_TOO_LATE.why)
            claim = self._claim
            return self._put_off(
                Later(FIRST_PAUSE_SECONDS, claim.failures, claim.refusals), maybe_posted=maybe_posted
            )
        self.failure = answer
        following = decide(answer, self._claim.failures, self._claim.refusals)
        match following:
            case Later():
                self._log("status put off", seconds=following.seconds, reason=_reason(answer))
                return self._put_off(following, maybe_posted=maybe_posted)
            case Park():
                kept = self._store.park(self._claim, following.error, maybe_posted=maybe_posted)
                self._log("slack refuses us", error=following.error)
                return "parked" if kept else "lost"
            case Replace() if self._message.lasts and self._claim.message_ts is not None:
                return self._replace(following.error)
            case Replace() | Stop():
                kept = self._store.stop(self._claim, following.error, maybe_posted=maybe_posted)
                self._log("status not shown", error=following.error)
                return "stopped" if kept else "lost"
            case _:
                assert_never(following)

    def _replace(self, error: str) -> Result:
        self._log("status replaced", error=error)
        replaced = self._store.replace(self._claim)
        if replaced is None:
            return "lost"
        self._claim = replaced
        return self._post()

    def _put_off(self, later: Later, *, maybe_posted: bool) -> Result:
        kept = self._store.put_off(
            self._claim,
            later.seconds,
            failures=later.failures,
            refusals=later.refusals,
            refusal=later.refusal,
            maybe_posted=maybe_posted,
        )
        return "put off" if kept else "lost"

    def _log(self, event: str, **fields: object) -> None:
        tell = log.warning if "error" in fields else log.info
        tell(event, channel_id=self._claim.channel_id, thread_ts=self._claim.thread_ts, **fields)


def _reason(answer: Failure) -> str:
    match answer:
        case NotSent() | Unknown():
            return answer.why
        case Refused():
            return answer.error
        case _:
            return "rate limit"
