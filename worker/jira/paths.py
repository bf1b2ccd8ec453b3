"""Paths of Jira's REST API, and the endpoint that each belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

_ENDPOINTS: Final[Mapping[str, str]] = {
    "remotelink": "remote_link",
    "comment": "comment",
    "attachments": "attachment",
}


def issue_path(id_or_key: str) -> str:
    """Return the path of a ticket."""
    return f"/issue/{segment(id_or_key)}"


def issue_types_path(project_key: str) -> str:
    """Return the path of the issue types that tickets of a project may have."""
    return f"/issue/createmeta/{segment(project_key)}/issuetypes"


def segment(text: str) -> str:
    """Return text as one segment of a path."""
    return quote(text, safe="")


def endpoint_of(path: str) -> str:
    """Name the endpoint of a path: without the keys and ids in it."""
    steps = path.strip("/").split("/")
    if steps[0] == "issue" and len(steps) > 1:
        named = {"bulkfetch": "bulkfetch", "createmeta": "createmeta"}.get(steps[1])
        return named or _ENDPOINTS.get(steps[-1], "get")
    return steps[0]
