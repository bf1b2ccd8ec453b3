"""Refusals of the sandbox Jira, and what it demands of comments and entity properties."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sandbox.jira.texts import document_fault, text_fault

LONGEST_PROPERTY: Final = 32_768
INVALID_PAYLOAD: Final = "Invalid request payload. Refer to the REST API documentation and try again."


class Refusal(Exception):
    """A refusal, with status 400 by default: ``messages`` about the request, ``errors`` by field."""

    def __init__(self, *messages: str, errors: Mapping[str, str] | None = None, status: int = 400) -> None:
        super().__init__(*messages)
        self.status = status
        self.messages = messages
        self.errors = dict(errors or {})


def comment_fault(body: Any, *, adf: bool) -> str | None:
    """Return the fault of a comment's text; None if it has none."""
    fault = document_fault(body) if adf else text_fault(body)
    return "Comment body can not be empty!" if fault is None and not body else fault


def properties_of(value: Any) -> dict[str, Any]:
    """Return the entity properties by key. Raises ``Refusal`` for invalid ones."""
    if not isinstance(value, list):
        raise Refusal(INVALID_PAYLOAD)
    properties: dict[str, Any] = {}
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("key"), str) or "value" not in item:
            raise Refusal(INVALID_PAYLOAD)
        if len(json.dumps(item["value"])) > LONGEST_PROPERTY:
            raise Refusal(f"The value of the property is longer than {LONGEST_PROPERTY} characters.")
        properties[item["key"]] = item["value"]
    return properties
