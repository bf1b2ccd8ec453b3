"""Parse payloads: JSON for events, a form for commands, JSON in a form for clicks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl


class MalformedPayload(Exception):
    """The body is malformed. The error never quotes it."""


def parse_payload(body: bytes, content_type: str) -> dict[str, Any]:
    """Parse a body. Raises ``MalformedPayload``: not text, not a JSON object, or a malformed ``event``."""
    try:
        text = body.decode()
        payload = _parse(text, content_type.partition(";")[0].strip().lower())
    # RecursionError: hostile nesting. ValueError: also numbers with thousands of digits.
    except (ValueError, RecursionError) as exc:
        raise MalformedPayload(f"the body cannot be parsed: {type(exc).__name__}") from exc
    if not isinstance(payload, dict):
        raise MalformedPayload("the payload is no JSON object")
    _check_parts(payload)
    return payload


def object_in(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object in a payload; empty if it is missing or another type."""
    part = payload.get(name)
    return part if isinstance(part, Mapping) else {}


def _check_parts(payload: dict[str, Any]) -> None:
    has_event = "event" in payload or payload.get("type") == "event_callback"
    if has_event and not isinstance(payload.get("event"), dict):
        raise MalformedPayload("the event is no JSON object")
    actions = payload.get("actions", [{}])
    if not (isinstance(actions, list) and actions and all(isinstance(item, dict) for item in actions)):
        raise MalformedPayload("the actions are no list of JSON objects")


def _parse(text: str, content_type: str) -> Any:
    if content_type == "application/json" or text.startswith("{"):
        return json.loads(text)
    form = dict(parse_qsl(text, keep_blank_values=True))
    return json.loads(form["payload"]) if "payload" in form else form
