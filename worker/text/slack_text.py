"""Parse Slack's mrkdwn into blocks of lines of spans, to be written in another notation.

    text -> Code | Bullets | Quote | Paragraph, each of lines; a line is a tuple of spans

Slack's notation: https://docs.slack.dev/messaging/formatting-message-text. Whatever is not well formed stays
as it is. The time it takes is linear in the text's length, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, Literal

Mark = Literal["strong", "em", "strike", "code"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one line, never empty, without a line break."""

    text: str
    marks: frozenset[Mark] = frozenset()
    href: str | None = None


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Lines that belong together; at least one, none of them empty."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """Items of a list, one line each; at least one, none of them empty."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """Quoted lines; some may be empty, not all."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Preformatted text, never empty; it may have line breaks."""

    text: str


Block = Paragraph | Bullets | Quote | Code

_REFUSED: Final = re.compile(r"[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITY: Final = re.compile(r"&(lt|gt|amp);")
_ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&"}

_BULLET: Final = re.compile(r"[ \t]*[-*•◦▪][ \t]+(?=\S)")
_QUOTE: Final = re.compile(r"(?:(?:>|&gt;){3}|>|&gt;) ?")
_ANGLE: Final = re.compile(r"<([^<>\n]+)>")
_LONGEST_ADDRESS: Final = 2000  # in a link; a longer one is text, which can be cut
_ADDRESS: Final = re.compile(rf"(?:https?://|mailto:|tel:)\S{{1,{_LONGEST_ADDRESS}}}", re.IGNORECASE)
# All that Slack makes a link of: what has a label, or a scheme. Those above alone are links in a ticket.
_SCHEME: Final = re.compile(r"(?!javascript:|data:|vbscript:)[a-z][a-z0-9+.-]*:(?=\S)", re.IGNORECASE)
_BARE: Final = re.compile(r"(?:mailto|tel):", re.IGNORECASE)
_SIGNS: Final = {"@": "@", "#": "#", "!": "@"}  # of people, channels, and @here and its like
_TO_ALL: Final = frozenset({"here", "channel", "everyone", "group"})
_DATE: Final = re.compile(r"date\^(-?[0-9]{1,16})\^[^^]*(?:\^(\S+))?")
_MARKS: Final[dict[str, Mark]] = {"strong": "strong", "em": "em", "strike": "strike"}

# Each alternative stops at its own end sign, so no character is looked at more than a few times.
_TOKEN: Final = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|<(?P<angle>[^<>\n]+)>"
    r"|(?P<url>https?://(?:(?!&[lg]t;)[^\s<>|])*(?!&[lg]t;)[^\s<>|.,;:!?'\"()\[\]{}*_~])"
    r"|(?<![\w*])\*(?=[^\s*])(?P<strong>[^*\n]+)(?<!\s)\*(?![\w*])"
    r"|(?<![\w_])_(?=[^\s_])(?P<em>[^_\n]+)(?<!\s)_(?![\w_])"
    r"|(?<![\w~])~(?=[^\s~])(?P<strike>[^~\n]+)(?<!\s)~(?![\w~])"
)


def parse(text: str) -> tuple[Block, ...]:
    """Return the blocks of a text, none of them empty."""
    pieces = cleaned(text).split("```")
    if len(pieces) % 2 == 0:
        # A fence that nothing closes is no fence.
        pieces[-2:] = ["```".join(pieces[-2:])]
    return tuple(
        block
        for place, piece in enumerate(pieces)
        for block in (_code(piece) if place % 2 else _blocks(piece))
    )


def cleaned(text: str) -> str:
    """Remove characters that XML, and so Jira, forbids: control characters and lone surrogates."""
    return _REFUSED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """Return the text on one line, links and mentions by their labels; marks stay."""
    return " ".join(_literal(cleaned(text)).split())


