"""Read the arguments of a Web API call. Pure; raises ``SlackError`` with Slack's name for what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

Answer = dict[str, Any]
Arguments = Mapping[str, Any]

CHANNEL: Final = re.compile(r"[CDG][A-Z0-9]{2,30}", re.ASCII)
USER: Final = re.compile(r"[UW][A-Z0-9]{2,30}", re.ASCII)
TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}", re.ASCII)


class SlackError(Exception):
    """Error of a call, which becomes ``ok: false``; the message is Slack's name for the error.

    Args:
        more: further members of the response, such as ``needed`` of ``missing_scope``.
    """

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.more = more


def content_of(arguments: Arguments) -> tuple[str, tuple[Any, ...]]:
    """Read text and blocks, of which one must be there."""
    text, blocks = str(arguments.get("text") or ""), from_json(arguments.get("blocks")) or []
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    if not text and not blocks:
        raise SlackError("no_text")
    return text, tuple(blocks)


def metadata_of(arguments: Arguments) -> Mapping[str, Any] | None:
    """Read a message's metadata; None if there is none."""
    metadata = from_json(arguments.get("metadata"))
    if metadata is not None and not (
        isinstance(metadata, dict) and {"event_type", "event_payload"} <= set(metadata)
    ):
        raise SlackError("invalid_metadata_format")
    return metadata


def moment_of(arguments: Arguments, name: str, default: str) -> Decimal:
    """Read ``oldest`` or ``latest``."""
    text = str(arguments.get(name) or default)
    if text != default and not TS.fullmatch(text):
        raise SlackError(f"invalid_ts_{name}")
    return Decimal(text)


def number_of(arguments: Arguments, name: str, default: int, most: int | None = None) -> int:
    """Read a number in digits; ``most`` is the largest that Slack takes."""
    text = str(arguments.get(name) or default)
    if not text.isdecimal() or (most is not None and not 0 < int(text) <= most):
        raise SlackError(f"invalid_{name}")
    return int(text)


def is_on(arguments: Arguments, name: str) -> bool:
    """Read a switch: true or 1, as JSON or as text."""
    return str(arguments.get(name, "")).lower() in ("true", "1")


def from_json(value: Any) -> Any:
    """Read blocks or a view: JSON text in a form, plain JSON in a JSON body."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise SlackError("invalid_arguments") from None
