"""Tell which user groups a person is in, where Slack says so.

One question for all groups, asked again after five minutes. Until the next answer, and while Slack gives
none, the last one holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog

from handlers.bot_identity import Identity
from handlers.slack_api import TROUBLE, SlackApi, describe_failure

log = structlog.get_logger(__name__)

USERGROUPS_READ: Final = "usergroups:read"
_KEPT_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 0.8
"""Limit of the wait for the first answer, which leaves enough of the three seconds that Slack gives us."""


class UserGroups:
    """The user groups of a workspace, by person."""

    def __init__(self, slack: SlackApi) -> None:
        self._slack = slack
        self._groups: Mapping[str, tuple[str, ...]] | None = None
        self._ask_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def of(self, user_id: str, identity: Identity) -> tuple[str, ...] | None:
        """Return the ids of the person's groups; None where Slack has not told, or not to this app."""
        if USERGROUPS_READ not in identity.scopes:
            return None
        if self._asking is None and time.monotonic() >= self._ask_at:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        if self._groups is None and self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_WAIT_SECONDS)
        return None if self._groups is None else self._groups.get(user_id, ())

    def _asked(self, _: asyncio.Task[None]) -> None:
        self._asking = None

    async def _ask(self) -> None:
        try:
            answer = await self._slack.web.usergroups_list(include_users=True)
        except TROUBLE as exc:
            self._ask_at = time.monotonic() + _PAUSE_SECONDS
            log.warning("user groups not read", error=describe_failure(exc))
            return
        found: dict[str, list[str]] = {}
        for group, user in members_of(answer.get("usergroups")):
            found.setdefault(user, []).append(group)
        self._groups = {user: tuple(sorted(set(groups))) for user, groups in found.items()}
        self._ask_at = time.monotonic() + _KEPT_SECONDS


def members_of(groups: Any) -> Iterator[tuple[str, str]]:
    """Yield group and user of each membership: https://docs.slack.dev/reference/methods/usergroups.list."""
    for group in groups if isinstance(groups, list) else ():
        group_id = group.get("id") if isinstance(group, Mapping) else None
        users = group.get("users") if isinstance(group, Mapping) else None
        for user in users if isinstance(users, list) else ():
            if isinstance(group_id, str) and isinstance(user, str):
                yield group_id, user
