"""Assemble the views of the form: while it loads, with its fields, and without them. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from handlers.form.about import About, metadata_of
from handlers.form.choices import fingerprint, fit_a_select
from handlers.form.draft import DESCRIPTION, SUMMARY, not_shown_whole
from handlers.form.inputs import MARK, Block, blocks_in, field_of, input_of, options, plain, shows_something
from handlers.form.limits import (
    LONGEST_INPUT,
    LONGEST_METADATA,
    LONGEST_SECTION,
    MOST_BLOCKS,
    MOST_VIEW,
    cut,
)
from handlers.payload import object_in
from threadsync.forms import Choice, FormField

TICKET_FORM: Final = "threadsync_ticket"
PROJECT: Final = "project"
ISSUE_TYPE: Final = "issuetype"

LOADING: Final = "Asking Jira what a ticket needs …"
BARE_FIELDS: Final = (
    FormField(id=SUMMARY, label="Summary", kind="string", required=True),
    FormField(id=DESCRIPTION, label="Description", kind="text_area"),
)
"""The fields of a form without Jira's answer."""

_LONGEST_SAID: Final = 500
_MOST_OF_A_NOTE: Final = 6 * LONGEST_SECTION + 100
"""Most characters of a text above the inputs, written as JSON in ASCII."""

_MOST_OF_A_PLACE: Final = 40_000
"""Most characters of the projects, or issue types, of a select."""


@dataclass(frozen=True)
class Screen:
    """What a form offers.

    Args:
        projects, issue_types: to choose from; empty where they are not known.
        unaskable: names of fields that Jira requires and the form does not ask for.
    """

    fields: tuple[FormField, ...] = BARE_FIELDS
    projects: tuple[Choice, ...] = ()
    issue_types: tuple[Choice, ...] = ()
    unaskable: tuple[str, ...] = ()


def loading_view(about: About) -> dict[str, Any]:
    """Return the view that opens at once. It has no input, so that nothing typed is lost."""
    return _view(about, [_note(LOADING)])


