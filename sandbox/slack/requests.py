"""Signed requests as Slack sends them: payloads, bodies, headers.

payload = app_mention("C0123", "U0456", "<@U0BOT> hello", ts="1700000000.000100")
request = signed_request(secret, payload)
httpx.post(url, content=request.body, headers=request.headers)
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

TEAM_ID = "T0SANDBOX"
APP_ID = "A0SANDBOX"
BOT_USER_ID = "U0SANDBOXBOT"
BOT_ID = "B0SANDBOX"

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

RetryReason = Literal["http_timeout", "http_error", "connection_failed", "ssl_error", "unknown_error"]
Payload = dict[str, Any]

_numbers = itertools.count(1)


@dataclass(frozen=True)
class SlackRequest:
    """An HTTP POST to the app's endpoint."""

    body: bytes
    headers: Mapping[str, str]

    def redelivered(self, number: int = 1, reason: RetryReason = "http_timeout") -> SlackRequest:
        """Make the same request as Slack redelivers it: ``number`` 1 to 3."""
        retry = {"x-slack-retry-num": str(number), "x-slack-retry-reason": reason}
        return replace(self, headers={**self.headers, **retry})


def signed_request(secret: str, payload: Mapping[str, Any], at: float | None = None) -> SlackRequest:
    """Encode a payload as Slack does for its kind, and sign it ``at`` a Unix time, now if None."""
    if "command" in payload:
        return sign(secret, urlencode(payload).encode(), FORM, at)
    text = json.dumps(payload)
    if payload.get("type") in ("event_callback", "url_verification", "app_rate_limited"):
        return sign(secret, text.encode(), JSON, at)
    return sign(secret, urlencode({"payload": text}).encode(), FORM, at)


def sign(secret: str, body: bytes, content_type: str = JSON, at: float | None = None) -> SlackRequest:
    """Make a request of any bytes, signed as Slack signs them."""
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256)
    headers = {
        "content-type": content_type,
        "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={digest.hexdigest()}",
    }
    return SlackRequest(body, headers)


def app_mention(
    channel_id: str, user_id: str, text: str, *, ts: str, thread_ts: str | None = None
) -> Payload:
    """Build the event of a mention; Slack sends a ``message`` with the same ``ts`` too."""
    event = {"type": "app_mention", "text": text, **_written(channel_id, user_id, ts, thread_ts)}
    return event_callback(event)


def message(
    channel_id: str,
    user_id: str,
    text: str,
    *,
    ts: str,
    thread_ts: str | None = None,
    subtype: str | None = None,
) -> Payload:
    """Build the event of a user's message in a channel, or with ``thread_ts`` in a thread."""
    event = {
        "type": "message",
        "text": text,
        "channel_type": "channel",
        **_written(channel_id, user_id, ts, thread_ts),
    }
    return event_callback({**event, "subtype": subtype} if subtype else event)


def bot_message(channel_id: str, text: str, *, ts: str, thread_ts: str | None = None) -> Payload:
    """Build the event of our own bot's message, which Slack sends like any other."""
    event = {
        "type": "message",
        "text": text,
        "bot_id": BOT_ID,
        "app_id": APP_ID,
        **_written(channel_id, BOT_USER_ID, ts, thread_ts),
    }
    return event_callback(event)


def event_callback(event: Mapping[str, Any]) -> Payload:
    """Build the envelope of an event, with an event id of its own."""
    return {
        "token": "verification-token",
        "team_id": TEAM_ID,
        "api_app_id": APP_ID,
        "event": dict(event),
        "type": "event_callback",
        "event_id": f"Ev{next(_numbers):08d}",
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM_ID,
                "user_id": BOT_USER_ID,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
    }


def slash_command(
    text: str,
    channel_id: str,
    user_id: str,
    *,
    command: str = "/ticket",
    response_url: str = "",
    **fields: str,
) -> Payload:
    """Build the form of a user's ``/ticket text``; ``fields`` are added to it."""
    return {
        "token": "verification-token",
        "team_id": TEAM_ID,
        "team_domain": "sandbox",
        "channel_id": channel_id,
        "channel_name": "general",
        "user_id": user_id,
        "user_name": "somebody",
        "command": command,
        "text": text,
        "api_app_id": APP_ID,
        "response_url": response_url,
        "trigger_id": _trigger_id(),
        **fields,
    }


