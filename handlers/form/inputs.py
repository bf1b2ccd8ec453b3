"""Make the input of a field, filled with its value, and read inputs again. Pure.

A block's id is the field's id, with a fingerprint where its choices may change; its action's id is the
field's spec. So a submission can be read without Jira, and what was typed survives an update of the view
wherever the same can be typed again.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from handlers.form.choices import fingerprint, fit_a_select, typed_text
from handlers.form.limits import LONGEST_HINT, LONGEST_INPUT, LONGEST_LABEL, LONGEST_OPTION, cut
from handlers.form.values import Spec, spec_in, spec_of, texts_of
from handlers.payload import object_in
from threadsync.forms import CHOSEN, Choice, FormField

Block = dict[str, Any]

MARK: Final = "#"
"""Between a field's id and the fingerprint of its choices, in a block's id."""

IS_CUT: Final = "Only the beginning is shown; the whole is kept unless you change it."
IS_HIDDEN: Final = "It has a value that cannot be shown here, and keeps it unless you enter another one."
_LABELS_HINT: Final = "Put a space between labels."
_LINES_HINT: Final = "One in each line."

_INITIAL: Final = {
    "plain_text_input": "initial_value",
    "url_text_input": "initial_value",
    "number_input": "initial_value",
    "datepicker": "initial_date",
    "datetimepicker": "initial_date_time",
    "static_select": "initial_option",
    "multi_static_select": "initial_options",
    "users_select": "initial_user",
    "multi_users_select": "initial_users",
}
_SELECTED: Final = {
    "plain_text_input": "value",
    "url_text_input": "value",
    "number_input": "value",
    "datepicker": "selected_date",
    "datetimepicker": "selected_date_time",
    "static_select": "selected_option",
    "multi_static_select": "selected_options",
    "users_select": "selected_user",
    "multi_users_select": "selected_users",
}


@dataclass(frozen=True)
class Entry:
    """What an input holds.

    Args:
        texts: as ``handlers.form.values`` has them; Slack's ids of users, labels of typed choices.
        is_typed: the texts are to be matched with the field's choices.
        is_unchanged: the input holds what the form filled in, perhaps nothing.
        is_required: Jira takes no ticket without it.
        is_blank: the input holds blanks or separators alone. Slack sends none that is required and empty.
    """

    block_id: str
    spec: Spec
    texts: tuple[str, ...]
    is_typed: bool = False
    is_unchanged: bool = False
    is_required: bool = False
    is_blank: bool = False

    @property
    def is_of_people(self) -> bool:
        """True if the texts are Slack's ids of users."""
        return self.spec.kind == "user"


def input_of(
    field: FormField, value: Any = None, *, typed: bool = False, hidden: bool = False, said: str = ""
) -> Block:
    """Return the block that asks for a field.

    Args:
        value: the one to fill in, as a draft holds it; None for nothing.
        typed: have a choice typed, although a select could offer it.
        hidden: do not show the value, only say that there is one.
        said: a sentence on this field, shown below the input.
    """
    spec = spec_of(field)
    texts = None if hidden else texts_of(spec, value)
    is_typed = field.kind in CHOSEN and (typed or not fit_a_select(field.choices))
    element, is_whole = _element(field, texts or (), is_typed)
    is_kept = value is not None and (texts is None or not is_whole)
    has_initial = shows_something({"element": element})
    hints = [
        *((said,) if said else ()),
        *(((IS_CUT if has_initial else IS_HIDDEN),) if is_kept else ()),
        *((field.hint,) if field.hint else ()),
        *_usage(field, is_typed),
    ]
    block: Block = {
        "type": "input",
        "block_id": _block_id(field, is_typed),
        "label": plain(cut(field.label, LONGEST_LABEL)),
        "element": {**element, "action_id": spec.name},
        "optional": not field.required or (is_kept and not has_initial),
    }
    return {**block, "hint": plain(cut(" ".join(hints), LONGEST_HINT))} if hints else block


def field_of(block_id: str) -> str:
    """Return the field of a block."""
    return block_id.partition(MARK)[0]


def shows_something(block: Block) -> bool:
    """Return True if the input is filled in."""
    element = block["element"]
    return _INITIAL[element["type"]] in element


def plain(text: str) -> dict[str, str]:
    """Return a text object that shows the text as it is."""
    return {"type": "plain_text", "text": text}


