"""Read ``name=value …`` and ``reset [name]`` as people write them after ``/ticket config``.

A value goes to the next ``name=``, or stands in straight or curly quotes; a list is separated by commas.
People are written as Slack escapes them (``<@U…>``, ``<!subteam^S…>``, each with ``|name`` or without), or by
their id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from threadsync.channel_settings.values import NAMES, SettingName, Value, valid
from threadsync.errors import InvalidCommand

_ALIASES: Final[Mapping[str, SettingName]] = {"project": "project_key", "type": "issue_type"}
"""Short names, as people say them."""

_PAIR: Final = re.compile(r"([A-Za-z_]+) ?= ?")
# A token of Slack's may hold anything in its label, also what looks like a name.
_STOP: Final = re.compile(r"<[^<>]*>| (?=[A-Za-z_]+ ?=)")
_QUOTES: Final = ('"“”„‟', "'\u2018\u2019\u201a\u201b")
"""Quotation marks, of which each closes what another one of its line opened: Slack curls some of them."""

_PERSON: Final = re.compile(r"<(?:@|!subteam\^)([A-Z0-9]{1,64})(?:\|[^<>]*)?>", re.ASCII)
_ID: Final = re.compile(r"[UWS][A-Z0-9]{1,63}", re.ASCII)
_ESCAPES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
"""Slack's escapes: https://docs.slack.dev/messaging/formatting-message-text#escaping."""

_KNOWN: Final = ", ".join(NAMES)


@dataclass(frozen=True)
class Show:
    """Show the channel's settings."""


@dataclass(frozen=True)
class Change:
    """Set these values, by the setting's name; there is at least one."""

    values: Mapping[SettingName, Value]


@dataclass(frozen=True)
class Reset:
    """Remove one setting; all of them if ``name`` is None."""

    name: SettingName | None = None


ConfigRequest = Show | Change | Reset


def parse_config(text: str) -> ConfigRequest:
    """Read the text after ``/ticket config``. Raises ``InvalidCommand`` with a sentence for its author."""
    line = " ".join(text.split())
    if not line:
        return Show()
    verb, _, rest = line.partition(" ")
    if verb.lower() == "reset" and not rest.startswith("="):
        return Reset(named(rest) if rest else None)
    return change_of((name, value, True) for name, value in _pairs(line))


def parse_words(words: Iterable[str]) -> Change:
    """Read arguments ``name=value`` of a shell, each a setting. Raises ``InvalidCommand``."""
    pairs = [(word, *word.split("=", 1)) for word in words]
    for word, *parts in pairs:
        if len(parts) < 2:
            raise InvalidCommand(f"{word!r} is not name=value; settings: {_KNOWN}")
    return change_of((name, " ".join(value.split()), False) for _, name, value in pairs)


def named(text: str) -> SettingName:
    """Return the setting that a person names. Raises ``InvalidCommand``."""
    name = text.strip().lower()
    for known in NAMES:
        if name == known:
            return known
    if name in _ALIASES:
        return _ALIASES[name]
    raise InvalidCommand(f"there is no setting {text.strip()[:40]!r}; settings: {_KNOWN}")


def change_of(pairs: Iterable[tuple[str, str, bool]]) -> Change:
    """Return the change that sets each name to its text. Raises ``InvalidCommand``.

    Args:
        pairs: name, text, and whether Slack has escaped the text.
    """
    values: dict[SettingName, Value] = {}
    for given, text, is_escaped in pairs:
        name = named(given)
        if name in values:
            raise InvalidCommand(f"{name} is there twice; give it once")
        values[name] = _value(name, text, is_escaped=is_escaped)
    if not values:
        raise InvalidCommand(f"nothing to set; settings: {_KNOWN}")
    return Change(values)


def _pairs(line: str) -> Iterable[tuple[str, str]]:
    """Yield each name and its text. Raises ``InvalidCommand`` where no name stands."""
    place = 0
    while place < len(line):
        pair = _PAIR.match(line, place)
        if pair is None:
            words = line[place : place + 40]
            raise InvalidCommand(f"before {words!r} there is no name=; settings: {_KNOWN}")
        value, place = _text_at(line, pair.end(), pair[1])
        yield pair[1], value


def _text_at(line: str, start: int, name: str) -> tuple[str, int]:
    """Return the value that begins at ``start``, and where the next name begins."""
    marks = next((marks for marks in _QUOTES if line[start : start + 1] in marks), None)
    if line[start : start + 1] and marks:
        close = re.compile(f"[{marks}](?= |$)").search(line, start + 1)
        if close is None:
            raise InvalidCommand(f"the quotation mark of {name} is not closed before a space or the end")
        return line[start + 1 : close.start()].strip(), min(close.end() + 1, len(line))
    for stop in _STOP.finditer(line, start):
        if stop[0] == " ":
            return line[start : stop.start()], stop.end()
    return line[start:], len(line)


def _value(name: SettingName, text: str, *, is_escaped: bool) -> Value:
    if not text:
        raise InvalidCommand(f"{name} has no value; to remove the setting: reset {name}")
    given: str | list[str]
    if name == "who":
        given = _who(text)
    else:
        text = _unescaped(text) if is_escaped else text
        given = text.upper() if name == "project_key" and text.isascii() else text
        given = text.lower() if name == "include" else given
        given = [item for item in map(str.strip, text.split(",")) if item] if name == "labels" else given
    try:
        return valid(name, given)
    except ValueError as exc:
        raise InvalidCommand(f"{name} {exc}") from exc


def _who(text: str) -> str | list[str]:
    """Return an audience, or the ids of users and user groups in the order given."""
    if text.lower() in ("workspace", "everyone"):
        return text.lower()
    # Tokens first: the name in one may have commas and spaces.
    words = _PERSON.sub(r" \1 ", text).replace(",", " ").split()
    if unknown := [word for word in words if not _ID.fullmatch(word)]:
        raise InvalidCommand(
            f"who: {unknown[0][:40]!r} is neither a user nor a user group; write workspace, everyone, "
            "or choose people and groups from the list that Slack shows after @"
        )
    return words


def _unescaped(text: str) -> str:
    for escape, letter in _ESCAPES:
        text = text.replace(escape, letter)
    return text
