"""Scopes of the sandbox's token, and the methods that need one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sandbox.slack.arguments import Arguments, SlackError

SCOPES: Final = (
    "app_mentions:read",
    "channels:history",
    "groups:history",
    "chat:write",
    "commands",
    "users:read",
    "users:read.email",
    "usergroups:read",
    "channels:read",
    "groups:read",
    "files:read",
)
"""All scopes that the app may ask for, the optional ones too; every successful response lists the token's."""

_HISTORY: Final = ("channels:history", "groups:history")
_READ: Final = ("channels:read", "groups:read")
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "bots.info": ("users:read",),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": _HISTORY,
    "conversations.info": _READ,
    "conversations.list": _READ,
    "conversations.replies": _HISTORY,
    "files.info": ("files:read",),
    "usergroups.list": ("usergroups:read",),
    "usergroups.users.list": ("usergroups:read",),
    "users.info": ("users:read",),
}
"""Scopes by method: of public channels and of private ones where there are two."""

_OF_PRIVATE: Final = 1


def check_scope(method: str, arguments: Arguments, scopes: Collection[str]) -> None:
    """Raise ``SlackError`` with what is needed if none of ``scopes`` allows the call.

    A private channel's id begins with G here; a list of channels needs either scope.
    """
    needed = _NEEDS.get(method, ())
    if len(needed) > _OF_PRIVATE and "channel" in arguments:
        is_private = str(arguments["channel"]).startswith("G")
        needed = needed[_OF_PRIVATE:] if is_private else needed[:_OF_PRIVATE]
    if needed and not set(needed) & set(scopes):
        raise SlackError("missing_scope", needed=",".join(needed), provided=",".join(scopes))
