"""Tell from Jira's refusal of a ticket what must be fixed. Pure.

A fault of the draft is fixed by another draft, all others by an administrator and a retry. We send summary,
description and further fields as people wrote them, and make labels that Jira takes; so what Jira says of a
field that was not sent, or of labels, is about its set-up, in whatever language. Only what it says of no
field, and that a field is not on the screen, is told by its words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from worker.jira.answers import About

_BY_STATUS: Final[Mapping[int, About]] = {413: "draft", 404: "place", 405: "place", 410: "place"}
_OF_THE_DRAFT: Final = frozenset({"summary", "description"})
_OF_THE_PLACE: Final = frozenset({"project", "pid", "issuetype"})
_NOT_DRAFTED: Final = _OF_THE_PLACE | {"labels", "reporter"}
_LONGEST_TEXT: Final = 1_000
_LINE: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,99}): (.+)")
_SCREEN: Final = re.compile(r"cannot be set|appropriate screen", re.IGNORECASE)
_ACCESS: Final = re.compile(r"\bpermissions?\b|\blog(ged)? ?in\b|\banonymous\b", re.IGNORECASE)
_PLACE: Final = re.compile(r"\bissue ?types?\b|\bprojects?\b", re.IGNORECASE)
_SET_UP: Final = re.compile(
    r"cannot be set|\bscreens?\b|\bis required\b|\barchived\b|\bread[- ]only\b|\blicen[cs]ed?\b"
    r"|\bworkflows?\b|\bsecurity level\b|\bcustom ?field",
    re.IGNORECASE,
)


def about(status: int, content: Mapping[str, Any], sent: Collection[str] = ()) -> About:
    """Return what must be fixed after a refusal.

    Args:
        content: its JSON object, empty if it has none.
        sent: the fields of the ticket that was refused.
    """
    if status != 400:
        return _BY_STATUS.get(status, "set_up")
    if _names_only_the_reporter(content):
        return "reporter"
    drafted = _OF_THE_DRAFT | {name.casefold() for name in sent if name not in _NOT_DRAFTED}
    found = set(_faults(content, drafted))
    # Faults for an administrator come first: before they are fixed no draft passes.
    order: tuple[About, ...] = ("access", "place", "set_up")
    return next((fault for fault in order if fault in found), "draft")


def by_field(detail: str) -> dict[str, str]:
    """Return Jira's words by the field that they are about, from an attempt's detail; others under "".

    The detail has a line for each, as `worker.jira.classification` writes it: with the field's id in front.
    """
    found: dict[str, list[str]] = {}
    for line in detail.splitlines():
        about_field = _LINE.fullmatch(line.strip())
        name, text = about_field.groups() if about_field else ("", line.strip())
        if text:
            found.setdefault(name, []).append(text)
    return {name: " ".join(texts) for name, texts in found.items()}


def _names_only_the_reporter(content: Mapping[str, Any]) -> bool:
    fields = content.get("errors")
    names = {str(name).casefold() for name in fields} if isinstance(fields, dict) else set()
    return names == {"reporter"} and not content.get("errorMessages")


def _faults(content: Mapping[str, Any], drafted: Collection[str]) -> Iterator[About]:
    fields, general = content.get("errors"), content.get("errorMessages")
    for name, text in fields.items() if isinstance(fields, dict) else ():
        yield _of_field(str(name).casefold(), str(text)[:_LONGEST_TEXT], drafted)
    for text in general if isinstance(general, list) else ():
        yield _of_words(str(text)[:_LONGEST_TEXT])


def _of_field(name: str, text: str, drafted: Collection[str]) -> About:
    if name in drafted:
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
