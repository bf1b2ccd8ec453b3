"""Reader of the files in a multipart request, as browsers and HTTP libraries send them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from sandbox.jira.issues import Upload

_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_PARAMETER: Final = re.compile(r';\s*([\w*]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')
_ESCAPES: Final = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))
"""Characters that an HTML form escapes in a name, and no others."""


class NotMultipart(ValueError):
    """A body that is no multipart request."""


def uploads_of(content_type: str, body: bytes, field: str = "file") -> tuple[Upload, ...]:
    """Return the files in the parts called ``field``, in order; parts with other names are passed over.

    Raises ``NotMultipart`` if the request says that it is another kind, or if its last part does not end.
    """
    boundary = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or boundary is None:
        raise NotMultipart("the request is no multipart/form-data with a boundary")
    line = b"--" + (boundary[1] or boundary[2]).encode()
    first, *parts = (b"\r\n" + body).split(b"\r\n" + line)
    if first or not parts or not parts[-1].startswith(b"--"):
        raise NotMultipart("the multipart request does not end with its boundary")
    found = (_upload(part, field) for part in parts[:-1])
    return tuple(upload for upload in found if upload is not None)


def _upload(part: bytes, field: str) -> Upload | None:
    head, gap, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not gap:
        raise NotMultipart("a part of the request has no content")
    headers = _headers(head)
    parameters = _parameters(headers.get("content-disposition", ""))
    filename = parameters.get("filename")
    if parameters.get("name") != field or filename is None:
        return None
    return Upload(filename, content, headers.get("content-type", "application/octet-stream"))


def _headers(head: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in head.decode(errors="replace").split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _parameters(disposition: str) -> Mapping[str, str]:
    """Read name and file name; one in the extended notation (``filename*=UTF-8''…``) wins."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(disposition):
        text = quoted or plain
        if name.endswith("*"):
            found[name.removesuffix("*").lower()] = unquote(text.partition("''")[2])
        else:
            found.setdefault(name.lower(), _unescaped(text))
    return found


def _unescaped(text: str) -> str:
    for escaped, character in _ESCAPES:
        text = text.replace(escaped, character)
    return re.sub(r"\\(.)", r"\1", text)
