"""What follows a ticket of the sandbox Jira: links, comments, attachments, entity properties. No I/O.

Each change takes effect at once, or ``later`` by so many seconds on the site's clock, as after a late commit.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sandbox.jira.issues import Attachment, Comment, Issue, RemoteLink, Upload
from sandbox.jira.store import IssueStore

_FIRST_ID: Final = 10_000


class FollowUps(IssueStore):
    """Store of tickets and of what follows them, safe for threads.

    Methods take the id of a ticket. A change of a ticket that was deleted meanwhile has no effect.
    """

    def __init__(
        self,
        projects: Sequence[str] = ("PROJ",),
        clock: Callable[[], float] = time.time,
        search_lag: float = 0.0,
    ) -> None:
        super().__init__(projects, clock, search_lag)
        self._part_ids = itertools.count(_FIRST_ID)

    def put_link(
        self, issue_id: str, global_id: str | None, url: str, title: str, later: float = 0.0
    ) -> tuple[RemoteLink, bool]:
        """Put a link in place of one with the same ``global_id``; return it, and True if it is new."""
        with self._settled():
            issue = self._issues[issue_id]
            old = [link for link in issue.remote_links if global_id and link.global_id == global_id]
            link = RemoteLink(old[0].id if old else next(self._part_ids), global_id, url, title)
            self._change(issue_id, later, lambda issue, at: _with_link(issue, link))
            return link, not old

    def remove_link(self, issue_id: str, global_id: str, later: float = 0.0) -> bool:
        """Remove the link; return False if there was none."""
        with self._settled():
            found = any(link.global_id == global_id for link in self._issues[issue_id].remote_links)
            self._change(issue_id, later, lambda issue, at: _without_link(issue, global_id))
            return found

    def add_comment(
        self,
        issue_id: str,
        body: object,
        properties: Mapping[str, Any],
        later: float = 0.0,
        author: str | None = None,
    ) -> Comment:
        """Add a comment."""
        with self._settled() as now:
            comment = Comment(next(self._part_ids), body, properties, author, now + later)
            self._change(
                issue_id, later, lambda issue, at: replace(issue, comments=(*issue.comments, comment))
            )
            return comment

    def put_comment_property(
        self, issue_id: str, comment_id: int, key: str, value: Any, later: float = 0.0
    ) -> bool:
        """Set an entity property of a comment, None removes it; return True if there was none."""

        def put(issue: Issue, at: float) -> Issue:
            comments = tuple(
                replace(comment, properties=_with(comment.properties, key, value))
                if comment.id == comment_id
                else comment
                for comment in issue.comments
            )
            return replace(issue, comments=comments)

        with self._settled():
            comments = [item for item in self._issues[issue_id].comments if item.id == comment_id]
            is_new = not any(key in comment.properties for comment in comments)
            self._change(issue_id, later, put)
            return is_new

    def put_property(self, issue_id: str, key: str, value: Any, later: float = 0.0) -> bool:
        """Set an entity property of the ticket, None removes it; return True if there was none."""
        with self._settled():
            is_new = key not in self._issues[issue_id].properties
            self._change(
                issue_id,
                later,
                lambda issue, at: replace(issue, properties=_with(issue.properties, key, value)),
            )
            return is_new

    def attach(
        self, issue_id: str, uploads: Sequence[Upload], later: float = 0.0, author: str | None = None
    ) -> tuple[Attachment, ...]:
        """Attach files, all at the same moment. Several files may have one name."""
        with self._settled() as now:
            added = tuple(
                Attachment(
                    next(self._part_ids), file.filename, file.content, file.content_type, author, now + later
                )
                for file in uploads
            )
            self._change(
                issue_id, later, lambda issue, at: replace(issue, attachments=(*issue.attachments, *added))
            )
            return added

    def attached(self, attachment_id: str) -> tuple[Issue, Attachment] | None:
        """Return an attachment and its ticket; None if there is none with this id."""
        for issue in self.issues:
            for attachment in issue.attachments:
                if str(attachment.id) == attachment_id:
                    return issue, attachment
        return None


def _with(properties: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    others = {name: other for name, other in properties.items() if name != key}
    return others if value is None else {**others, key: value}


def _with_link(issue: Issue, link: RemoteLink) -> Issue:
    """Put the link in place of itself and of any other with its ``global_id``."""
    others = [
        other
        for other in issue.remote_links
        if other.id != link.id and not (link.global_id and other.global_id == link.global_id)
    ]
    return replace(issue, remote_links=(*others, link))


def _without_link(issue: Issue, global_id: str) -> Issue:
    others = tuple(link for link in issue.remote_links if link.global_id != global_id)
    return replace(issue, remote_links=others)
