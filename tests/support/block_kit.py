"""Slack's side of a modal: the limits by which it refuses one, and the state in which it sends it back.

The numbers are those of https://docs.slack.dev/reference/block-kit, written here a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from sandbox.slack.requests import APP_ID, TEAM_ID

_INPUTS: Final = {
    "plain_text_input",
    "url_text_input",
    "number_input",
    "datepicker",
    "datetimepicker",
    "static_select",
    "multi_static_select",
    "users_select",
    "multi_users_select",
}


def check_view(view: Mapping[str, Any]) -> None:
    """Raise ``AssertionError`` where Slack would refuse the modal."""
    assert set(view) <= {"type", "callback_id", "private_metadata", "title", "submit", "close", "blocks"}
    assert view["type"] == "modal"
    for name in ("title", "close", "submit"):
        if name in view:
            _text(view[name], 24)
    assert _length(view.get("private_metadata", "")) <= 3_000
    assert _length(view.get("callback_id", "")) <= 255
    blocks = view["blocks"]
    assert 1 <= len(blocks) <= 100
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    assert len(ids) == len(set(ids))
    assert all(1 <= _length(block_id) <= 255 for block_id in ids)
    if any(block["type"] == "input" for block in blocks):
        assert "submit" in view
    for block in blocks:
        _block(block)
    assert len(json.dumps(view)) <= 250_000


def _block(block: Mapping[str, Any]) -> None:
    if block["type"] == "section":
        _text(block["text"], 3_000)
        return
    assert block["type"] == "input"
    assert set(block) <= {"type", "block_id", "label", "element", "hint", "optional", "dispatch_action"}
    _text(block["label"], 2_000)
    if "hint" in block:
        _text(block["hint"], 2_000)
    element = block["element"]
    assert element["type"] in _INPUTS
    assert 1 <= _length(element["action_id"]) <= 255
    match element["type"]:
        case "static_select" | "multi_static_select":
            _select(element)
        case "plain_text_input":
            assert 1 <= element.get("max_length", 3_000) <= 3_000
            if "initial_value" in element:
                assert 1 <= _length(element["initial_value"]) <= element.get("max_length", 3_000)
                assert element.get("multiline") or "\n" not in element["initial_value"]
        case "url_text_input":
            if "initial_value" in element:
                assert re.match(r"https?://\S+\Z", element["initial_value"])
                assert _length(element["initial_value"]) <= 3_000
        case "number_input":
            assert element["is_decimal_allowed"] in (True, False)
            if "initial_value" in element:
                assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", element["initial_value"])
        case "datepicker":
            if "initial_date" in element:
                date.fromisoformat(element["initial_date"])
        case "datetimepicker":
            if "initial_date_time" in element:
                assert isinstance(element["initial_date_time"], int)
                assert len(str(element["initial_date_time"])) == 10


def _select(element: Mapping[str, Any]) -> None:
    assert 1 <= len(element["options"]) <= 100
    values = [option["value"] for option in element["options"]]
    assert len(values) == len(set(values))
    for option in element["options"]:
        _text(option["text"], 75)
        assert 1 <= _length(option["value"]) <= 150
    initial = element.get("initial_options", [])
    if "initial_option" in element:
        assert element["type"] == "static_select"
        initial = [element["initial_option"]]
    if "initial_options" in element:
        assert element["type"] == "multi_static_select"
        assert initial
    assert all(option in element["options"] for option in initial)


def _text(text: Mapping[str, Any], most: int) -> None:
    assert text["type"] == "plain_text"
    assert 1 <= _length(text["text"]) <= most
    assert text["text"].strip()


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def state_of(view: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the state of a modal in which a person made ``changes``, by the field's id.

    A change is what the input then holds: a text, a date, seconds, a value or values of options, users.
    """
    changes = changes or {}
    state: dict[str, Any] = {}
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element = block["element"]
        name = block["block_id"].partition("#")[0]
        held = _held(element, changes[name]) if name in changes else _begins(element)
        state[block["block_id"]] = {element["action_id"]: {"type": element["type"], **held}}
    return state


def _begins(element: Mapping[str, Any]) -> dict[str, Any]:
    match element["type"]:
        case "datepicker":
            return {"selected_date": element.get("initial_date")}
        case "datetimepicker":
            return {"selected_date_time": element.get("initial_date_time")}
        case "static_select":
            return {"selected_option": element.get("initial_option")}
        case "multi_static_select":
            return {"selected_options": element.get("initial_options", [])}
        case "users_select":
            return {"selected_user": element.get("initial_user")}
        case "multi_users_select":
            return {"selected_users": element.get("initial_users", [])}
    return {"value": element.get("initial_value")}


def _held(element: Mapping[str, Any], change: Any) -> dict[str, Any]:
    by_value = {option["value"]: option for option in element.get("options", ())}
    match element["type"]:
        case "datepicker":
            return {"selected_date": change}
        case "datetimepicker":
            return {"selected_date_time": change}
        case "static_select":
            return {"selected_option": by_value[change] if change is not None else None}
        case "multi_static_select":
            return {"selected_options": [by_value[value] for value in change]}
        case "users_select":
            return {"selected_user": change}
        case "multi_users_select":
            return {"selected_users": list(change)}
    return {"value": change}


def submitted(view: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the part of a submission that the form is read from."""
    return {"view": {**view, "state": {"values": state_of(view, changes)}}}


def changed_in(view: Mapping[str, Any], name: str, value: str, user: str) -> dict[str, Any]:
    """Return what Slack sends when a person enters another value in an input that dispatches."""
    block = next(block for block in view["blocks"] if block.get("block_id", "").partition("#")[0] == name)
    element = block["element"]
    held = _held(element, value)
    action = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block["block_id"],
        **held,
    }
    return {
        "type": "block_actions",
        "user": {"id": user, "team_id": TEAM_ID},
        "team": {"id": TEAM_ID, "domain": "sandbox"},
        "api_app_id": APP_ID,
        "trigger_id": "1.1.sandbox",
        "container": {"type": "view", "view_id": view.get("id")},
        "view": {
            "app_installed_team_id": TEAM_ID,
            **view,
            "state": {"values": state_of(view, {name: value})},
        },
        "actions": [action],
    }
