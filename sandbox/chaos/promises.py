"""Promises about a session and its tickets that hold at each moment, and in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sandbox.chaos.world import ACCOUNTS, World
from sandbox.jira.accounts import BOT_ID, SERVICE_ID
from sandbox.jira.issues import Issue
from worker.jira.parsing import PROPERTY
from worker.jira.unlink import PROPERTY as LEFT
from worker.thread.files import is_copy_of
from worker.thread.work import PROPERTY as THREAD

PERSONS: Final = ("blocked", "failed", "review")
"""States that need a person."""


def breaches(world: World) -> Iterator[str]:
    """Yield what is broken now: a second ticket, a wrong key, a wait without an end, something twice."""
    issues, state = world.site.issues, world.state()
    left = {
        ticket.jira_key for ticket in world.store.unlinked.of(world.session_id) if not ticket.linked_again_at
    }
    current = [issue.key for issue in issues if issue.key not in left | world.others]
    if len(current) > 1:
        yield f"{len(current)} tickets: {', '.join(current)}"
    if state.state in (*PERSONS, "retry_wait", "unknown") and not state.reason:
        yield f"{state.state} without a reason"
    if state.state in ("pending", "inflight", "retry_wait", "unknown") and state.next_attempt_at is None:
        yield f"{state.state}, and nothing will happen"
    session = world.sessions.get_session(world.session_id)
    if session and session.jira_key and session.jira_key not in {issue.key for issue in issues}:
        yield f"the session has {session.jira_key}, which is no ticket"
    for issue in issues:
        yield from _twice(issue)
        yield from _falsely_reported(issue)


def _falsely_reported(issue: Issue) -> Iterator[str]:
    """A ticket's reporter is who asked for it, or the account that created it."""
    value = issue.properties.get(PROPERTY)
    asked = value.get("requester") if isinstance(value, dict) else None
    if issue.reporter not in (BOT_ID, SERVICE_ID, ACCOUNTS.get(str(asked))):
        yield f"{issue.key} was asked for by {asked} and is reported by {issue.reporter}"


def _twice(issue: Issue) -> Iterator[str]:
    if len([comment for comment in issue.comments if THREAD in comment.properties]) > 1:
        yield f"{issue.key} has the thread twice"
    acts = Counter(
        comment.properties[LEFT]["act"] for comment in issue.comments if LEFT in comment.properties
    )
    names = Counter(attachment.filename for attachment in issue.attachments)
    for name, count in (acts | names).items():
        if count > 1:
            yield f"{issue.key} has {name} {count} times"
    if len(issue.remote_links) > 1:
        yield f"{issue.key} has {len(issue.remote_links)} links"


def shortfalls(world: World, include: str) -> Iterator[str]:
    """Yield what is missing once all has calmed down.

    Args:
        include: what of the thread goes to its ticket: ``link | text | files``.
    """
    state = world.state()
    if state.state != "done":
        yield f"ends as {state.summary()}"
        return
    unlinked = world.store.unlinked.of(world.session_id)
    left = {ticket.jira_key for ticket in unlinked if not ticket.linked_again_at}
    current = [issue for issue in world.site.issues if issue.key not in left | world.others]
    session = world.sessions.get_session(world.session_id)
    if (
        len(current) != 1
        or session is None
        or session.status != "synced"
        or session.jira_key != current[0].key
    ):
        has = session and session.jira_key
        yield f"the session has {has}, Jira {', '.join(issue.key for issue in current) or 'no ticket'}"
        return
    if state.duplicates:
        yield f"the audit reports {state.duplicates}"
    for ticket in unlinked:
        if ticket.given_up:
            yield ticket.summary()
    for issue in world.site.issues:
        if issue.key in left:
            if issue.remote_links:
                yield f"{issue.key} has a link, and was unlinked"
            if not any(LEFT in comment.properties for comment in issue.comments):
                yield f"{issue.key} was unlinked without a comment"
    yield from _missing(world, current[0], include, was_linked=bool(unlinked) and state.origin == "named")


def _missing(world: World, issue: Issue, include: str, *, was_linked: bool) -> Iterator[str]:
    """Yield what the session's ticket lacks. One that a person has linked gets the link alone."""
    if len(issue.remote_links) != 1:
        yield f"{issue.key} has {len(issue.remote_links)} links"
    elif "/archives/" not in issue.remote_links[0].url:
        yield f"{issue.key} links to {issue.remote_links[0].url}"
    if was_linked or include == "link":
        return
    if not any(THREAD in comment.properties for comment in issue.comments):
        yield f"{issue.key} has no comment with the thread"
    names = [attachment.filename for attachment in issue.attachments]
    for file in world.files if include == "files" else ():
        if not is_copy_of(file, names):
            yield f"{issue.key} has no copy of {file}"
