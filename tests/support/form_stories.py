"""Stories of a form, drawn by Hypothesis: a create screen, and what a person enters in its fields.

A story knows by the documents of createmeta alone what the form must ask for, at which inputs it or Jira must
refuse something, and with which values the ticket must be made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from hypothesis import strategies as st

from tests.support.create_screens import screens_of
from tests.support.golden_values import REFUSED, SET_BY_JIRA
from worker.jira.answers import Deployment

Entry = dict[str, Any]
Verdict = Literal["ok", "form", "jira"]

ANN, TWINS, NOBODY = "U0ANN", "U0TWINS", "U0NOBODY"
"""Slack users: one with an account in Jira, one whose address two accounts have, one without an address."""

ADDRESSES: Final = {ANN: "ann@example.com", TWINS: "twins@example.com"}
ACCOUNTS: Final[dict[Deployment, dict[str, str]]] = {
    "cloud": {"712020:ann": "ann@example.com", "712020:t1": "twins@example.com", "t2": "twins@example.com"},
    "datacenter": {"ann": "ann@example.com", "t1": "twins@example.com", "t2": "twins@example.com"},
}
GROUPS: Final = ("devs", "ops")
NO_SUCH_CHOICE: Final = "no such choice"

_OFFERED: Final = ("summary", "description", "assignee", "priority", "labels")
_ALWAYS: Final = ("summary", "labels")
"""Fields of each screen. Without labels no ticket has our marker, and an administrator must see to that."""

_CHOSEN: Final = ("option", "version", "component", "priority", "option-with-child")
_ENTERED: Final = ("string", "number", "date", "datetime", "user", "group")
_MANY: Final = 120

_WORDS: Final = st.text(alphabet="abc XYZ09&<>é", min_size=1, max_size=60).filter(
    lambda text: bool(text.strip())
)


@dataclass(frozen=True)
class Attempt:
    """What a person enters in a field.

    Args:
        entered: as `tests.support.block_kit.state_of` takes it; None leaves the input alone.
        verdict: whether it is taken, refused by the form, or refused by Jira.
        value: what the ticket is made with; None for nothing, or what cannot be told.
    """

    entered: Any
    verdict: Verdict = "ok"
    value: Any = None


@dataclass(frozen=True, repr=False)
class Story:
    """A form's way.

    Args:
        entries: the screen of the ticket.
        before: the screen of the first issue type, for a person who chooses another one; None for the others.
        first, last: what the person enters, by field; at last nothing is wrong with it.
        twice: Slack delivers each submission twice.
    """

    entries: tuple[Entry, ...]
    before: tuple[Entry, ...] | None
    first: Mapping[str, Attempt]
    last: Mapping[str, Attempt]
    twice: bool

    def __repr__(self) -> str:
        """Show a story without the documents of its fields, and in ASCII: it may have half a character."""
        fields = [f"{entry['name']}{'!' if is_needed(entry) else ''}" for entry in self.entries]
        entered = {name: (attempt, self.last[name]) for name, attempt in self.first.items()}
        return ascii(f"Story({fields}, {entered}, {self.before is not None=}, {self.twice=})")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show it as Hypothesis asks for it, which would print a dataclass by its members."""
        printer.text(repr(self))

    @property
    def asked(self) -> frozenset[str]:
        """The fields that the form must have."""
        return frozenset(entry["fieldId"] for entry in self.entries if is_asked(entry))

    @property
    def cannot_be_asked(self) -> tuple[str, ...]:
        """The names of required fields that the form must name."""
        return tuple(entry["name"] for entry in self.entries if is_needed(entry) and not is_asked(entry))

    def refused(self, by: Verdict) -> frozenset[str]:
        """The fields whose first attempt the form, or Jira, refuses."""
        return frozenset(name for name, attempt in self.first.items() if attempt.verdict == by)


def is_needed(entry: Entry) -> bool:
    """Return True for a field that Jira takes no ticket without."""
    return bool(entry["required"]) and not entry["hasDefaultValue"] and entry["fieldId"] not in SET_BY_JIRA


def is_asked(entry: Entry) -> bool:
    """Return True for a field that the form must have."""
    return _can_be_asked(entry) and (is_needed(entry) or entry["fieldId"] in _OFFERED)


