"""Make a draft of what a form holds, and a form's values of a draft. Pure.

``values`` are by field: what a draft holds of it, members and ``fields`` alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from handlers.form.choices import match
from handlers.form.inputs import Block, Entry, initial_entry
from handlers.form.values import Fault, value_of
from threadsync.forms import OF_DRAFT, Choice, FormField
from threadsync.syncs import LONGEST_DRAFT_DESCRIPTION, LONGEST_DRAFT_SUMMARY
from worker.text.slack_text import cleaned, parse

SUMMARY: Final = "summary"
DESCRIPTION: Final = "description"

NO_SUMMARY: Final = "Please say in a few words what the ticket is about."
NOTHING: Final = "Please write something here: Jira takes no ticket without it."
NOT_CHECKED: Final = "I could not check this with Jira just now. Please press the button again in a moment."
NOT_READ: Final = (
    "I could not read the whole of this again just now. Please press the button again in a moment, or write "
    "something else here."
)
TOO_LARGE: Final = "All fields together are too large for one ticket. Please shorten this one."
TOO_MANY: Final = "That is {count} labels; a ticket from here takes {most}."

MOST_FIELDS_BYTES: Final = 65_536
"""Limit of a draft's ``fields``, written as JSON in ASCII."""

_MOST_LABELS: Final = 50
_LONGEST_LABEL: Final = 255
_LONGEST: Final = {SUMMARY: LONGEST_DRAFT_SUMMARY, DESCRIPTION: LONGEST_DRAFT_DESCRIPTION}


@dataclass(frozen=True)
class Known:
    """What was looked up for a submission.

    Args:
        choices: of fields whose choices are typed, by field; a missing one could not be looked up.
        accounts: Jira's accounts by Slack user.
        unknown: sentences on Slack users without an account, by user; a user in neither was not looked up.
        kept: all values as they were before, by field, for those that the form did not show whole; None
            where they could not be read.
    """

    choices: Mapping[str, Sequence[Choice]] = field(default_factory=dict)
    accounts: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Written:
    """The values of a submission by field, and what is wrong with it: sentences by block."""

    values: dict[str, Any]
    faults: dict[str, str]


def written(
    entries: Iterable[Entry], known: Known, keeps: Callable[[str], bool] = lambda name: False
) -> Written:
    """Return the values that inputs hold.

    Args:
        keeps: tells a field that the form did not show whole, or has no input for. Unless somebody changes
            it, it keeps the value that it had.
    """
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    blocks: dict[str, str] = {}
    for entry in entries:
        name = entry.spec.id
        blocks[name] = entry.block_id
        if entry.is_unchanged and keeps(name):
            if known.kept is None:
                faults[entry.block_id] = NOT_READ
                continue
            if name in known.kept:
                values[name] = known.kept[name]
                continue
        try:
            value = value_of(entry.spec, _resolved(entry, known))
            _check(entry, value)
        except Fault as exc:
            faults[entry.block_id] = str(exc)
        else:
            if value is not None:
                values[name] = value
    unasked = [name for name in known.kept or () if name not in blocks and keeps(name)]
    values |= {name: (known.kept or {})[name] for name in unasked}
    if SUMMARY not in values and blocks.get(SUMMARY, SUMMARY) not in faults:
        faults[blocks.get(SUMMARY, SUMMARY)] = NO_SUMMARY
    if not faults and _are_too_large(values):
        shown = [name for name in blocks if name in values and name not in OF_DRAFT]
        largest = max(shown, key=lambda name: len(json.dumps(values[name])), default=SUMMARY)
        faults[blocks.get(largest, SUMMARY)] = TOO_LARGE
    return Written(values, faults)


def draft_of(values: Mapping[str, Any], project_key: str | None, issue_type: str | None) -> dict[str, Any]:
    """Return the draft of values, as ``sessions.request_sync`` takes it."""
    draft = {name: value for name, value in values.items() if name in OF_DRAFT}
    place = {"project_key": project_key, "issue_type": issue_type}
    fields = {name: value for name, value in values.items() if name not in OF_DRAFT}
    return {
        **draft,
        **{name: value for name, value in place.items() if value},
        **({"fields": fields} if fields else {}),
    }


def values_in(draft: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a draft."""
    members = {
        name: list(value) if name == "labels" else value for name, value in draft.items() if name in OF_DRAFT
    }
    fields = draft.get("fields")
    found = {**members, **(fields if isinstance(fields, Mapping) else {})}
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def not_shown_whole(
    blocks: Iterable[Block], fields: Iterable[FormField], values: Mapping[str, Any]
) -> frozenset[str]:
    """Return the fields whose inputs, unchanged, would give another value than the one filled in."""
    choices = {item.id: item.choices for item in fields}
    kept = set()
    for block in blocks:
        if block["type"] != "input":
            continue
        entry = initial_entry(block)
        name = entry.spec.id
        if values.get(name) is None:
            continue
        shown = written([entry], Known(choices={name: choices.get(name, ())})).values.get(name)
        if shown != values[name]:
            kept.add(name)
    return frozenset(kept)


def _resolved(entry: Entry, known: Known) -> list[str]:
    """Return an entry's texts with choices by id, and people by account. Raises ``Fault``."""
    texts = [_text(text) for text in entry.texts]
    if entry.is_typed and texts:
        choices = known.choices.get(entry.spec.id)
        if choices is None:
            raise Fault(NOT_CHECKED)
        return list(dict.fromkeys(match(choices, text) for text in texts))
    if entry.is_of_people:
        return [_account(user, known) for user in texts]
    return texts


def _account(user: str, known: Known) -> str:
    if user in known.unknown:
        raise Fault(known.unknown[user])
    if user not in known.accounts:
        raise Fault(NOT_CHECKED)
    return known.accounts[user]


def _text(text: str) -> str:
    unseen = sum(1 for letter in text if letter == "\x00" or "\ud800" <= letter <= "\udfff")
    if unseen:
        raise Fault(
            f"That has {unseen:,} invalid characters (NUL, or half of a character). "
            "Please paste it as plain text, or type it again."
        )
    return cleaned(text)


def _check(entry: Entry, value: Any) -> None:
    """Raise ``Fault`` for a demanded value that is none, and for a member of the draft that is too long."""
    name = entry.spec.id
    if entry.is_required and name != SUMMARY and (entry.is_blank or _is_nothing(name, value)):
        raise Fault(NOTHING)
    most = _LONGEST.get(name)
    if most is not None and isinstance(value, str) and len(value) > most:
        raise Fault(
            f"That is {len(value) - most:,} characters too long; the limit is {most:,}. Please shorten it."
        )
    if name == "labels" and value:
        if len(value) > _MOST_LABELS:
            raise Fault(TOO_MANY.format(count=len(value), most=_MOST_LABELS))
        if any(len(label) > _LONGEST_LABEL for label in value):
            raise Fault(f"A label has at most {_LONGEST_LABEL} characters. Please shorten it.")


def _is_nothing(name: str, value: Any) -> bool:
    """Return True for a value of which Jira gets nothing: of the signs of a quotation alone."""
    return name == DESCRIPTION and isinstance(value, str) and not parse(value)


def _are_too_large(values: Mapping[str, Any]) -> bool:
    fields = {name: value for name, value in values.items() if name not in OF_DRAFT}
    return len(json.dumps(fields)) > MOST_FIELDS_BYTES
