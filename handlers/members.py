"""Decide who may act: members of the workspace; by default no guests and no people of partners.

Slack is asked about a person where ``users:read`` was granted, and its answer is kept for ten minutes. Else,
and while Slack does not answer, a person counts as a member if the payload says our workspace; guests are not
told apart then.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import structlog

from handlers.bot_identity import USERS_READ, BotIdentity, Identity
from handlers.origin import Payload, Person, installation_of, person_of
from handlers.slack_api import TROUBLE, SlackApi, describe_failure
from handlers.user_groups import UserGroups
from threadsync.actors import SlackActor, slack_actor

log = structlog.get_logger(__name__)

_KEPT_SECONDS: Final = 600.0
_MOST_KEPT: Final = 10_000
_ASK_SECONDS: Final = 1.0
"""Limit of a question to Slack, which leaves enough of the three seconds that Slack gives us."""

_PAUSE_SECONDS: Final = 30.0
_TOLD_SECONDS: Final = 60.0
_NO_SUCH_PERSON: Final = frozenset({"user_not_found", "user_not_visible"})
T = TypeVar("T")


class MayNotAct(Exception):
    """The person is a guest, or of another organisation; or the payload names no person."""


class Members:
    """The check of a payload's person."""

    def __init__(self, slack: SlackApi, identity: BotIdentity, who_may_act: str) -> None:
        self._slack = slack
        self._identity = identity
        self._everyone = who_may_act == "everyone"
        self._groups = UserGroups(slack)
        self._known: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[bool | None]] = {}
        self._not_before = 0.0
        self._told_at: OrderedDict[str, float] = OrderedDict()

    async def actor_of(self, payload: Payload) -> SlackActor | None:
        """Return the payload's actor; None only where there is no workspace. Raises ``MayNotAct``."""
        person = person_of(payload)
        identity = self._identity.current()
        if person is None:
            log.warning("payload names no person", kind=payload.get("type", "command"))
            raise MayNotAct
        # At the same time: Slack waits for three seconds in all.
        is_stranger, groups = await asyncio.gather(
            self._is_stranger(person, identity, payload), self._groups.of(person.user_id, identity)
        )
        if is_stranger and not self._everyone:
            log.info("person may not act", user_id=person.user_id, team_id=person.team_id)
            raise MayNotAct
        # Where all may act, the worker is told: a channel may be for members alone.
        member = False if is_stranger else None
        actor = slack_actor(person.user_id, person.team_id or identity.team_id, groups, member=member)
        if actor is None and identity.is_told:
            log.warning("payload names no person", kind=payload.get("type", "command"))
            raise MayNotAct
        return actor

    def is_to_be_told(self, payload: Payload) -> bool:
        """Return True if the person should be told of the refusal: at most once a minute."""
        person = person_of(payload)
        if person is None:
            return False
        now = time.monotonic()
        if now - self._told_at.get(person.user_id, -_TOLD_SECONDS) < _TOLD_SECONDS:
            return False
        _keep(self._told_at, person.user_id, now)
        return True

    async def _is_stranger(self, person: Person, identity: Identity, payload: Payload) -> bool:
        return identity.is_told and not await self._is_member(person, identity, payload)

    async def _is_member(self, person: Person, identity: Identity, payload: Payload) -> bool:
        told = await self._ask(person.user_id, identity) if USERS_READ in identity.scopes else None
        return says_member(person, identity, payload) if told is None else told

    async def _ask(self, user_id: str, identity: Identity) -> bool | None:
        """Ask Slack about a person, once for several payloads; None without a response."""
        until, is_member = self._known.get(user_id, (0.0, False))
        if time.monotonic() < until:
            return is_member
        if time.monotonic() < self._not_before:
            return None
        task = self._asked.get(user_id)
        if task is None:
            task = self._asked[user_id] = asyncio.create_task(self._look_up(user_id, identity))
            task.add_done_callback(lambda _: self._asked.pop(user_id, None))
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            return None

    async def _look_up(self, user_id: str, identity: Identity) -> bool | None:
        try:
            answer = await self._slack.web.users_info(user=user_id)
            user = answer.get("user")
            is_member = isinstance(user, Mapping) and _is_full_member(user, identity)
        except TROUBLE as exc:
            error = describe_failure(exc)
            if error not in _NO_SUCH_PERSON:
                self._not_before = time.monotonic() + _PAUSE_SECONDS
                log.warning("person not looked up", error=error)
                return None
            is_member = False
        _keep(self._known, user_id, (time.monotonic() + _KEPT_SECONDS, is_member))
        return is_member


def _is_full_member(user: Mapping[str, Any], identity: Identity) -> bool:
    """Read Slack's user object: https://docs.slack.dev/reference/objects/user-object."""
    if any(user.get(mark) is True for mark in ("is_restricted", "is_ultra_restricted", "is_stranger")):
        return False
    of_organisation = user.get("enterprise_user")
    teams = of_organisation.get("teams") if isinstance(of_organisation, Mapping) else None
    organisation = of_organisation.get("enterprise_id") if isinstance(of_organisation, Mapping) else None
    ours = {identity.team_id, identity.enterprise_id} - {None}
    return (
        user.get("team_id") in ours
        or (isinstance(teams, list) and identity.team_id in teams)
        or (identity.is_of_organisation and organisation == identity.team_id)
    )


def says_member(person: Person, identity: Identity, payload: Payload) -> bool:
    """Return True if the payload says that the person is of our workspace. Pure."""
    if person.team_id is None:
        # A conversation that is not shared has only members and guests.
        return not person.is_shared
    if person.team_id in (identity.team_id, identity.enterprise_id):
        return True
    # The payload names one of an organisation's workspaces, of which we know none.
    installation = installation_of(payload)
    of_ours = identity.is_of_organisation and installation.enterprise_id == identity.team_id
    is_there = "event" in payload or person.team_id == installation.team_id
    return of_ours and is_there and not person.is_shared


def _keep(kept: OrderedDict[str, T], name: str, value: T) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
