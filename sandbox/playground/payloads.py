"""Payloads of what a person does on the page, made of the real messages and views. Pure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from sandbox.playground.cast import Channel, Person
from sandbox.slack import requests
from sandbox.slack.messages import Message
from sandbox.slack.requests import APP_ID, TEAM_ID, Payload

SUGGESTION: Final = "block_suggestion"
SUBMISSION: Final = "view_submission"
CLOSED: Final = "view_closed"


def of_message(person: Person, message: Message, site: str, *, is_mention: bool) -> Payload:
    """Build the event of a message, or of the mention in it: Slack sends both. ``site`` has the files."""
    build = requests.app_mention if is_mention else requests.message
    payload = build(message.channel, person.id, message.text, ts=message.ts, thread_ts=message.thread_ts)
    payload["event"] |= {"team": person.team_id, "user_team": person.team_id}
    if message.files and not is_mention:
        payload["event"] |= {"subtype": "file_share", "files": message.as_json(site)["files"]}
    # Unique over restarts, as Slack's are: a task has the id of its event, and results are kept for an hour.
    payload["event_id"] = f"Ev{secrets.token_hex(6).upper()}"
    return payload


def of_button(
    person: Person, channel: Channel, message: Message, action: Mapping[str, Any], response_url: str
) -> Payload:
    """Build the click on a button of a message; ``action`` is the button as it stands there."""
    root = message.thread_ts
    payload = requests.button_click(
        str(action.get("action_id", "")),
        action.get("value"),
        channel.id,
        person.id,
        message_ts=message.ts,
        thread_ts=root,
        response_url=response_url,
    )
    payload["message"] = {**message.as_json(), **({"thread_ts": root} if root else {})}
    pressed = {name: action[name] for name in ("text", "block_id", "style") if name in action}
    payload["actions"][0] |= pressed
    payload["container"]["is_ephemeral"] = message.only_for is not None
    return {**payload, **_by(person), "channel": {"id": channel.id, "name": channel.name}}


def of_shortcut(
    person: Person, channel: Channel, message: Message, callback_id: str, response_url: str
) -> Payload:
    """Build the choice of a message shortcut."""
    payload = requests.message_shortcut(
        callback_id, channel.id, person.id, ts=message.ts, response_url=response_url
    )
    payload["message"] = message.as_json()
    return {**payload, **_by(person), "channel": {"id": channel.id, "name": channel.name}}


def of_command(person: Person, channel: Channel, command: str, text: str, response_url: str) -> Payload:
    """Build a slash command."""
    return requests.slash_command(
        text,
        channel.id,
        person.id,
        command=command,
        response_url=response_url,
        channel_name=channel.name,
        user_name=person.name.lower(),
    )


def of_view(kind: str, person: Person, view: Mapping[str, Any], values: Mapping[str, Any]) -> Payload:
    """Build a view's submission, or its end without one."""
    more: Payload = {"is_cleared": False} if kind == CLOSED else {"response_urls": []}
    return {**_about_view(kind, person, view, values), "trigger_id": trigger_id(), **more}


def of_element(
    person: Person, view: Mapping[str, Any], values: Mapping[str, Any], action: Mapping[str, Any]
) -> Payload:
    """Build the change of an element in a view; ``action`` has its ids and its state."""
    return {
        **_about_view("block_actions", person, view, values),
        "trigger_id": trigger_id(),
        "container": {"type": "view", "view_id": view["id"]},
        "actions": [{**action, "action_ts": f"{time.time():.6f}"}],
    }


def of_question(person: Person, view: Mapping[str, Any], block_id: str, action_id: str, text: str) -> Payload:
    """Build the question of an external select for options."""
    return {
        **_about_view(SUGGESTION, person, view, {}),
        "container": {"type": "view", "view_id": view["id"]},
        "block_id": block_id,
        "action_id": action_id,
        "value": text,
    }


def trigger_id() -> str:
    """Make a trigger id of its own."""
    return str(requests.slash_command("", "", "")["trigger_id"])


def _about_view(kind: str, person: Person, view: Mapping[str, Any], values: Mapping[str, Any]) -> Payload:
    return {
        "type": kind,
        **_by(person),
        "api_app_id": APP_ID,
        "token": "verification-token",
        "view": {**view, "state": {"values": dict(values)}},
    }


def _by(person: Person) -> Payload:
    name = person.name.lower()
    user = {"id": person.id, "username": name, "name": name, "team_id": person.team_id}
    return {"team": {"id": TEAM_ID, "domain": "sandbox"}, "user": user}
