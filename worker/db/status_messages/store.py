"""Store of status messages: claim one, write its outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from worker.db.status_messages import sql as queries
from worker.db.store import Store

FIRST_PROBE_SECONDS: Final = 15.0
LONGEST_PROBE_SECONDS: Final = 900.0
"""Pauses between two probes of Slack."""


@dataclass(frozen=True, slots=True)
class StatusClaim:
    """A status message that this process has for the moment; ``now`` is the database's clock.

    ``post_begun_at`` without ``message_ts``: a post was begun, and its end is not known. ``shown`` is
    the fingerprint of what the message shows, None when that is not known. Messages up to ``replaced_ts``
    were ours and cannot be edited any more.
    """

    session_id: UUID
    channel_id: str
    thread_ts: str
    fence: int
    message_ts: str | None
    post_begun_at: datetime | None
    shown: str | None
    failures: int
    refusals: int
    replaced_ts: str | None
    announce_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class SlackTrouble:
    """Slack's refusal of the installation; ``reason`` is its name for the error."""

    reason: str
    since: datetime


class StatusStore(Store):
    """Store of status messages. With a lost claim a method returns False (or None) and writes nothing."""

    def claim(self, session_id: UUID, *, lease: float) -> StatusClaim | None:
        """Take a message for ``lease`` seconds; None when it is up to date, or not to be taken now."""
        rows = self._rows(queries.CLAIM, {"session_id": session_id, "lease": lease})
        return StatusClaim(**rows[0]) if rows else None

    def begin_post(self, claim: StatusClaim) -> bool:
        """Commit to a post, before it is sent."""
        return bool(self._rows(queries.BEGIN_POST, _of(claim)))

    def adopt(self, claim: StatusClaim, message_ts: str) -> bool:
        """Record that the message of an earlier post was found."""
        return bool(self._rows(queries.ADOPT, {**_of(claim), "message_ts": message_ts}))

    def forget(self, claim: StatusClaim) -> StatusClaim | None:
        """Record that the message is gone; return the claim as it is now, None when it is lost."""
        rows = self._rows(queries.FORGET, _of(claim))
        if not rows:
            return None
        return replace(claim, message_ts=None, shown=None, post_begun_at=rows[0]["post_begun_at"])

    def replace(self, claim: StatusClaim) -> StatusClaim | None:
        """Record that the message is not editable; return the claim as it is now, None when it is lost."""
        rows = self._rows(queries.REPLACE, _of(claim))
        if not rows:
            return None
        replaced_ts = rows[0]["replaced_ts"]
        return replace(claim, message_ts=None, shown=None, post_begun_at=None, replaced_ts=replaced_ts)

    def note_shown(self, claim: StatusClaim, message_ts: str, shown: str) -> bool:
        """Record that Slack shows the message; the claim is over."""
        params = {**_of(claim), "message_ts": message_ts, "shown": shown, "announce_at": claim.announce_at}
        return bool(self._rows(queries.SHOWN, params))

    def put_off(
        self,
        claim: StatusClaim,
        seconds: float,
        *,
        failures: int,
        maybe_posted: bool,
        refusals: int = 0,
        refusal: str | None = None,
    ) -> bool:
        """Put the message off for so many seconds; the claim is over.

        Args:
            failures: in a row, to be found in the next claim, as ``refusals`` are.
            maybe_posted: whether the message may be there now. Else it is as it was at the claim.
            refusal: Slack's name for why it does not take this message.
        """
        params = {
            "seconds": seconds,
            "failures": failures,
            "refusals": refusals,
            "refusal": refusal,
            "maybe_posted": maybe_posted,
        }
        return bool(self._rows(queries.PUT_OFF, {**_of(claim), **_begun(claim), **params}))

    def stop(self, claim: StatusClaim, refusal: str, *, maybe_posted: bool) -> bool:
        """Stop until the sync's next change, for the reason that Slack gave; the claim is over."""
        params = {"refusal": refusal, "maybe_posted": maybe_posted}
        return bool(self._rows(queries.STOP, {**_of(claim), **_begun(claim), **params}))

    def park(self, claim: StatusClaim, refusal: str, *, maybe_posted: bool) -> bool:
        """Park all messages until ``taken_again``: Slack refuses the installation; the claim is over."""
        params = {
            "refusal": refusal,
            "maybe_posted": maybe_posted,
            "first_pause": FIRST_PROBE_SECONDS,
            "longest_pause": LONGEST_PROBE_SECONDS,
        }
        return bool(self._rows(queries.PARK, {**_of(claim), **_begun(claim), **params}))

    def take_probe(self) -> bool:
        """Return True if the caller is to probe Slack; no other process does meanwhile."""
        return bool(self._rows(queries.TAKE_PROBE, {}))

    def still_refused(self, refusal: str) -> None:
        """Record that Slack was probed and still refuses us."""
        self._rows(queries.STILL_REFUSED, {"refusal": refusal})

    def taken_again(self) -> bool:
        """Record that Slack accepts us again; False when another process has done so."""
        return bool(self._rows(queries.TAKEN_AGAIN, {}))

    def trouble(self) -> SlackTrouble | None:
        """Read why Slack refuses the installation, if it does."""
        rows = self._rows(queries.TROUBLE, {})
        return SlackTrouble(rows[0]["trouble"], rows[0]["trouble_since"]) if rows else None

    def take_due(self, *, most: int, for_seconds: float) -> list[UUID]:
        """Take sessions whose message is out of date, oldest first; no other caller gets them for a while."""
        rows = self._rows(queries.TAKE_DUE, {"most": most, "for_seconds": for_seconds})
        return [row["session_id"] for row in rows]


def _of(claim: StatusClaim) -> dict[str, Any]:
    return {"session_id": claim.session_id, "fence": claim.fence}


def _begun(claim: StatusClaim) -> dict[str, Any]:
    return {"post_begun_at": claim.post_begun_at, "announce_at": claim.announce_at}
