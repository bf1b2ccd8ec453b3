"""The state of a view's inputs, and the checks that Slack's client makes before it sends a form. Pure.

What the page sends for an element is a text (text inputs, dates, ids, the value of an option), a list of
texts (several options), a number of seconds (a date with time), or for an external select the option itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

Block = Mapping[str, Any]
Raw = Any

REQUIRED: Final = "Please complete this required field."
_LONGEST_TEXT: Final = 3_000
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

TEXTS: Final = frozenset(
    {"plain_text_input", "number_input", "url_text_input", "email_text_input", "rich_text_input"}
)
_ONE_OPTION: Final = frozenset({"static_select", "radio_buttons", "overflow"})
_OPTIONS: Final = frozenset({"multi_static_select", "checkboxes"})
_IDS: Final[Mapping[str, str]] = {
    "users_select": "selected_user",
    "conversations_select": "selected_conversation",
    "channels_select": "selected_channel",
    "multi_users_select": "selected_users",
    "multi_conversations_select": "selected_conversations",
    "multi_channels_select": "selected_channels",
}
INTERACTIVE: Final = (
    TEXTS
    | _ONE_OPTION
    | _OPTIONS
    | frozenset(_IDS)
    | {"external_select", "multi_external_select", "datepicker", "timepicker", "datetimepicker"}
)


class WrongInput(ValueError):
    """An input that Slack's client does not send; the message is for the person."""


@dataclass(frozen=True)
class FormState:
    """``values`` as a payload has them, by block and action; with ``errors``, by block, nothing is sent."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def state_of(view: Mapping[str, Any], given: Mapping[str, Mapping[str, Raw]]) -> FormState:
    """Return the state of all elements of a view, from what was typed and chosen on the page."""
    state = FormState()
    for block, element in elements_of(view):
        block_id, action_id = str(block.get("block_id", "")), str(element.get("action_id", ""))
        raw = given.get(block_id, {}).get(action_id)
        is_required = block.get("type") == "input" and not block.get("optional")
        try:
            value = element_state(element, raw)
        except WrongInput as exc:
            state.errors[block_id] = str(exc)
            continue
        if is_required and is_empty(value):
            state.errors[block_id] = REQUIRED
        state.values.setdefault(block_id, {})[action_id] = value
    return state


def elements_of(view: Mapping[str, Any]) -> Iterator[tuple[Block, Mapping[str, Any]]]:
    """Yield each element that has a state, with its block."""
    for block in view.get("blocks", ()):
        found = [block.get("element"), block.get("accessory"), *block.get("elements", ())]
        for element in found:
            if isinstance(element, Mapping) and element.get("type") in INTERACTIVE:
                yield block, element


def element_of(view: Mapping[str, Any], block_id: str, action_id: str) -> Mapping[str, Any]:
    """Return one element. Raises ``WrongInput`` if the view has none of these ids."""
    for block, element in elements_of(view):
        if (block.get("block_id"), element.get("action_id")) == (block_id, action_id):
            return element
    raise WrongInput("This form has changed meanwhile.")


def element_state(element: Mapping[str, Any], raw: Raw) -> dict[str, Any]:
    """Return the state of one element. Raises ``WrongInput``."""
    kind = str(element["type"])
    if kind in TEXTS:
        return {"type": kind, "value": _text(element, raw)}
    if kind in _ONE_OPTION:
        return {"type": kind, "selected_option": _option(element, raw) if raw else None}
    if kind in _OPTIONS:
        return {"type": kind, "selected_options": [_option(element, one) for one in _list(raw)]}
    if kind == "external_select":
        return {"type": kind, "selected_option": _offered(raw) if raw else None}
    if kind == "multi_external_select":
        return {"type": kind, "selected_options": [_offered(one) for one in _list(raw)]}
    if kind in _IDS:
        is_multi = kind.startswith("multi_")
        return {"type": kind, _IDS[kind]: [str(one) for one in _list(raw)] if is_multi else raw or None}
    if kind == "datepicker":
        return {"type": kind, "selected_date": _moment(raw, _DATE, date.fromisoformat, "date")}
    if kind == "timepicker":
        return {"type": kind, "selected_time": _moment(raw, _TIME, time.fromisoformat, "time")}
    return {"type": kind, "selected_date_time": _seconds(raw)}


def is_empty(state: Mapping[str, Any]) -> bool:
    """Return True if nothing was typed or chosen."""
    return all(value in (None, "", []) for name, value in state.items() if name != "type")


def _text(element: Mapping[str, Any], raw: Raw) -> str | None:
    text = raw if isinstance(raw, str) else ""
    if not text:
        return None
    longest, shortest = element.get("max_length", _LONGEST_TEXT), element.get("min_length", 0)
    if len(text) > longest:
        raise WrongInput(f"Please enter at most {longest:,} characters.")
    if len(text) < shortest:
        raise WrongInput(f"Please enter at least {shortest:,} characters.")
    match element["type"]:
        case "number_input":
            _check_number(element, text)
        case "url_text_input" if not _is_url(text):
            raise WrongInput("Please enter a valid URL.")
        case "email_text_input" if not _EMAIL.fullmatch(text):
            raise WrongInput("Please enter a valid email address.")
    return text


def _check_number(element: Mapping[str, Any], text: str) -> None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise WrongInput("Please enter a valid number.") from None
    if not number.is_finite() or (
        not element.get("is_decimal_allowed") and number != number.to_integral_value()
    ):
        raise WrongInput("Please enter a valid number.")
    least, most = element.get("min_value"), element.get("max_value")
    if least is not None and number < Decimal(str(least)):
        raise WrongInput(f"Please enter a number that is at least {least}.")
    if most is not None and number > Decimal(str(most)):
        raise WrongInput(f"Please enter a number that is at most {most}.")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _option(element: Mapping[str, Any], raw: Raw) -> dict[str, Any]:
    groups = element.get("option_groups") or [element]
    options = [option for group in groups for option in group.get("options", ())]
    found = next((option for option in options if option.get("value") == raw), None)
    if found is None:
        raise WrongInput("That choice is not offered any more.")
    return dict(found)


def _offered(raw: Raw) -> dict[str, Any]:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("value"), str) or "text" not in raw:
        raise WrongInput("That choice is not offered any more.")
    return {"text": raw["text"], "value": raw["value"]}


def _list(raw: Raw) -> list[Raw]:
    return raw if isinstance(raw, list) else []


def _moment(raw: Raw, shape: re.Pattern[str], parse: Callable[[str], object], what: str) -> str | None:
    if not raw:
        return None
    try:
        if isinstance(raw, str) and shape.fullmatch(raw):
            parse(raw)
            return raw
    except ValueError:
        pass
    raise WrongInput(f"Please enter a valid {what}.")


def _seconds(raw: Raw) -> int | None:
    if raw in (None, ""):
        return None
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < 10**10:
        raise WrongInput("Please enter a valid date and time.")
    return raw
