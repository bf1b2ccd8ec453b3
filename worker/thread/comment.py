"""Write a thread as a comment of its ticket, within Jira's limits, and as an attachment with all of it. Pure.

The comment holds whole messages from the beginning. Jira Cloud counts the serialised document, Data Center
the text; the limit of both is 32,767 characters of Java, for which some emoji are two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final, Literal

from worker.text.adf import document
from worker.text.slack_text import Block, Bullets, Line, Paragraph, Span, parse
from worker.text.wiki import wiki
from worker.thread.files import MOST_BYTES, REASONS, NotCopied
from worker.thread.message import ThreadMessage, Transcript
from worker.thread.names import shown_name, with_names
from worker.thread.plain import plain

LONGEST_COMMENT: Final = 30_000
"""Longest comment, with room: Jira may count its JSON with other white space than ours."""

_MOST_FILES_NAMED: Final = 40
_LONGEST_FILE_NAME: Final = 100
_BETWEEN_NODES: Final = 2
_CUT_FILE: Final = "… Cut here, at 10 MB; the other messages are in the Slack thread."

Format = Literal["adf", "wiki"]
Body = dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Thread:
    """All that the comment and the attachment are made of.

    Args:
        names: by Slack's id; an id without a name is shown as it is.
        url: leads to the thread.
        until: the moment of the request.
        not_copied: reasons by file id; None where no files are copied at all.
        notes: sentences of ours at the end.
    """

    transcript: Transcript
    names: Mapping[str, str]
    url: str
    until: datetime
    not_copied: Mapping[str, NotCopied] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment's body, and how many of the messages it shows; ``is_cut`` if that is not all of them."""

    body: Body
    shown: int
    is_cut: bool


def comment(thread: Thread, form: Format, attachment: str | None) -> Comment:
    """Write the comment: whole messages from the beginning, and what is missing.

    Args:
        attachment: name of the attachment that has all; None if there is none, if it is needed.
    """
    head, entries = _head(thread), [_entry(thread, number) for number in range(_count(thread))]
    whole = [*head, *_flat(entries), *_tail(thread)]
    if size(whole, form) <= LONGEST_COMMENT:
        return Comment(_written(whole, form), len(entries), is_cut=False)
    tail = [_cut_note(len(entries), attachment), *_tail(thread)]
    # Of each entry by itself, which is linear; what stands between them is counted, too.
    sizes = accumulate((size(entry, form) + _BETWEEN_NODES for entry in entries), initial=0)
    room = LONGEST_COMMENT - size([*head, *tail], form) - _BETWEEN_NODES
    shown = max((number for number, taken in enumerate(sizes) if taken <= room), default=0)
    part = [*head, *_flat(entries[:shown]), *tail]
    return Comment(_written(part, form), shown, is_cut=True)


def attachment(thread: Thread) -> bytes:
    """Write all messages as a text file in UTF-8; whole messages from the beginning if it passes 10 MB."""
    head = f"{plain(_head(thread))}\n\n"
    tail = "".join(f"\n{plain([block])}\n" for block in _tail(thread))
    note = f"\n{_CUT_FILE}\n"
    room = MOST_BYTES - len((head + tail + note).encode())
    kept: list[str] = []
    for number in range(_count(thread)):
        entry = f"{plain(_entry(thread, number))}\n\n"
        room -= len(entry.encode())
        if room < 0:
            return f"{head}{''.join(kept)}{note}{tail}".encode()
        kept.append(entry)
    return f"{head}{''.join(kept)}{tail}".encode()


def is_too_long(thread: Thread, form: Format) -> bool:
    """Return True if the comment cannot show all messages, so that the attachment is needed."""
    return comment(thread, form, None).is_cut


def size(blocks: Sequence[Block], form: Format) -> int:
    """Return the size that Jira counts, in Java's characters."""
    body = _written(blocks, form)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return len(text.encode("utf-16-le")) // 2


def _written(blocks: Sequence[Block], form: Format) -> Body:
    return document(blocks) if form == "adf" else wiki(blocks)


def _count(thread: Thread) -> int:
    return len(thread.transcript.messages)


def _flat(entries: Sequence[Sequence[Block]]) -> list[Block]:
    return [block for entry in entries for block in entry]


def _head(thread: Thread) -> list[Block]:
    count = _count(thread) + thread.transcript.left_out
    told = f" up to {_moment(thread.until)}: {count:,} {'message' if count == 1 else 'messages'}"
    return [Paragraph(((Span("Slack thread", href=thread.url), Span(told)),))]


def _entry(thread: Thread, number: int) -> tuple[Block, ...]:
    """Return a message's blocks; after the first one, how many are left out."""
    message = thread.transcript.messages[number]
    blocks: list[Block] = [_who_and_when(thread, message), *parse(with_names(message.text, thread.names))]
    blocks += [_line(f"[file] {_file_name(file.name)}") for file in message.files]
    if number == 0 and (missing := thread.transcript.left_out):
        blocks.append(_line(f"… {missing:,} {'message' if missing == 1 else 'messages'} between not shown …"))
    return tuple(blocks)


def _who_and_when(thread: Thread, message: ThreadMessage) -> Paragraph:
    name = thread.names.get(message.author, message.author)
    when = datetime.fromtimestamp(min(float(message.ts), 253_402_300_799.0), UTC)
    return Paragraph(((Span(shown_name(name), frozenset({"strong"})), Span(f" · {_moment(when)}")),))


def _tail(thread: Thread) -> list[Block]:
    blocks: list[Block] = []
    if missing := _missing_files(thread):
        blocks += [_line("Files that are not attached here:"), Bullets(tuple(missing))]
    return [*blocks, *map(_line, thread.notes)]


def _missing_files(thread: Thread) -> list[Line]:
    reasons = thread.not_copied or {}
    lines: list[Line] = [
        (Span(f"{_file_name(file.name)}: {REASONS[reasons[file.id]]}"),)
        for file in thread.transcript.files()
        if file.id in reasons
    ]
    if len(lines) > _MOST_FILES_NAMED:
        more = len(lines) - _MOST_FILES_NAMED
        lines[_MOST_FILES_NAMED:] = [(Span(f"and {more:,} more"),)]
    return lines


def _cut_note(count: int, name: str | None) -> Paragraph:
    where = f"all {count:,} are in the attachment {name}" if name else "the others are in the Slack thread"
    return _line(f"… Cut here, because Jira takes no longer comment; {where}.")


def _file_name(name: str) -> str:
    return shown_name(name)[:_LONGEST_FILE_NAME]


def _line(text: str) -> Paragraph:
    return Paragraph(((Span(text),),))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
