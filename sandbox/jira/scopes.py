"""Scopes that the sandbox's gateway demands of a scoped token or an OAuth token, by action. No I/O."""

from __future__ import annotations

from typing import Final

READ: Final = "read:jira-work"
WRITE: Final = "write:jira-work"
USERS: Final = "read:jira-user"
ALL: Final = frozenset((READ, WRITE, USERS))

_NEEDS: Final = {
    "create": WRITE,
    "comment.add": WRITE,
    "property.put": WRITE,
    "property.remove": WRITE,
    "attachment.add": WRITE,
    "remotelink.put": WRITE,
    "remotelink.remove": WRITE,
    "myself": USERS,
    "user.search": USERS,
    "user.assignable": USERS,
    "user.get": USERS,
    "group.search": USERS,
    "serverinfo": None,
}


def scope_of(action: str) -> str | None:
    """Return the scope that a call of this action needs; None if it needs none."""
    return _NEEDS.get(action, READ)
