"""Stories of a form, drawn by Hypothesis: a create screen, and what a person enters in its fields.

A story knows by the documents of createmeta alone what the form must ask for, at which inputs it or Jira must
refuse something, and with which values the ticket must be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from tests.support.create_screens import screens_of
from tests.support.form_attempts import (
    CHOSEN,
    Attempt,
    Entry,
    Verdict,
    attempts,
    custom_of,
    is_needed,
    kind_of,
    offered,
    refusals,
)
from tests.support.golden_values import SET_BY_JIRA
from worker.jira.answers import Deployment

_OFFERED: Final = ("summary", "description", "assignee", "priority", "labels")
_ALWAYS: Final = ("summary", "labels")
"""Fields of each screen. Without labels no ticket has our marker, and an administrator must see to that."""

_ENTERED: Final = ("string", "number", "date", "datetime", "user", "group")
_MANY: Final = 120


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


def is_asked(entry: Entry) -> bool:
    """Return True for a field that the form must have."""
    return _can_be_asked(entry) and (is_needed(entry) or entry["fieldId"] in _OFFERED)


def _can_be_asked(entry: Entry) -> bool:
    kind, custom = kind_of(entry), custom_of(entry)
    if kind in CHOSEN:
        return bool(offered(entry))
    if kind == "label":
        return entry["fieldId"] == "labels" or custom == "labels"
    return kind in _ENTERED and custom != "readonlyfield"


@st.composite
def stories(draw: st.DrawFn, deployment: Deployment) -> Story:
    """Draw a story over a golden screen of a deployment."""
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
        good = attempts(entry, is_cloud)
        last[name] = draw(good if is_needed(entry) else st.just(Attempt(None)) | good)
        bad = refusals(entry)
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
        if kind_of(entry) in CHOSEN and entry.get("allowedValues") and draw(st.integers(0, 4)) == 0:
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
