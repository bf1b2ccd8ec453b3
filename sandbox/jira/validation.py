"""Validate a new ticket's fields, and refuse them in Jira's words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sandbox.jira.issues import Draft
from sandbox.jira.site import JiraSite

LONGEST_SUMMARY: Final = 255
LONGEST_LABEL: Final = 255
LONGEST_TEXT: Final = 32_767
LONGEST_PROPERTY: Final = 32_768
INVALID_PAYLOAD: Final = "Invalid request payload. Refer to the REST API documentation and try again."

_MISSING: Final = {
    "project": "valid project is required",
    "issuetype": "Specify a valid issue type",
    "summary": "You must specify a summary of the issue.",
}


class Refusal(Exception):
    """A refusal with status 400: ``messages`` about the request, ``errors`` by field."""

    def __init__(self, *messages: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(*messages)
        self.messages = messages
        self.errors = dict(errors or {})


def draft_of(site: JiraSite, body: Mapping[str, Any], *, adf: bool) -> Draft:
    """Read the ticket from the body of a create; ``adf`` is for version 3, whose descriptions are documents.

    Raises ``Refusal`` with the faults of all fields at once.
    """
    fields = body.get("fields")
    if not isinstance(fields, dict):
        raise Refusal(INVALID_PAYLOAD)
    errors = dict(_errors(site, fields, adf))
    if errors:
        raise Refusal(errors=errors)
    return Draft(
        project=_chosen(fields["project"], "key", site.projects) or "",
        issue_type=_chosen(fields["issuetype"], "name", site.issue_types) or "",
        summary=fields["summary"].strip(),
        description=fields.get("description"),
        labels=tuple(dict.fromkeys(fields.get("labels") or ())),
        properties=properties_of(body.get("properties", [])),
    )


def comment_fault(body: Any, *, adf: bool) -> str | None:
    """Return the fault of a comment's text; None if it has none."""
    fault = _document_fault(body) if adf else _text_fault(body)
    return "Comment body can not be empty!" if fault is None and not body else fault


def _errors(site: JiraSite, fields: Mapping[str, Any], adf: bool) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if name not in site.screen:
            yield name, f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        elif value is not None and (fault := _fault(site, name, value, adf)):
            yield name, fault
    for name, field in site.screen.items():
        if field.required and not field.has_default and fields.get(name) in (None, "", [], {}):
            yield name, _MISSING.get(name, f"{field.name} is required.")


def _fault(site: JiraSite, name: str, value: Any, adf: bool) -> str | None:
    """Return the fault of a value; None if it has none, or if Jira does not check the field."""
    match name:
        case "project":
            return None if _chosen(value, "key", site.projects) else _MISSING[name]
        case "issuetype":
            return None if _chosen(value, "name", site.issue_types) else _MISSING[name]
        case "summary":
            return _summary_fault(value)
        case "labels":
            return _labels_fault(value)
        case "description":
            return _document_fault(value) if adf else _text_fault(value)
    return None


def _chosen(value: Any, named_by: str, known: Mapping[str, str]) -> str | None:
    """Return the name of a choice that is made by ``{"id": …}`` or by name; None if it is unknown."""
    if not isinstance(value, dict):
        return None
    by_id = {identity: name for name, identity in known.items()}
    name = value.get(named_by)
    return by_id.get(str(value["id"])) if "id" in value else name if name in known else None


def _summary_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "Operation value must be a string"
    if not value.strip():
        return _MISSING["summary"]
    if "\n" in value or "\r" in value:
        return "The summary is invalid because it contains newline characters."
    if len(value) > LONGEST_SUMMARY:
        return f"Summary can't exceed {LONGEST_SUMMARY} characters."
    return None


def _labels_fault(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        return "data was not an array"
    for label in value:
        if any(character.isspace() for character in label):
            return f"The label '{label}' contains spaces which is invalid."
        if not 0 < len(label) <= LONGEST_LABEL:
            return f"The label '{label}' is not between 1 and {LONGEST_LABEL} characters long."
    return None


def _text_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "Operation value must be a string"
    return _length_fault(value)


def _document_fault(value: Any) -> str | None:
    """Return the fault of a document; its length is that of its JSON, as Jira Cloud is said to count."""
    if not isinstance(value, dict) or value.get("type") != "doc" or value.get("version") != 1:
        return "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    if not isinstance(value.get("content"), list) or not all(map(_is_node, value["content"])):
        return "INVALID_INPUT"
    return _length_fault(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _is_node(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    if value["type"] == "text":
        return isinstance(value.get("text"), str) and value["text"] != ""
    content = value.get("content", [])
    return isinstance(content, list) and all(map(_is_node, content))


def _length_fault(text: str) -> str | None:
    if len(text) <= LONGEST_TEXT:
        return None
    return f"The entered text is too long. It exceeds the allowed limit of {LONGEST_TEXT:,} characters."


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