def _can_be_asked(entry: Entry) -> bool:
    kind, custom = _kind(entry), _custom(entry)
    if kind in _CHOSEN:
        return bool(_offered(entry))
    if kind == "label":
        return entry["fieldId"] == "labels" or custom == "labels"
    return kind in _ENTERED and custom != "readonlyfield"


@st.composite
def stories(draw: st.DrawFn, deployment: Deployment, *, carries_fields: bool) -> Story:
    """Draw a story over a golden screen of a deployment.

    Args:
        carries_fields: False while drafts have no room for other fields than their own members.
    """
    is_cloud = deployment == "cloud"
    documents = st.sampled_from(screens_of(deployment))
    screen = draw(documents.flatmap(_screens))
    before = draw(st.none() | documents.flatmap(_screens))
    first: dict[str, Attempt] = {}
    last: dict[str, Attempt] = {}
    for entry in screen:
        if not is_asked(entry):
            continue
        name = entry["fieldId"]
        good = _attempts(entry, is_cloud)
        last[name] = draw(good if is_needed(entry) else st.just(Attempt(None)) | good)
        bad = _refusals(entry, carries_fields=carries_fields)
        first[name] = draw(bad) if bad is not None and draw(st.integers(0, 5)) == 0 else last[name]
    return Story(screen, before, first, last, draw(st.booleans()))


@st.composite
def _screens(draw: st.DrawFn, entries: list[Entry]) -> tuple[Entry, ...]:
    """Draw a part of a screen, in which other fields are required, and some have many choices."""
    named = draw(st.integers(0, 7)) == 0
    drawn: list[Entry] = []
    for entry in entries:
        if entry["fieldId"] in _ALWAYS or entry["fieldId"] in SET_BY_JIRA:
            drawn.append(entry)
            continue
        if draw(st.integers(0, 2)) == 0:
            continue
        changed = {**entry, "required": draw(st.sampled_from([entry["required"], True, False]))}
        if not _can_be_asked(entry) and not named:
            changed["required"] = False
        if _kind(entry) in _CHOSEN and entry.get("allowedValues") and draw(st.integers(0, 4)) == 0:
            changed["allowedValues"] = [*entry["allowedValues"], *_more(entry["allowedValues"][0])]
        drawn.append(changed)
    return tuple(drawn)


def _more(choice: Entry) -> list[Entry]:
    """Return so many further choices that no select of Slack's has room for them."""
    text = "value" if "value" in choice else "name"
    return [
        {**choice, "id": str(90_000 + number), text: f"Choice {number}", "children": []}
        for number in range(_MANY)
    ]


def _kind(entry: Entry) -> str:
    schema = entry["schema"]
    if schema["type"] != "array":
        return str(schema["type"])
    return "label" if schema["items"] == "string" else str(schema["items"])


def _custom(entry: Entry) -> str:
    return str(entry["schema"].get("custom") or "").rpartition(":")[2]


def _attempts(entry: Entry, is_cloud: bool) -> st.SearchStrategy[Attempt]:
    """Draw what the form and Jira take."""
    name, kind, is_list = entry["fieldId"], _kind(entry), entry["schema"]["type"] == "array"
    if kind in _CHOSEN:
        return _of_choices(entry, is_list=is_list)
    if _custom(entry) == "textarea" or name in ("description", "environment"):
        return st.lists(_WORDS, min_size=1, max_size=3).map(
            lambda lines: _area(name, "\n".join(lines), is_cloud)
        )
    match kind:
        case "string" if _custom(entry) == "url":
            address = "https://jira.example/a?b=c&d=é"
            return st.just(Attempt(address, value=address))
        case "string":
            return _WORDS.map(lambda text: Attempt(text, value=_line(name, text)))
        case "number":
            return st.sampled_from(
                [Attempt("12", value=12), Attempt("-2.5", value=-2.5), Attempt("0", value=0)]
            )
        case "date":
            return st.dates().map(lambda day: Attempt(str(day), value=str(day)))
        case "datetime":
            return st.integers(1_000_000_000, 9_999_999_999).map(_moment)
        case "label":
            words = st.lists(st.text("abcé-", min_size=1, max_size=8), min_size=1, max_size=4, unique=True)
            return words.map(lambda labels: Attempt(" ".join(labels), value=labels))
        case "user":
            account = {"accountId": "712020:ann"} if is_cloud else {"name": "ann"}
            return st.just(Attempt([ANN], value=[account]) if is_list else Attempt(ANN, value=account))
        case "group":
            groups = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2, unique=True)
            if not is_list:
                return st.sampled_from(GROUPS).map(lambda group: Attempt(group, value={"name": group}))
            return groups.map(
                lambda found: Attempt("\n".join(found), value=[{"name": group} for group in found])
            )
    raise AssertionError(f"{name} is of an unknown kind, {kind}")


