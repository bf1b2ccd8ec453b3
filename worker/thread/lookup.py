"""Look up names of people, channels and user groups in Slack; keep them in this process for some minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from worker.thread.kept import Kept
from worker.thread.slack import MISSING_SCOPE, SlackReader, SlackRefuses

LONGEST_NAME: Final = 200

_PEOPLE: Final = ("U", "W")
_CHANNELS: Final = ("C", "G", "D")
_GROUPS: Final = "S"


@dataclass(slots=True)
class Names:
    """Names by Slack's ids. None is kept as the name of an id that has none for us.

    Args:
        monotonic: seconds, as this process measures them.
    """

    monotonic: Callable[[], float] = time.monotonic
    lacks_users_read: bool = False
    """True if the last question for a person was refused, as the app lacks ``users:read``."""

    _known: Kept[str | None] = field(init=False)

    def __post_init__(self) -> None:
        self._known = Kept(self.monotonic)

    def of(self, ids: Iterable[str], slack: SlackReader) -> dict[str, str]:
        """Return the names of ids; ids without one are left out.

        Raises ``SlackWaits`` when Slack gives no response; what was looked up until then is kept.
        """
        found: dict[str, str] = {}
        for slack_id in dict.fromkeys(ids):
            name = self._name(slack_id, slack)
            if name:
                found[slack_id] = name
        return found

    def has(self, slack_id: str) -> bool:
        """Return True if nothing is to be asked about the id now."""
        return self._known.get(slack_id) is not None

    def last(self, slack_id: str) -> str | None:
        """Return the name that was found last, however long ago, without asking Slack."""
        return self._known.last(slack_id)

    def channels_named(self, name: str) -> list[str]:
        """Return the ids of channels that were found to have this name, without asking Slack."""
        return sorted(key for key in self._known.asked_with(name) if key.startswith(_CHANNELS))

    def _name(self, slack_id: str, slack: SlackReader) -> str | None:
        if kept := self._known.get(slack_id):
            return kept.answer
        name: str | None = None
        if slack_id.startswith(_PEOPLE):
            name = self._person(slack_id, slack)
        elif slack_id.startswith(_CHANNELS):
            name = _asked(slack, "conversations.info", _channel, channel=slack_id)
        elif slack_id.startswith(_GROUPS):
            return self._group(slack_id, slack)
        name = _cut(name)
        self._known.put(slack_id, name)
        return name

    def _person(self, slack_id: str, slack: SlackReader) -> str | None:
        try:
            body = slack.ask("users.info", user=slack_id)
        except SlackRefuses as exc:
            self.lacks_users_read = exc.error == MISSING_SCOPE
            return None
        self.lacks_users_read = False
        return name_in(body)

    def _group(self, slack_id: str, slack: SlackReader) -> str | None:
        names = _asked(slack, "usergroups.list", _groups) or {}
        for group_id, name in names.items():
            self._known.put(group_id, _cut(name))
        if slack_id not in names:
            self._known.put(slack_id, None)
        return _cut(names.get(slack_id))


def _cut(name: str | None) -> str | None:
    return name[:LONGEST_NAME] if name else None


def _asked(
    slack: SlackReader, method: str, reader: Callable[[Mapping[str, Any]], Any], **arguments: Any
) -> Any:
    """Return what Slack says; None where it refuses, as for want of a scope."""
    try:
        return reader(slack.ask(method, **arguments))
    except SlackRefuses:
        return None


def name_in(body: Mapping[str, Any]) -> str | None:
    """Return the name that Slack's answer to ``users.info`` shows for the person."""
    user = _inner(body, "user")
    profile = _inner(user, "profile")
    found = (
        *(profile.get(name) for name in ("display_name", "real_name")),
        *(user.get(name) for name in ("real_name", "name")),
    )
    return next((name for name in found if isinstance(name, str) and name.strip()), None)


def _channel(body: Mapping[str, Any]) -> str | None:
    name = _inner(body, "channel").get("name")
    return name if isinstance(name, str) and name.strip() else None


def _groups(body: Mapping[str, Any]) -> dict[str, str]:
    listed = body.get("usergroups")
    groups = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    named = ((group.get("id"), group.get("handle") or group.get("name")) for group in groups)
    return {key: name for key, name in named if isinstance(key, str) and isinstance(name, str) and name}


def _inner(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}
