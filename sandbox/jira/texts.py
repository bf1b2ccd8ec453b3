"""Faults of texts, documents and labels, in Jira's words. No I/O.

Jira counts characters as Java does: one beyond the Basic Multilingual Plane, such as most emoji, is two.
"""

from __future__ import annotations

import json
from typing import Any, Final

LONGEST_SUMMARY: Final = 255
LONGEST_LABEL: Final = 255
LONGEST_TEXT: Final = 32_767


def summary_fault(value: Any, missing: str) -> str | None:
    """Return the fault of a summary, ``missing`` for an empty one; None if it has none."""
    if not isinstance(value, str):
        return "Operation value must be a string"
    if not value.strip():
        return missing
    if "\n" in value or "\r" in value:
        return "The summary is invalid because it contains newline characters."
    if _size(value) > LONGEST_SUMMARY:
        return f"Summary can't exceed {LONGEST_SUMMARY} characters."
    return None


def labels_fault(value: Any) -> str | None:
    """Return the fault of a list of labels; None if it has none."""
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        return "data was not an array"
    for label in value:
        if any(character.isspace() for character in label):
            return f"The label '{label}' contains spaces which is invalid."
        if not 0 < _size(label) <= LONGEST_LABEL:
            return f"The label '{label}' is not between 1 and {LONGEST_LABEL} characters long."
    return None


def text_fault(value: Any, longest: int = LONGEST_TEXT) -> str | None:
    """Return the fault of a text; None if it has none."""
    if not isinstance(value, str):
        return "Operation value must be a string"
    return _length_fault(value, longest)


def document_fault(value: Any) -> str | None:
    """Return the fault of a document; its length is that of its JSON, as Jira Cloud is said to count."""
    if not isinstance(value, dict) or value.get("type") != "doc" or value.get("version") != 1:
        return "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    if not isinstance(value.get("content"), list) or not all(map(_is_node, value["content"])):
        return "INVALID_INPUT"
    return _length_fault(json.dumps(value, ensure_ascii=False, separators=(",", ":")), LONGEST_TEXT)


def _is_node(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    if value["type"] == "text":
        return isinstance(value.get("text"), str) and value["text"] != ""
    content = value.get("content", [])
    return isinstance(content, list) and all(map(_is_node, content))


def _length_fault(text: str, longest: int) -> str | None:
    if _size(text) <= longest:
        return None
    return f"The entered text is too long. It exceeds the allowed limit of {longest:,} characters."


def _size(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