def options(choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """Return choices as options of a select."""
    return [{"text": plain(cut(item.label, LONGEST_OPTION)), "value": item.id} for item in choices]


def entries_in(view: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield what the inputs of a submitted view hold."""
    state = object_in(object_in(view, "state"), "values")
    for block in blocks_in(view):
        element = object_in(block, "element")
        block_id, action_id = str(block.get("block_id") or ""), str(element.get("action_id") or "")
        field_id = field_of(block_id)
        spec = spec_in(field_id, action_id) if field_id else None
        kind = str(element.get("type"))
        if spec is None or kind not in _SELECTED:
            continue
        held = _raw(object_in(object_in(state, block_id), action_id).get(_SELECTED[kind]))
        is_typed = spec.kind in CHOSEN and kind == "plain_text_input"
        texts = _texts(spec, held, is_typed)
        yield Entry(
            block_id,
            spec,
            texts,
            is_typed,
            is_unchanged=not changed(view, block),
            is_required=block.get("optional") is False,
            is_blank=bool(held) and not texts,
        )


def changed(view: Mapping[str, Any], block: Mapping[str, Any]) -> bool:
    """Return True if an input of a submitted view holds something else than the form filled in."""
    element, state = object_in(block, "element"), object_in(object_in(view, "state"), "values")
    kind = str(element.get("type"))
    if kind not in _SELECTED:
        return False
    block_id = str(block.get("block_id"))
    if block_id not in state:
        return False
    held = object_in(object_in(state, block_id), str(element.get("action_id")))
    return not _same(_raw(held.get(_SELECTED[kind])), _raw(element.get(_INITIAL[kind])))


def initial_entry(block: Block) -> Entry:
    """Return what a block of ours holds before anybody changes it."""
    element = block["element"]
    spec = spec_in(field_of(str(block["block_id"])), element["action_id"])
    assert spec is not None  # noqa: S101 - it is a block of `input_of`
    is_typed = spec.kind in CHOSEN and element["type"] == "plain_text_input"
    initial = _raw(element.get(_INITIAL[element["type"]]))
    return Entry(block["block_id"], spec, _texts(spec, initial, is_typed), is_typed, is_unchanged=True)


def blocks_in(view: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the blocks of a view that Slack sent."""
    blocks = view.get("blocks")
    return [block for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []


def _block_id(field: FormField, is_typed: bool) -> str:
    if field.kind not in CHOSEN:
        return field.id
    return f"{field.id}{MARK}{fingerprint(field.choices)}{'t' if is_typed else ''}"


def _element(field: FormField, texts: Sequence[str], is_typed: bool) -> tuple[Block, bool]:
    """Return the element, and whether it shows all of the texts."""
    if field.kind in CHOSEN and not is_typed:
        return _select(field, texts)
    if field.kind == "user":
        # A draft has Jira's account, which tells nothing of a Slack user.
        kind = "multi_users_select" if field.multiple else "users_select"
        return {"type": kind}, not texts
    if field.kind == "date":
        return {"type": "datepicker", **({"initial_date": texts[0]} if texts else {})}, True
    if field.kind == "date_time":
        initial = {"initial_date_time": int(texts[0])} if texts else {}
        return {"type": "datetimepicker", **initial}, True
    if field.kind == "number":
        initial_number = {"initial_value": texts[0]} if texts else {}
        return {"type": "number_input", "is_decimal_allowed": True, **initial_number}, True
    return _written(field, texts, is_typed)


def _select(field: FormField, texts: Sequence[str]) -> tuple[Block, bool]:
    offered = {option["value"]: option for option in options(field.choices)}
    initial = [offered[text] for text in texts if text in offered]
    is_whole = len(initial) == len(texts)
    kind = "multi_static_select" if field.multiple else "static_select"
    element: Block = {"type": kind, "options": list(offered.values())}
    if initial:
        element |= {"initial_options": initial} if field.multiple else {"initial_option": initial[0]}
    return element, is_whole


def _written(field: FormField, texts: Sequence[str], is_typed: bool) -> tuple[Block, bool]:
    shown: list[str | None] = [typed_text(field.choices, text) if is_typed else text for text in texts]
    known = [text for text in shown if text is not None]
    whole = (" " if field.kind == "labels" else "\n").join(known)
    # A text area keeps its own line breaks; every other input has one item in a line.
    text = cut(whole, LONGEST_INPUT)
    if field.kind == "url":
        # Slack refuses one that it does not take for an address.
        is_address = text == whole and text.startswith(("http://", "https://")) and text.split() == [text]
        return {"type": "url_text_input", **({"initial_value": text} if is_address else {})}, (
            is_address or not text
        )
    element: Block = {"type": "plain_text_input", "max_length": LONGEST_INPUT}
    if field.kind == "text_area" or (field.multiple and field.kind != "labels"):
        element["multiline"] = True
    elif "\n" in text:
        return element, False
    if text.strip():
        element["initial_value"] = text
    entry = _texts(spec_of(field), (text,) if text else (), is_typed)
    return element, entry == tuple(known) and len(known) == len(texts)


def _usage(field: FormField, is_typed: bool) -> Iterator[str]:
    if is_typed:
        yield f"Write one of {len(field.choices):,} choices as Jira spells it."
    if field.kind == "labels":
        yield _LABELS_HINT
    elif field.multiple and (is_typed or field.kind == "group"):
        yield _LINES_HINT


def _raw(held: Any) -> tuple[str, ...]:
    """Return what an element holds, or begins with, as texts."""
    items = held if isinstance(held, list) else [held]
    values = (item.get("value") if isinstance(item, Mapping) else item for item in items)
    texts = (str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool))
    return tuple(text for text in texts if text)


def _texts(spec: Spec, held: tuple[str, ...], is_typed: bool) -> tuple[str, ...]:
    """Return the texts of what an input holds."""
    if spec.kind == "labels":
        labels = (label.strip(",") for text in held for label in text.split())
        return tuple(dict.fromkeys(label for label in labels if label))
    if spec.multiple and (is_typed or spec.kind == "group"):
        lines = (line.strip() for text in held for line in text.splitlines())
        return tuple(dict.fromkeys(line for line in lines if line))
    if spec.kind == "text_area":
        return tuple(text for text in held if text.strip())
    return tuple(text.strip() for text in held if text.strip())


def _same(held: tuple[str, ...], initial: tuple[str, ...]) -> bool:
    """Compare as Slack may change it: in line ends, outer white space, and `&amp;`."""
    return sorted(map(_bare, held)) == sorted(map(_bare, initial))


def _bare(text: str) -> str:
    return html.unescape(text.replace("\r\n", "\n")).strip()