def escape(text: str) -> str:
    """Return text as mrkdwn that shows it as it is: no links, no mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(piece: str) -> Iterator[Code]:
    text = _literal(piece.removeprefix("\n").rstrip())
    if text.strip():
        yield Code(text)


def _blocks(piece: str) -> Iterator[Block]:
    for kind, group in groupby(piece.split("\n"), _kind):
        lines = list(group)
        if kind is Bullets:
            yield Bullets(tuple(_line(_BULLET.sub("", line, count=1)) for line in lines))
        elif kind is Quote:
            quoted = tuple(_line(_QUOTE.sub("", line, count=1)) for line in lines)
            if any(quoted):
                yield Quote(quoted)
        elif kind is Paragraph:
            yield Paragraph(tuple(_line(line) for line in lines))


def _kind(line: str) -> type[Block] | None:
    if _BULLET.match(line):
        return Bullets
    if _QUOTE.match(line):
        return Quote
    return Paragraph if line.strip() else None


def _line(text: str) -> Line:
    return tuple(_spans(text.rstrip(), frozenset()))


def _spans(text: str, marks: frozenset[Mark]) -> Iterator[Span]:
    """Yield spans; marks in marks are at most three deep, as none is inside itself."""
    end = 0
    for found in _TOKEN.finditer(text):
        yield from _plain(text[end : found.start()], marks)
        end = found.end()
        kind = found.lastgroup or ""
        inside = found[kind]
        if kind == "code":
            yield Span(_literal(inside), marks | {"code"})
        elif kind == "url":
            address = _unescaped(inside)
            yield Span(address, marks, address if len(address) <= _LONGEST_ADDRESS else None)
        elif kind == "angle":
            shown = _ANGLE.sub(_readable, found[0])
            yield Span(_unescaped(shown), marks, _href(inside))
        else:
            yield from _spans(inside, marks | {_MARKS[kind]})
    yield from _plain(text[end:], marks)


def _plain(text: str, marks: frozenset[Mark]) -> Iterator[Span]:
    if text:
        yield Span(_unescaped(text), marks)


def _literal(code: str) -> str:
    """Return the text of code, in which Slack makes links too."""
    return _unescaped(_ANGLE.sub(_readable, code))


def _href(inside: str) -> str | None:
    """Return the address in ``<address>`` or ``<address|label>``, or of a date, if it may be a link."""
    target = inside.partition("|")[0]
    if target.startswith("!date^"):
        date = _DATE.fullmatch(target[1:])
        target = (date[2] or "") if date else ""
    return _unescaped(target) if _ADDRESS.fullmatch(target) else None


def _readable(found: re.Match[str]) -> str:
    """Return the visible part of ``<...>``, escaped: a label, an address, a name; else all of it."""
    target, has_label, label = found[1].partition("|")
    label = label.strip()
    if _SCHEME.match(target):
        address = _BARE.sub("", target, count=1)
        if label and (label in (target, address) or _ADDRESS.fullmatch(target)):
            return label
        # Where the address cannot be a link it would be lost behind its label.
        return f"{label} ({address})" if label else address
    sign, name = target[:1], target[1:]
    if sign not in _SIGNS or not name:
        # Slack labels nothing but addresses; one without a scheme is relative.
        return label if has_label and label and target and not set(": ") & set(target) else found[0]
    return _named(sign, name, label)


def _named(sign: str, name: str, label: str) -> str:
    """Read a mention or a date: https://docs.slack.dev/messaging/formatting-message-text."""
    if sign == "!":
        if name in _TO_ALL:
            return f"@{name}"
        if label:
            return label
        if date := _DATE.fullmatch(name):
            return _moment(date[1])
        # Such as subteam^S0123: what comes last says which.
        return f"@{name.rpartition('^')[2] or name}"
    if label and label[0] in "@#":
        return label
    return _SIGNS[sign] + (label or name)


def _moment(seconds: str) -> str:
    """Write a moment in UTC: a ticket has readers in all time zones."""
    try:
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return seconds


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text)