def form_view(
    screen: Screen,
    about: About,
    values: Mapping[str, Any] | None = None,
    *,
    said: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the form.

    Args:
        about: with the project and the type that are chosen.
        values: to fill in, by field.
        said: sentences by field, such as Jira's of its refusal; those on no field of the form stand above it.
        notes: sentences above the form.
        before: the view that this one replaces; its blocks that are here too stay as they were.
    """
    filled, said = dict(values or {}), said or {}
    place = list(_place(screen, about))
    most = MOST_BLOCKS - len(place)
    room = MOST_VIEW - _length(place) - 2 * LONGEST_METADATA
    fields, unaskable = screen.fields, screen.unaskable
    above = _above(notes, unaskable, screen, said, fields)
    left = room - _length(above)
    inputs = _inputs(fields[: most - len(above)], filled, said, left)
    if len(inputs) < len(fields):
        most_above = len(notes) + 2
        left = room - most_above * _MOST_OF_A_NOTE
        inputs = _inputs(fields[: most - most_above], filled, said, left)
        fields, rest = fields[: len(inputs)], fields[len(inputs) :]
        unaskable = (*unaskable, *(item.label for item in rest if item.required))
        above = _above(notes, unaskable, screen, said, fields)
    if before is None:
        shown = {item.id for item in fields}
        unshown = {name for name in filled if name not in shown and name not in said}
        about = replace(about, kept=not_shown_whole(inputs, fields, filled) | unshown)
    else:
        inputs, taken_over = _with_old(inputs, before, left, about.keeps)
        about = replace(about, kept=frozenset(filter(about.keeps, taken_over)))
    return _view(about, [*above, *place, *inputs], has_inputs=True)


def _view(about: About, blocks: list[Block], *, has_inputs: bool = False) -> dict[str, Any]:
    view: dict[str, Any] = {
        "type": "modal",
        "callback_id": TICKET_FORM,
        "private_metadata": metadata_of(about),
        "title": plain("Create a Jira ticket"),
        "close": plain("Cancel"),
        "blocks": blocks,
    }
    return {**view, "submit": plain("Create")} if has_inputs else view


def _above(
    notes: Sequence[str],
    unaskable: Sequence[str],
    screen: Screen,
    said: Mapping[str, str],
    fields: Sequence[FormField],
) -> list[Block]:
    """Return the texts above the inputs of ``fields``."""
    shown = {item.id for item in fields}
    names = {item.id: item.label for item in screen.fields}
    lines = [
        f"{names.get(name, name)}: {text}" if name and name not in (PROJECT, ISSUE_TYPE) else text
        for name, text in said.items()
        if name not in shown and text.strip()
    ]
    return [_note(text) for text in (*notes, *_unasked(unaskable), "\n".join(lines)) if text.strip()]


def _inputs(
    fields: Sequence[FormField], values: dict[str, Any], said: Mapping[str, str], room: int
) -> list[Block]:
    """Return the inputs of as many fields as have room, which is counted in characters.

    Where they are too large together, the longest selects are typed instead; then the longest values are not
    shown, and kept. A value that Jira refused and that cannot be shown is taken out of ``values``.
    """

    def made(item: FormField, **ways: bool) -> Block:
        words = cut(said.get(item.id, ""), _LONGEST_SAID)
        block = input_of(item, values.get(item.id), said=words, **ways)
        if words and item.id in values and "hidden" not in ways and not shows_something(block):
            del values[item.id]
            return input_of(item, said=words, **ways)
        return block

    blocks = {item.id: made(item) for item in fields}
    lengths = {name: _length(block) + 2 for name, block in blocks.items()}
    by_id = {item.id: item for item in fields}
    smaller: list[tuple[list[str], dict[str, bool]]] = [
        ([name for name in blocks if "options" in blocks[name]["element"]], {"typed": True}),
        ([name for name in blocks if name in values], {"typed": True, "hidden": True}),
    ]
    for names, ways in smaller:
        for name in sorted(names, key=lambda name: -lengths[name]):
            if sum(lengths.values()) <= room:
                break
            blocks[name] = made(by_id[name], **ways)
            lengths[name] = _length(blocks[name]) + 2
    total, fitting = 0, []
    for name, block in blocks.items():
        total += lengths[name]
        if total > room:
            break
        fitting.append(block)
    return fitting


def _with_old(
    inputs: list[Block], before: Mapping[str, Any], room: int, keeps: Callable[[str], bool]
) -> tuple[list[Block], frozenset[str]]:
    """Return the inputs, those of the view before as they were, and the names of the fields of these.

    What was typed there stays, and what the form had filled in is still known as such. Only whether it is
    demanded may change; an input that keeps a value without showing it can always be left alone.
    """
    old = {str(block.get("block_id")): dict(block) for block in blocks_in(before)}

    def is_there(block: Block) -> bool:
        element = object_in(old.get(block["block_id"], {}), "element")
        return bool(element.get("action_id") == block["element"]["action_id"])

    def taken_over(block: Block) -> Block:
        found = old[block["block_id"]]
        is_kept_unseen = keeps(field_of(block["block_id"])) and not shows_something(found)
        return {**found, "optional": block["optional"] or is_kept_unseen}

    same = [block["block_id"] for block in inputs if is_there(block)]
    merged = [taken_over(block) if block["block_id"] in same else block for block in inputs]
    if _length(merged) > room:
        return inputs, frozenset()
    return merged, frozenset(map(field_of, same))


def _length(part: Any) -> int:
    return len(json.dumps(part))


def _place(screen: Screen, about: About) -> Iterable[Block]:
    """Yield the inputs of project and issue type, each of which has the form made anew."""
    if screen.projects:
        yield _switch(PROJECT, "Project", screen.projects, about.project_key)
    if screen.issue_types:
        yield _switch(ISSUE_TYPE, "Issue type", screen.issue_types, about.issue_type)


def _switch(name: str, label: str, choices: Sequence[Choice], chosen: str | None) -> Block:
    if chosen and all(item.id != chosen for item in choices):
        choices = (Choice(id=chosen, label=chosen), *choices)
    block: Block = {
        "type": "input",
        "block_id": f"{name}{MARK}{fingerprint(choices)}",
        "label": plain(label),
        "dispatch_action": True,
        "optional": False,
    }
    offered = options(choices)
    if fit_a_select(choices) and _length(offered) <= _MOST_OF_A_PLACE:
        initial = next((option for option in offered if option["value"] == chosen), None)
        element: Block = {"type": "static_select", "action_id": name, "options": offered}
        return {**block, "element": {**element, **({"initial_option": initial} if initial else {})}}
    label_of = next((item.label for item in choices if item.id == chosen), None)
    element = {
        "type": "plain_text_input",
        "action_id": name,
        "max_length": LONGEST_INPUT,
        "dispatch_action_config": {"trigger_actions_on": ["on_enter_pressed"]},
        **({"initial_value": label_of if name != PROJECT else chosen} if chosen and label_of else {}),
    }
    hint = f"Write one of {len(choices):,} choices as Jira spells it, and press Enter."
    return {**block, "element": element, "hint": plain(hint)}


def _note(text: str) -> Block:
    return {"type": "section", "text": plain(cut(text, LONGEST_SECTION))}


def _unasked(names: Sequence[str]) -> Iterable[str]:
    if names:
        yield (
            f"Jira requires fields that I cannot ask for: {', '.join(names)}. It will probably refuse the "
            "ticket. Choose another issue type or project, or create the ticket in Jira and link it."
        )
