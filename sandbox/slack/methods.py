"""The Web API's methods, each with its effect on the workspace and its response. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sandbox.slack import people as directory
from sandbox.slack.arguments import TS, USER, Answer, Arguments, SlackError, content_of, metadata_of
from sandbox.slack.messages import Message, page_of_history, page_of_thread
from sandbox.slack.requests import APP_ID, BOT_ID, BOT_USER_ID, TEAM_ID

if TYPE_CHECKING:
    from sandbox.slack.workspace import SlackWorkspace

    Method = Callable[[SlackWorkspace, Arguments], Answer]

URL: Final = "https://sandbox.slack.server.com/"
"""The workspace's address; links to messages begin with it."""


def _auth_test(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return {
        "url": URL,
        "team": "Sandbox",
        "user": "threadsync",
        "team_id": TEAM_ID,
        "user_id": BOT_USER_ID,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def _post_message(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    message = workspace.keep(_new_message(workspace, arguments))
    return {"channel": message.channel, "ts": message.ts, "message": message.as_json(workspace.site)}


def _post_ephemeral(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    user = str(arguments.get("user", ""))
    if not USER.fullmatch(user):
        raise SlackError("user_not_in_channel")
    message = workspace.keep(replace(_new_message(workspace, arguments), only_for=user))
    return {"message_ts": message.ts}


def _update(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    channel = workspace.channel_of(arguments)
    old = workspace.get(channel, str(arguments.get("ts", "")))
    if not old.is_by_us:
        raise SlackError("cant_update_message")
    text, blocks = content_of(arguments)
    metadata = metadata_of(arguments) or old.metadata
    new = replace(old, text=text, blocks=blocks, metadata=metadata, is_edited=True)
    workspace.put(old, new)
    return {"channel": channel, "ts": new.ts, "text": new.text, "message": new.as_json(workspace.site)}


def _permalink(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    channel, ts = workspace.channel_of(arguments), str(arguments.get("message_ts", ""))
    if not TS.fullmatch(ts) or (channel, ts) in workspace.deleted:
        raise SlackError("message_not_found")
    link = f"{URL}archives/{channel}/p{ts.replace('.', '')}"
    message = workspace.find(channel, ts)
    thread_ts = message.thread_ts if message else None
    query = f"?thread_ts={thread_ts}&cid={channel}" if thread_ts else ""
    return {"channel": channel, "permalink": link + query}


def _replies(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    root = str(arguments.get("ts", ""))
    page = page_of_thread(workspace.in_channel(arguments), root, arguments, workspace.site)
    if page is None:
        raise SlackError("thread_not_found")
    return page


def _history(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return page_of_history(workspace.in_channel(arguments), arguments, workspace.site)


def _channel_info(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return {"channel": directory.channel_json(workspace.channel_of(arguments), workspace.channel_facts)}


def _channels_list(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    known = workspace.channels
    if known is None:
        known = {*workspace.channel_facts, *(message.channel for message in workspace.messages)}
    return directory.channels_list(arguments, sorted(known), workspace.channel_facts)


def _user_info(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return directory.user_info(arguments, workspace.people, workspace.scopes)


def _groups_list(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return directory.groups_list(arguments, workspace.groups)


def _group_users(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return directory.group_users(arguments, workspace.groups)


def _file_info(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    file = workspace.file(str(arguments.get("file", "")))
    if file is None:
        raise SlackError("file_not_found")
    return {"file": file.as_json(workspace.site)}


def _bot_info(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    if arguments.get("bot") != BOT_ID:
        raise SlackError("bot_not_found")
    return {"bot": {"id": BOT_ID, "app_id": APP_ID, "user_id": BOT_USER_ID, "name": "threadsync"}}


def _open_view(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return workspace.modals.open(arguments)


def _update_view(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    return workspace.modals.update(arguments)


def _add_reaction(workspace: SlackWorkspace, arguments: Arguments) -> Answer:
    old = workspace.get(workspace.channel_of(arguments), str(arguments.get("timestamp", "")))
    name = str(arguments.get("name", ""))
    if not name:
        raise SlackError("invalid_name")
    if name in old.reactions:
        raise SlackError("already_reacted")
    workspace.put(old, replace(old, reactions=(*old.reactions, name)))
    return {}


def _new_message(workspace: SlackWorkspace, arguments: Arguments) -> Message:
    channel = workspace.channel_of(arguments)
    text, blocks = content_of(arguments)
    thread_ts = arguments.get("thread_ts")
    if thread_ts is not None and not TS.fullmatch(str(thread_ts)):
        raise SlackError("invalid_thread_ts")
    metadata = metadata_of(arguments)
    return Message(channel, workspace.new_ts(), text, thread_ts=thread_ts, blocks=blocks, metadata=metadata)


METHODS: Final[Mapping[str, Method]] = {
    "auth.test": _auth_test,
    "bots.info": _bot_info,
    "chat.getPermalink": _permalink,
    "chat.postEphemeral": _post_ephemeral,
    "chat.postMessage": _post_message,
    "chat.update": _update,
    "conversations.history": _history,
    "conversations.info": _channel_info,
    "conversations.list": _channels_list,
    "conversations.replies": _replies,
    "files.info": _file_info,
    "reactions.add": _add_reaction,
    "usergroups.list": _groups_list,
    "usergroups.users.list": _group_users,
    "users.info": _user_info,
    "views.open": _open_view,
    "views.update": _update_view,
}
