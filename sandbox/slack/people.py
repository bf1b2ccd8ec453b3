"""People, user groups and channels of the sandbox Slack. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sandbox.slack.arguments import USER, Answer, Arguments, SlackError, is_on, number_of
from sandbox.slack.requests import BOT_USER_ID, TEAM_ID

_MOST_CHANNELS: Final = 999


def user_info(arguments: Arguments, people: Mapping[str, Answer], scopes: Collection[str]) -> Answer:
    """Answer ``users.info``; the e-mail address only with its scope. ``people`` overrides members.

    A ``profile`` among them is added to the profile: ``{"profile": {"email": None}}`` takes the address away.
    """
    user = str(arguments.get("user", ""))
    if not USER.fullmatch(user):
        raise SlackError("user_not_found")
    told = dict(people.get(user, {}))
    profile: Answer = {
        "real_name": told.get("real_name", user.title()),
        "display_name": told.get("name", user.lower()),
        "email": f"{user.lower()}@example.com",
        **told.pop("profile", {}),
    }
    if "users:read.email" not in scopes or not profile["email"]:
        del profile["email"]
    marks = {
        "deleted": False,
        "is_bot": user == BOT_USER_ID,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "is_stranger": False,
    }
    names = {"name": user.lower(), "real_name": user.title()}
    return {"user": {"id": user, "team_id": TEAM_ID, **marks, **names, "profile": profile, **told}}


def groups_list(arguments: Arguments, groups: Mapping[str, Sequence[str]]) -> Answer:
    """Answer ``usergroups.list``: a group's users and their number on request alone."""
    with_users, with_count = is_on(arguments, "include_users"), is_on(arguments, "include_count")
    return {
        "usergroups": [
            {
                "id": group,
                "team_id": TEAM_ID,
                "is_usergroup": True,
                "handle": group.lower(),
                "name": group,
                "date_delete": 0,
                **({"users": list(users)} if with_users else {}),
                **({"user_count": len(users)} if with_count else {}),
            }
            for group, users in groups.items()
        ]
    }


def group_users(arguments: Arguments, groups: Mapping[str, Sequence[str]]) -> Answer:
    """Answer ``usergroups.users.list``."""
    group = str(arguments.get("usergroup", ""))
    if group not in groups:
        raise SlackError("no_such_subteam")
    return {"users": list(groups[group])}


def channel_json(channel: str, told: Mapping[str, Answer]) -> Answer:
    """Show a channel as Slack does; ``told`` overrides members. Ids with G are private ones."""
    kinds = {"is_channel": channel[0] == "C", "is_group": channel[0] == "G", "is_im": channel[0] == "D"}
    return {
        "id": channel,
        "name": channel.lower(),
        "is_archived": False,
        "is_private": channel[0] != "C",
        "is_member": True,
        "is_shared": False,
        "is_ext_shared": False,
        **kinds,
        **told.get(channel, {}),
    }


def channels_list(arguments: Arguments, channels: Sequence[str], told: Mapping[str, Answer]) -> Answer:
    """Answer ``conversations.list`` in pages; by default public channels alone, archived ones too."""
    kinds = {kind.strip() for kind in str(arguments.get("types") or "public_channel").split(",")}
    if not kinds <= {"public_channel", "private_channel", "mpim", "im"}:
        raise SlackError("invalid_types")
    letters = {"public_channel": "C", "private_channel": "G", "im": "D"}
    wanted = {letters[kind] for kind in kinds if kind in letters}
    shown = [channel_json(channel, told) for channel in channels if channel[0] in wanted]
    if str(arguments.get("exclude_archived", "")).lower() in ("true", "1"):
        shown = [channel for channel in shown if not channel["is_archived"]]
    begin = number_of(arguments, "cursor", 0)
    end = begin + number_of(arguments, "limit", 100, _MOST_CHANNELS)
    cursor = str(end) if end < len(shown) else ""
    return {"channels": shown[begin:end], "response_metadata": {"next_cursor": cursor}}
