"""Read and write the values of a draft's fields as texts, the way inputs hold them. Pure.

| kind | a text is | a draft holds |
|---|---|---|
| string, text_area, url | the text | the text, or an Atlassian document |
| number | its digits | a number |
| date | `2026-11-30` | the same |
| date_time | Unix seconds | `2026-11-30T04:55:00.000+0000` |
| option, version, component, priority | the choice's id | by the field's shape |
| cascading | the ids, joined | an id within an id |
| user, group | the account's id, or a name | by the field's shape |
| labels | a label | the label |

Summary and description are plain text in an input, and Slack's notation in a draft. A field that is
``multiple`` has several texts; any other one, or none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast, get_args

from handlers.form.limits import FIRST_MOMENT, LAST_MOMENT
from threadsync.forms import BETWEEN, FieldKind, FormField, Shape
from worker.text.slack_text import escape

NO_NUMBER: Final = "That is no number. Please write digits, such as 12 or 2.5."
NO_DATE: Final = "That is no date. Please choose one."

_KINDS: Final = frozenset(get_args(FieldKind))
_SHAPES: Final = frozenset(get_args(Shape))
_IN_MRKDWN: Final = frozenset({"summary", "description"})
_LONGEST_NUMBER: Final = 60


class Fault(Exception):
    """A sentence for the person who wrote the value."""


@dataclass(frozen=True)
class Spec:
    """How a field's value is written: the parts of a ``FormField`` that an input carries in its ids."""

    id: str
    kind: FieldKind
    shape: Shape
    multiple: bool = False

    @property
    def name(self) -> str:
        """The spec as an action's id."""
        return f"{self.kind}:{self.shape}:{'many' if self.multiple else 'one'}"


def spec_of(field: FormField) -> Spec:
    """Return a field's spec."""
    return Spec(field.id, field.kind, field.shape, field.multiple)


def spec_in(field_id: str, name: str) -> Spec | None:
    """Read a spec from an action's id; None if it is none."""
    kind, _, rest = name.partition(":")
    shape, _, number = rest.partition(":")
    if kind not in _KINDS or shape not in _SHAPES or number not in ("many", "one"):
        return None
    return Spec(field_id, cast(FieldKind, kind), cast(Shape, shape), number == "many")


def texts_of(spec: Spec, value: Any) -> tuple[str, ...] | None:
    """Return a value's texts; None for one that this field cannot have."""
    if value is None:
        return ()
    if spec.multiple and not isinstance(value, list | tuple):
        return None
    texts = [_text_of(spec, item) for item in (value if spec.multiple else [value])]
    return None if None in texts else tuple(cast(list[str], texts))


def value_of(spec: Spec, texts: Sequence[str]) -> Any:
    """Return the value of texts; None for none of them. Raises ``Fault``."""
    values = [_value_of(spec, text) for text in texts]
    if spec.multiple:
        return values or None
    return values[0] if values else None


def _text_of(spec: Spec, item: Any) -> str | None:
    match spec.kind:
        case "number":
            return _digits(item)
        case "date":
            return item if isinstance(item, str) and _is_date(item) else None
        case "date_time":
            return _seconds(item)
        case "cascading":
            return _ids(item)
    if spec.shape == "adf":
        return _plain(item)
    inner = item if spec.shape == "bare" else _only(item, spec.shape)
    if not isinstance(inner, str) or not inner:
        return None
    return _unescaped(inner) if spec.id in _IN_MRKDWN else inner


def _value_of(spec: Spec, text: str) -> Any:
    match spec.kind:
        case "number":
            return _number(text)
        case "date":
            if not _is_date(text):
                raise Fault(NO_DATE)
            return text
        case "date_time":
            return _moment(text)
        case "cascading":
            parent, _, child = text.partition(BETWEEN)
            return {"id": parent, "child": {"id": child}} if child else {"id": parent}
    if spec.shape == "adf":
        return _document(text)
    if spec.id in _IN_MRKDWN:
        return escape(text)
    return text if spec.shape == "bare" else {spec.shape: text}


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _only(item: Any, name: str) -> Any:
    """Return the one member of an object that a form writes; None if it has others."""
    return item.get(name) if isinstance(item, Mapping) and set(item) == {name} else None


def _ids(item: Any) -> str | None:
    if not isinstance(item, Mapping) or not set(item) <= {"id", "child"}:
        return None
    parent, child = item.get("id"), item.get("child")
    if not isinstance(parent, str) or not parent or BETWEEN in parent:
        return None
    if child is None:
        return parent if "child" not in item else None
    inner = _only(child, "id")
    return f"{parent}{BETWEEN}{inner}" if isinstance(inner, str) and inner else None


def _digits(item: Any) -> str | None:
    if isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item):
        return None
    text = format(Decimal(repr(item)), "f")
    return text if len(text) <= _LONGEST_NUMBER and _number(text) == item else None


def _number(text: str) -> int | float:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise Fault(NO_NUMBER) from None
    if len(text) > _LONGEST_NUMBER or not number.is_finite() or not math.isfinite(float(number)):
        raise Fault(NO_NUMBER)
    return int(number) if number == number.to_integral_value() and "." not in text else float(number)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _seconds(item: Any) -> str | None:
    """Return the second of a moment; None for one that a picker cannot show, or not wholly."""
    try:
        moment = datetime.fromisoformat(item) if isinstance(item, str) else None
    except ValueError:
        return None
    if moment is None or moment.tzinfo is None:
        return None
    seconds = int(moment.timestamp())
    return str(seconds) if FIRST_MOMENT <= seconds <= LAST_MOMENT else None


def _moment(text: str) -> str:
    # Python makes no number of thousands of digits.
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LAST_MOMENT))
    if not is_number or not FIRST_MOMENT <= int(text) <= LAST_MOMENT:
        raise Fault(NO_DATE)
    return f"{datetime.fromtimestamp(int(text), UTC):%Y-%m-%dT%H:%M:%S}.000+0000"


def _document(text: str) -> dict[str, Any]:
    """Return plain text as a document of one paragraph, with each line as it is."""
    content: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            content.append({"type": "hardBreak"})
        if line:
            content.append({"type": "text", "text": line})
    return {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": content}]}


def _plain(item: Any) -> str | None:
    """Return the text of a document as ``_document`` makes it; None for any other."""
    try:
        (paragraph,) = item["content"]
        text = "".join("\n" if node["type"] == "hardBreak" else node["text"] for node in paragraph["content"])
    except (KeyError, TypeError, ValueError):
        return None
    return text if isinstance(text, str) and text and _document(text) == item else None
