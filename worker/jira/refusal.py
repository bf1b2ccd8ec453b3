"""Tell from Jira's refusal of a ticket what must be fixed. Pure.

A fault of the draft is fixed by another draft, all others by an administrator and a retry. We send summary
and description as people wrote them, and make labels that Jira takes; so what Jira says of any other field,
or of labels, is about its set-up, in whatever language. Only what it says of no field is told by its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from worker.jira.answers import About

_BY_STATUS: Final[Mapping[int, About]] = {413: "draft", 404: "place", 405: "place", 410: "place"}
_OF_THE_DRAFT: Final = frozenset({"summary", "description"})
_OF_THE_PLACE: Final = frozenset({"project", "pid", "issuetype"})
_LONGEST_TEXT: Final = 1_000
_SCREEN: Final = re.compile(r"cannot be set|appropriate screen", re.IGNORECASE)
_ACCESS: Final = re.compile(r"\bpermissions?\b|\blog(ged)? ?in\b|\banonymous\b", re.IGNORECASE)
_PLACE: Final = re.compile(r"\bissue ?types?\b|\bprojects?\b", re.IGNORECASE)
_SET_UP: Final = re.compile(
    r"cannot be set|\bscreens?\b|\bis required\b|\barchived\b|\bread[- ]only\b|\blicen[cs]ed?\b"
    r"|\bworkflows?\b|\bsecurity level\b|\bcustom ?field",
    re.IGNORECASE,
)


def about(status: int, content: Mapping[str, Any]) -> About:
    """Return what must be fixed after a refusal; ``content`` is its JSON object, empty if it has none."""
    if status != 400:
        return _BY_STATUS.get(status, "set_up")
    if _names_only_the_reporter(content):
        return "reporter"
    found = set(_faults(content))
    # Faults for an administrator come first: before they are fixed no draft passes.
    order: tuple[About, ...] = ("access", "place", "set_up")
    return next((fault for fault in order if fault in found), "draft")


def _names_only_the_reporter(content: Mapping[str, Any]) -> bool:
    fields = content.get("errors")
    names = {str(name).casefold() for name in fields} if isinstance(fields, dict) else set()
    return names == {"reporter"} and not content.get("errorMessages")


def _faults(content: Mapping[str, Any]) -> Iterator[About]:
    fields, general = content.get("errors"), content.get("errorMessages")
    for name, text in fields.items() if isinstance(fields, dict) else ():
        yield _of_field(str(name).casefold(), str(text)[:_LONGEST_TEXT])
    for text in general if isinstance(general, list) else ():
        yield _of_words(str(text)[:_LONGEST_TEXT])


def _of_field(name: str, text: str) -> About:
    if name in _OF_THE_DRAFT:
        return "set_up" if _SCREEN.search(text) else "draft"
    if _ACCESS.search(text):
        return "access"
    return "place" if name in _OF_THE_PLACE else "set_up"


def _of_words(text: str) -> About:
    if _ACCESS.search(text):
        return "access"
    if _PLACE.search(text):
        return "place"
    return "set_up" if _SET_UP.search(text) else "draft"