def message_shortcut(
    callback_id: str,
    channel_id: str,
    user_id: str,
    *,
    ts: str,
    thread_ts: str | None = None,
    response_url: str = "",
) -> Payload:
    """Build the payload of a shortcut that a user chose from a message's menu."""
    return {
        **_clicked("message_action", channel_id, user_id, response_url),
        "callback_id": callback_id,
        "action_ts": _now_ts(),
        "message_ts": ts,
        "message": {
            "type": "message",
            "text": "…",
            "user": "U0AUTHOR",
            "ts": ts,
            **({"thread_ts": thread_ts} if thread_ts else {}),
        },
    }


def button_click(
    action_id: str,
    value: str | None,
    channel_id: str,
    user_id: str,
    *,
    message_ts: str,
    thread_ts: str | None = None,
    response_url: str = "",
) -> Payload:
    """Build the payload of a click on a button in one of our messages."""
    thread = {"thread_ts": thread_ts} if thread_ts else {}
    action = {
        "type": "button",
        "action_id": action_id,
        "block_id": "b1",
        "text": {"type": "plain_text", "text": "Button"},
        "action_ts": _now_ts(),
        **({"value": value} if value is not None else {}),
    }
    return {
        **_clicked("block_actions", channel_id, user_id, response_url),
        "container": {
            "type": "message",
            "message_ts": message_ts,
            "channel_id": channel_id,
            "is_ephemeral": False,
            **thread,
        },
        "message": {
            "type": "message",
            "text": "…",
            "user": BOT_USER_ID,
            "bot_id": BOT_ID,
            "ts": message_ts,
            **thread,
        },
        "actions": [action],
    }


def view_submission(
    view: Mapping[str, Any], values: Mapping[str, str | None], user_id: str, *, view_id: str = "V0SANDBOX"
) -> Payload:
    """Build the payload of a modal that a user submitted.

    Args:
        view: the view as it was opened.
        values: the inputs by block id; each block has one field.
    """
    actions = {
        block["block_id"]: block["element"]["action_id"] for block in view["blocks"] if "element" in block
    }
    state = {
        block_id: {actions[block_id]: {"type": "plain_text_input", "value": value}}
        for block_id, value in values.items()
    }
    return {
        "type": "view_submission",
        "team": {"id": TEAM_ID, "domain": "sandbox"},
        "user": {"id": user_id, "username": "somebody", "name": "somebody", "team_id": TEAM_ID},
        "api_app_id": APP_ID,
        "token": "verification-token",
        "trigger_id": _trigger_id(),
        "view": {
            "id": view_id,
            "team_id": TEAM_ID,
            "app_id": APP_ID,
            "bot_id": BOT_ID,
            "hash": f"{_now_ts()}.sandbox",
            "previous_view_id": None,
            "root_view_id": view_id,
            "external_id": "",
            **view,
            "state": {"values": state},
        },
        "response_urls": [],
    }


def _written(channel_id: str, user_id: str, ts: str, thread_ts: str | None) -> Payload:
    thread = {"thread_ts": thread_ts} if thread_ts else {}
    return {
        "user": user_id,
        "ts": ts,
        "team": TEAM_ID,
        "channel": channel_id,
        "event_ts": ts,
        **thread,
    }


def _clicked(kind: str, channel_id: str, user_id: str, response_url: str) -> Payload:
    return {
        "type": kind,
        "token": "verification-token",
        "team": {"id": TEAM_ID, "domain": "sandbox"},
        "user": {"id": user_id, "username": "somebody", "name": "somebody", "team_id": TEAM_ID},
        "api_app_id": APP_ID,
        "channel": {"id": channel_id, "name": "general"},
        "trigger_id": _trigger_id(),
        "response_url": response_url,
    }


def _trigger_id() -> str:
    return f"{time.time_ns()}.{next(_numbers)}.sandbox"


def _now_ts() -> str:
    return f"{time.time():.6f}"
