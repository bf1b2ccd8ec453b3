"""The calls of each step that writes to a ticket, for ``protocol.run_step``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from worker.jira.requester import requester_of
from worker.jira.ticket_calls import UPLOAD_SECONDS
from worker.text.person_name import person_name
from worker.text.thread_link import link_to_thread
from worker.thread.comment import Comment, attachment, comment
from worker.thread.decide import Impossible, Missing, NotYet, Present, TicketGone, Written
from worker.thread.files import MOST_BYTES, is_copy_of
from worker.thread.slack import MISSING_SCOPE, SlackReader, SlackRefuses, SlackWaits
from worker.thread.sources import Sources, waits_for

PROPERTY: Final = "threadsync-thread"
TITLE: Final = "Slack thread"

FILE_TRIES: Final = 3
"""Number of downloads of a file after which what came in its place is believed."""

WAIT_FOR_FILES: Final = timedelta(hours=2)
"""Longest time for which a comment waits for files; then it says that they could not be copied yet."""

_FILES_GONE: Final = frozenset({"file_not_found", "file_deleted", "deleted"})


@dataclass(slots=True)
class LinkWork:
    """The remote link with the thread's permalink. It is an upsert, so nothing is looked for first.

    ``waits``: why the permalink is still missing; the link then leads there by a redirect of Slack's.
    """

    sources: Sources
    waits: NotYet | None = None
    _url: str = ""
    _title: str = TITLE

    def look(self) -> Missing:
        """Return that it is to be written."""
        return Missing()

    def prepare(self) -> None:
        """Ask Slack for the permalink, and for the name of who asked for the ticket."""
        claim, slack = self.sources.claim, self.sources.slack
        self._url = link_to_thread(claim.slack_channel, claim.thread_ts)
        self._title = self._titled(None)
        if slack is None:
            return
        try:
            self._url = slack.permalink(claim.slack_channel, claim.thread_ts)
            self._title = self._titled(slack)
        except SlackWaits as exc:
            self.waits = NotYet(exc.seconds, is_failure=exc.seconds is None)
        except SlackRefuses as exc:
            self.waits = NotYet() if exc.is_of_installation else None

    def begin(self) -> bool:
        """Commit to the write."""
        return self.sources.begin(self.sources.setup.target.account.timeout)

    def write(self) -> Written | TicketGone:
        """Put the link in place of the one that is there."""
        sources = self.sources
        global_id = f"threadsync={sources.marker}"
        is_there = sources.calls.put_link(sources.claim.jira_id, global_id, self._url, self._title)
        return Written() if is_there else TicketGone()

    def _titled(self, slack: SlackReader | None) -> str:
        user_id = requester_of(self.sources.claim.requested_by)
        if user_id is None:
            return TITLE
        name = None
        # The permalink does not wait for a name.
        with suppress(SlackWaits):
            name = self.sources.names.of([user_id], slack).get(user_id) if slack else None
        return f"{TITLE}, requested by {person_name(name, user_id)}"


@dataclass(slots=True)
class FileWork:
    """One file of the thread, as an attachment."""

    sources: Sources
    _name: str = ""
    _mimetype: str = ""
    _content: bytes = field(default=b"", repr=False)

    def look(self) -> Present | Missing | TicketGone:
        """Look for an attachment with the file's id."""
        attached = self.sources.attached()
        if attached is None:
            return TicketGone()
        return Present() if is_copy_of(self.sources.claim.file_id, attached) else Missing()

    def prepare(self) -> NotYet | Impossible | None:
        """Download the file."""
        slack = self.sources.slack
        if slack is None:
            return Impossible("kept_failing")
        try:
            file = slack.file(self.sources.claim.file_id)
            if file.trouble:
                return Impossible(file.trouble)
            if file.size is not None and file.size > MOST_BYTES:
                return Impossible("too_big")
            content = slack.download(file)
        except SlackWaits as exc:
            return NotYet(exc.seconds, is_failure=exc.seconds is None)
        except SlackRefuses as exc:
            return _file_refused(exc)
        if isinstance(content, bytes):
            self._name, self._mimetype, self._content = file.attachment, file.mimetype, content
            return None
        is_final = content in ("too_big", "external") or self.sources.claim.failures + 1 >= FILE_TRIES
        return Impossible(content) if is_final else NotYet()

    def begin(self) -> bool:
        """Commit to the upload."""
        return self.sources.begin(UPLOAD_SECONDS)

    def write(self) -> Written:
        """Attach the file."""
        self.sources.calls.attach(self.sources.claim.jira_id, self._name, self._content, self._mimetype)
        return Written()


def _file_refused(exc: SlackRefuses) -> NotYet | Impossible:
    if exc.error == MISSING_SCOPE:
        return Impossible("not_allowed")
    if exc.is_of_installation:
        return NotYet()
    return Impossible("gone" if exc.error in _FILES_GONE else "no_access")


@dataclass(slots=True)
class AttachmentWork:
    """The attachment with the whole thread, where the comment cannot hold it."""

    sources: Sources
    _content: bytes = field(default=b"", repr=False)

    def look(self) -> Present | Missing | TicketGone:
        """Look for an attachment of this name."""
        attached = self.sources.attached()
        if attached is None:
            return TicketGone()
        return Present() if self.sources.attachment_name in attached else Missing()

    def prepare(self) -> NotYet | Impossible | None:
        """Read the thread."""
        try:
            self._content = attachment(self.sources.read_thread())
        except (SlackWaits, SlackRefuses) as exc:
            return waits_for(exc)
        return None

    def begin(self) -> bool:
        """Commit to the upload."""
        return self.sources.begin(UPLOAD_SECONDS)

    def write(self) -> Written:
        """Attach the text."""
        sources = self.sources
        sources.calls.attach(sources.claim.jira_id, sources.attachment_name, self._content, "text/plain")
        return Written()


@dataclass(slots=True)
class CommentWork:
    """The comment with the thread. ``needs_attachment``: it is cut, and the attachment comes first."""

    sources: Sources
    needs_attachment: bool = False
    _comment: Comment | None = field(default=None, repr=False)

    def look(self) -> Present | Missing | TicketGone:
        """Look for a comment with our property."""
        comments = self.sources.calls.comment_properties(self.sources.claim.jira_id)
        if comments is None:
            return TicketGone()
        return Present() if any(map(self._is_ours, comments)) else Missing()

    def prepare(self) -> NotYet | Impossible | None:
        """Read the thread, and write it down within Jira's limit."""
        sources = self.sources
        try:
            thread = sources.read_thread()
        except (SlackWaits, SlackRefuses) as exc:
            return waits_for(exc)
        name = sources.attachment_name if sources.claim.attachment == "done" else None
        self._comment = comment(thread, sources.form, name)
        if self._comment.is_cut and sources.claim.attachment is None:
            self.needs_attachment = True
            return NotYet(is_failure=False)
        return None

    def begin(self) -> bool:
        """Commit to the comment."""
        return self.sources.begin(self.sources.setup.target.account.timeout)

    def write(self) -> Written | TicketGone:
        """Add the comment."""
        sources, made = self.sources, self._comment
        assert made is not None  # noqa: S101 - it was prepared
        value = {"marker": sources.marker, "cut": made.is_cut}
        is_there = sources.calls.add_comment(sources.claim.jira_id, made.body, PROPERTY, value)
        return Written() if is_there else TicketGone()

    def _is_ours(self, properties: Mapping[str, Any]) -> bool:
        value = properties.get(PROPERTY)
        return isinstance(value, dict) and value.get("marker") == self.sources.marker
