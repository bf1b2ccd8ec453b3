"""Files of a thread: which are copied to the ticket, under which names, and why the others are not. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from worker.text.slack_text import cleaned

MOST_FILES: Final = 20
MOST_BYTES: Final = 10_000_000
"""Limit of one file."""

MOST_BYTES_IN_ALL: Final = 50_000_000
LONGEST_NAME: Final = 200

NotCopied = Literal[
    "too_big",
    "too_many",
    "too_much",
    "external",
    "hidden",
    "gone",
    "no_access",
    "not_allowed",
    "sign_in",
    "incomplete",
    "refused",
    "kept_failing",
    "pending",
]
REASONS: Final[Mapping[NotCopied, str]] = {
    "too_big": "it is larger than 10 MB",
    "too_many": "20 files were copied before it",
    "too_much": "the files before it have 50 MB",
    "external": "it lies outside Slack",
    "hidden": "Slack hides it because of the workspace's limits",
    "gone": "it was deleted in Slack",
    "no_access": "it belongs to another organisation, and Slack does not give it to us",
    "not_allowed": "the Slack app lacks the scope files:read",
    "sign_in": "Slack sent a web page in its place",
    "incomplete": "Slack sent less or more than all of it",
    "refused": "Jira did not accept it",
    "kept_failing": "it could not be copied for a day",
    "pending": "it could not be copied yet",
}
"""Why a file is not on the ticket, in words."""

_ID: Final = re.compile(r"F[A-Z0-9]{1,63}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]")
_HTML: Final = ("text/html", "application/xhtml+xml")
_BEGINNINGS: Final = (b"<!doctype html", b"<html", b"<head", b"<script")
_BOM: Final = b"\xef\xbb\xbf"
_ACCESS: Final[Mapping[str, NotCopied]] = {
    "access_denied": "no_access",
    "check_file_info": "no_access",
    "file_not_found": "gone",
}


@dataclass(frozen=True, slots=True)
class SlackFile:
    """A file as Slack describes it. ``trouble``: why it cannot be copied whatever its size is.

    ``size`` is in bytes, None where Slack does not say. ``asks_info``: only ``files.info`` knows more.
    """

    id: str
    name: str
    mimetype: str = ""
    size: int | None = None
    url: str | None = None
    trouble: NotCopied | None = None
    asks_info: bool = False

    @property
    def attachment(self) -> str:
        """The name of its copy on the ticket."""
        return attachment_name(self.id, self.name)


@dataclass(frozen=True, slots=True)
class Choice:
    """The files to copy, in the thread's order, and the reason of each that is not, by its id."""

    copied: tuple[SlackFile, ...]
    not_copied: Mapping[str, NotCopied]


def read_file(raw: Any) -> SlackFile | None:
    """Read a file object (https://docs.slack.dev/reference/objects/file-object); None without an id."""
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str) or not _ID.fullmatch(raw["id"]):
        return None
    name = next((raw[key] for key in ("name", "title") if isinstance(raw.get(key), str) and raw[key]), "")
    url = next((raw[key] for key in ("url_private_download", "url_private") if _is_text(raw.get(key))), None)
    size = raw.get("size")
    mimetype = raw.get("mimetype")
    return SlackFile(
        raw["id"],
        name,
        mimetype.lower() if isinstance(mimetype, str) else "",
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        url,
        _trouble(raw, url),
        raw.get("file_access") == "check_file_info",
    )


def attachment_name(file_id: str, name: str) -> str:
    """Return ``<id>-<name>`` without path separators and control characters, at most 200 characters."""
    safe = _SEPARATORS.sub("", cleaned(name)).strip() or "file"
    return f"{file_id}-{safe}"[:LONGEST_NAME].rstrip()


def is_copy_of(file_id: str, attached: Iterable[str]) -> bool:
    """Return True if one of the ticket's attachments is the file's copy, whatever Jira made of its name."""
    return any(name.startswith(f"{file_id}-") for name in attached)


def choose(files: Iterable[SlackFile], attached: Collection[str] = ()) -> Choice:
    """Choose the files to copy, in their order: at most 20, 10 MB each, 50 MB in all.

    Those that the ticket has already count as copied. A file of unknown size counts as one of 10 MB. One of
    which only ``files.info`` can tell more is chosen; it is asked for when it is copied.

    Args:
        attached: names of the ticket's attachments.
    """
    copied: list[SlackFile] = []
    reasons: dict[str, NotCopied] = {}
    total = 0
    for file in {file.id: file for file in files}.values():
        size = MOST_BYTES if file.size is None else file.size
        reason = None if file.asks_info or is_copy_of(file.id, attached) else file.trouble
        if reason is None and size > MOST_BYTES:
            reason = "too_big"
        elif reason is None and len(copied) == MOST_FILES:
            reason = "too_many"
        elif reason is None and total + size > MOST_BYTES_IN_ALL:
            reason = "too_much"
        if reason:
            reasons[file.id] = reason
        else:
            copied.append(file)
            total += size
    return Choice(tuple(copied), reasons)


def fault_of(file: SlackFile, content: bytes, content_type: str) -> NotCopied | None:
    """Judge what Slack sent for a file; None for the file.

    Without a valid token Slack sends a page to sign in with status 200.
    """
    is_html = content_type.partition(";")[0].strip().lower() in _HTML or _looks_like_html(content)
    if is_html and file.mimetype not in _HTML:
        return "sign_in"
    if file.size is not None and len(content) != file.size:
        return "incomplete"
    return None


def _looks_like_html(content: bytes) -> bool:
    start = content[:1024].removeprefix(_BOM).lstrip()[:32].lower()
    return start.startswith(_BEGINNINGS)


def _trouble(raw: Mapping[str, Any], url: str | None) -> NotCopied | None:
    access, mode = raw.get("file_access"), raw.get("mode")
    if mode == "tombstone":
        return "gone"
    if mode == "hidden_by_limit":
        return "hidden"
    if isinstance(access, str) and access in _ACCESS:
        return _ACCESS[access]
    if raw.get("is_external") is True or mode == "external":
        return "external"
    return None if url else "gone"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
