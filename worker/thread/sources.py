"""Sources of the steps of one claim: the claim, Slack, Jira; and what follows when Slack gives nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from threadsync.marker import marker_of
from worker.db.ticket_steps.store import StepClaim, TicketStepStore
from worker.jira.setup import Setup
from worker.jira.ticket_calls import TicketCalls
from worker.text.thread_link import link_to_thread
from worker.thread.comment import Format, Thread
from worker.thread.decide import Impossible, NotYet
from worker.thread.files import REASONS, NotCopied
from worker.thread.lookup import Names
from worker.thread.message import Transcript, transcript
from worker.thread.names import ids_in
from worker.thread.protocol import COMMIT_SECONDS
from worker.thread.slack import SlackReader, SlackRefuses, SlackWaits

_THREADS_GONE: Final = frozenset({"thread_not_found", "message_not_found"})
_NO_NAMES: Final = "People are shown by their Slack IDs, because the Slack app lacks the scope users:read."


@dataclass(frozen=True, slots=True)
class Sources:
    """What the steps of one claim read and write with. ``slack`` is None where no Slack is configured."""

    setup: Setup
    store: TicketStepStore
    claim: StepClaim
    calls: TicketCalls
    slack: SlackReader | None
    names: Names

    @property
    def marker(self) -> str:
        """The marker of the thread's ticket."""
        claim = self.claim
        return claim.marker or marker_of(self.setup.target.site, claim.channel_id, claim.thread_ts)

    @property
    def form(self) -> Format:
        """The format of comments in this Jira."""
        return "adf" if self.setup.target.account.deployment == "cloud" else "wiki"

    @property
    def attachment_name(self) -> str:
        """The name of the attachment that has the whole thread."""
        return f"thread-{self.marker}.txt"

    def begin(self, seconds: float) -> bool:
        """Commit to a write that takes at most so many seconds."""
        return self.store.begin_write(self.claim, COMMIT_SECONDS + seconds)

    def attached(self) -> tuple[str, ...] | None:
        """Return the names of the ticket's attachments. Raises ``CallFailed``."""
        return self.calls.attachments(self.claim.jira_id)

    def read_transcript(self) -> Transcript:
        """Read the thread up to the moment of the request. Raises ``SlackWaits`` or ``SlackRefuses``."""
        until = self.claim.drafted_at or f"{self.claim.begun_at.timestamp():.6f}"
        slack = self._slack()
        return transcript(slack.messages(self.claim.slack_channel, self.claim.thread_ts, until), until)

    def read_thread(self) -> Thread:
        """Read the thread with the names in it. Raises ``SlackWaits`` or ``SlackRefuses``."""
        claim, found = self.claim, self.read_transcript()
        names = self.names.of(ids_in(found), self._slack())
        url = link_to_thread(claim.slack_channel, claim.thread_ts)
        moment = float(claim.drafted_at) if claim.drafted_at else claim.begun_at.timestamp()
        notes = (_NO_NAMES,) if self.names.lacks_users_read else ()
        reasons = not_copied(found, claim.files) if claim.include == "files" else None
        return Thread(found, names, url, datetime.fromtimestamp(moment, UTC), reasons, notes)

    def _slack(self) -> SlackReader:
        if self.slack is None:
            raise SlackRefuses("not_configured")
        return self.slack


def not_copied(found: Transcript, states: Iterable[str]) -> Mapping[str, NotCopied]:
    """Return the reason of each file that is not on the ticket.

    Args:
        states: of files, as ``StepClaim.files`` has them; a file without one came after the last chosen one.
    """
    known: Mapping[str, str] = dict(_pair(state) for state in states)
    reasons = {file.id: known.get(file.id, "too_many") for file in found.files()}
    return {file_id: reason_of(state) for file_id, state in reasons.items() if state != "copied"}


def reason_of(given_up: str) -> NotCopied:
    """Return the reason that people are told for the end of a file's step."""
    if given_up == "rejected":
        return "refused"
    for reason in REASONS:
        if reason == given_up:
            return reason
    return "kept_failing"


def _pair(state: str) -> tuple[str, str]:
    file_id, _, value = state.partition("=")
    return file_id, value


def waits_for(exc: SlackWaits | SlackRefuses) -> NotYet | Impossible:
    """Return what follows when Slack does not give the thread.

    What a person can change (an invitation, a scope, the token) is waited for.
    """
    if isinstance(exc, SlackWaits):
        return NotYet(exc.seconds, is_failure=exc.seconds is None)
    return Impossible("thread_gone") if exc.error in _THREADS_GONE else NotYet()
