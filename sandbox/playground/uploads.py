"""Files that a person adds to a message on the page. Pure."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator
from typing import Any, Final

from sandbox.slack.messages import SlackFile

MOST_FILES: Final = 3
MOST_BYTES: Final = 500_000
"""Of one file; the real Slack takes 1 GB."""

_LONGEST_NAME: Final = 200


class WrongFile(ValueError):
    """A file that is not taken; the message is for the person."""


def files_in(given: Any) -> tuple[SlackFile, ...]:
    """Read a message's files: objects of ``name``, ``type`` and ``data`` in base 64.

    Raises ``WrongFile``.
    """
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MOST_FILES:
        raise WrongFile(f"a message takes at most {MOST_FILES} files here")
    return tuple(_files(given))


def _files(given: list[Any]) -> Iterator[SlackFile]:
    for one in given:
        name, kind, data = (
            one.get(part) if isinstance(one, dict) else None for part in ("name", "type", "data")
        )
        if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(data, str):
            raise WrongFile("a file has a name, a type and data")
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise WrongFile("the data of a file are in base 64") from None
        if not content or len(content) > MOST_BYTES:
            raise WrongFile(f"a file has between 1 and {MOST_BYTES:,} bytes here")
        file_id = f"F{secrets.token_hex(5).upper()}"
        yield SlackFile(file_id, name[:_LONGEST_NAME] or "file", content, kind or "application/octet-stream")