def _refusals(entry: Entry, *, carries_fields: bool) -> st.SearchStrategy[Attempt] | None:
    """Draw what the form refuses, or Jira; None for a field in which nothing is refused."""
    name, kind, is_list = entry["fieldId"], _kind(entry), entry["schema"]["type"] == "array"
    drawn: list[Attempt] = []
    if kind in _CHOSEN and _are_typed(entry):
        drawn.append(Attempt(NO_SUCH_CHOICE, "form"))
    if name == "summary":
        drawn += [Attempt("  ", "form"), Attempt(f"{REFUSED} here", "jira")]
    match kind:
        case "string":
            drawn.append(Attempt("half of a character: \ud800", "form"))
        case "number":
            drawn += [Attempt("twelve", "form"), Attempt("nan", "form")]
        case "date":
            drawn.append(Attempt("2026-13-45", "form"))
        case "datetime":
            drawn.append(Attempt(17, "form"))
        case "user":
            drawn += [Attempt([ANN, who] if is_list else who, "form") for who in (TWINS, NOBODY)]
    if carries_fields:
        drawn += _refused_by_jira(entry, is_list=is_list)
    return st.sampled_from(drawn) if drawn else None


def _refused_by_jira(entry: Entry, *, is_list: bool) -> list[Attempt]:
    if _kind(entry) == "group":
        return [Attempt("devs\nstrangers" if is_list else "strangers", "jira")]
    if _custom(entry) == "url":
        return [Attempt("nonsense", "jira")]
    return [Attempt("x" * 300, "jira")] if _custom(entry) == "textfield" else []


def _of_choices(entry: Entry, *, is_list: bool) -> st.SearchStrategy[Attempt]:
    offered = _offered(entry)
    is_typed = _are_typed(entry)

    def attempt(found: list[tuple[str, str, Any]]) -> Attempt:
        entered: Any = [label.swapcase() if is_typed else choice for choice, label, _ in found]
        values = [value for _, _, value in found]
        if not is_list:
            return Attempt(entered[0], value=values[0])
        return Attempt("\n".join(entered) if is_typed else entered, value=values)

    most = 3 if is_list else 1
    return st.lists(st.sampled_from(offered), min_size=1, max_size=most, unique_by=lambda item: item[0]).map(
        attempt
    )


def _are_typed(entry: Entry) -> bool:
    return len(_offered(entry)) > 100


def _offered(entry: Entry) -> list[tuple[str, str, Any]]:
    """Return each choice that can be made: as the select has it, as people see it, as Jira takes it."""
    found: list[tuple[str, str, Any]] = []
    for item in entry.get("allowedValues") or ():
        label = item.get("value") or item.get("name")
        if item.get("disabled") or item.get("archived"):
            continue
        if _kind(entry) == "priority":
            found.append((label, label, {"name": label}))
            continue
        found.append((item["id"], label, {"id": item["id"]}))
        for child in item.get("children", ()) if _kind(entry) == "option-with-child" else ():
            if not child.get("disabled"):
                value = {"id": item["id"], "child": {"id": child["id"]}}
                found.append((f"{item['id']}/{child['id']}", f"{label} > {child['value']}", value))
    return found


def _area(name: str, text: str, is_cloud: bool) -> Attempt:
    if name == "description":
        # Our notation becomes Jira's: that is tested elsewhere.
        return Attempt(text)
    return Attempt(text, value=("area", " ".join(text.split())) if is_cloud else text)


def _line(name: str, text: str) -> str:
    return " ".join(text.split()) if name == "summary" else text.strip()


def _moment(seconds: int) -> Attempt:
    return Attempt(seconds, value=f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.000+0000")


def is_made_of(found: Any, value: Any) -> bool:
    """Return True if a field of a ticket is what an attempt was to make of it."""
    if isinstance(value, tuple):
        return " ".join(_words(found).split()) == str(value[1])
    return json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)


def _words(node: Any) -> str:
    """Return a document's text."""
    if node["type"] == "text":
        return str(node["text"])
    return "".join(" " if inner["type"] == "hardBreak" else _words(inner) for inner in node["content"])
