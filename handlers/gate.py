"""Admit payloads of one workspace and one app, before every listener, over HTTP and in Socket Mode.

Other payloads are acknowledged, as Slack would only send them again, and dropped. Until the token's workspace
is known, an event gets 503, so that Slack delivers it later.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import structlog
from slack_bolt.response import BoltResponse

from handlers import replies
from handlers.bot_identity import BotIdentity, Identity
from handlers.follow_ups import FollowUps
from handlers.origin import Installation, installation_of, person_of
from handlers.ticket_form import SUMMARY

log = structlog.get_logger(__name__)

Reason = Literal["team", "app"]

_WAIT_SECONDS: Final = 1.0
"""Longest wait for the first result of auth.test; Slack itself waits for three seconds."""

_LOG_SECONDS: Final = 60.0


class Gate:
    """The middleware. ``dropped`` counts payloads of other installations, by reason."""

    def __init__(self, identity: BotIdentity, follow_ups: FollowUps) -> None:
        self._identity = identity
        self._follow_ups = follow_ups
        self.dropped: Counter[Reason] = Counter()
        self._logged_at: dict[Reason, float] = {}

    async def admit(self, body: dict[str, Any], next_: Callable[[], Awaitable[None]]) -> BoltResponse | None:
        """Pass the payload to its listener, or respond to it here. Middleware of Bolt.

        Slack's check of a new URL, which names no installation, Bolt handles earlier.
        """
        if not self._identity.is_pinned:
            await next_()
            return None
        identity = await self._identity.told(_WAIT_SECONDS)
        if not identity.is_told:
            return self._later(body)
        installation = installation_of(body)
        if reason := stranger(installation, identity):
            self._drop(reason, installation)
            return BoltResponse(status=200)
        await next_()
        return None

    def _later(self, body: dict[str, Any]) -> BoltResponse:
        """Let Slack deliver an event again; a click or a command it does not repeat, so tell the user."""
        if "event" in body:
            log.warning("event refused", reason="the workspace is not known yet")
            return BoltResponse(status=503)
        log.warning("payload not taken", kind=body.get("type", "command"))
        if "command" in body:
            return _json({"response_type": "ephemeral", "text": replies.TRY_AGAIN})
        if body.get("type") == "view_submission":
            return _json({"response_action": "errors", "errors": {SUMMARY: replies.TRY_AGAIN}})
        person = person_of(body)
        user = person.user_id if person else ""
        self._follow_ups.tell(str(body.get("response_url") or ""), replies.TRY_AGAIN, user)
        return BoltResponse(status=200)

    def _drop(self, reason: Reason, installation: Installation) -> None:
        self.dropped[reason] += 1
        now = time.monotonic()
        if now - self._logged_at.get(reason, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged_at[reason] = now
            log.warning(
                "payload of another installation dropped",
                reason=reason,
                team_id=installation.team_id,
                app_id=installation.app_id,
                so_far=self.dropped[reason],
            )


def stranger(installation: Installation, identity: Identity) -> Reason | None:
    """Return why a payload is not ours; None if it is. Pure."""
    if not _is_ours(installation, identity):
        return "team"
    # Old kinds of payload name no app; our app's signing secret has proved them.
    if identity.app_id and installation.app_id and installation.app_id != identity.app_id:
        return "app"
    return None


def _is_ours(installation: Installation, identity: Identity) -> bool:
    if installation.team_id is not None and installation.team_id == identity.team_id:
        return True
    # An app installed by a whole organisation: its id replaces the workspace's.
    of_organisation = identity.is_of_organisation or installation.team_id is None
    ours = {identity.team_id, identity.enterprise_id} - {None}
    return of_organisation and installation.enterprise_id in ours


def _json(answer: dict[str, Any]) -> BoltResponse:
    return BoltResponse(status=200, body=json.dumps(answer), headers={"content-type": "application/json"})
