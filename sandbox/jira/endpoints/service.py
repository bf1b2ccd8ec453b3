"""What Jira tells of itself: its kind, its priorities, and what the account may do."""

from __future__ import annotations

import re
from typing import Final

from sandbox.jira import metadata
from sandbox.jira.endpoints.asked import Asked, Route, listed
from sandbox.jira.fields import PRIORITIES
from sandbox.jira.replies import Reply, json_reply
from sandbox.jira.validation import Refusal

_PERMISSIONS: Final = (
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "ADD_COMMENTS",
    "CREATE_ATTACHMENTS",
    "LINK_ISSUES",
    "MODIFY_REPORTER",
    "ASSIGN_ISSUES",
)


def _server_info(asked: Asked) -> Reply:
    return json_reply(200, asked.answers.server_info())


def _priorities(asked: Asked) -> Reply:
    return json_reply(200, [metadata.priority(asked.answers, choice) for choice in PRIORITIES])


def _permissions(asked: Asked) -> Reply:
    """Return which of the permissions the account has, in a project if one is named."""
    key = asked.query.get("projectKey")
    if key is not None and key not in asked.site.projects:
        raise Refusal(f"No project could be found with key '{key}'.", status=404)
    wanted = listed(asked.query.get("permissions", "")) or list(_PERMISSIONS)
    unknown = [name for name in wanted if name not in _PERMISSIONS]
    if unknown:
        raise Refusal(f"Unrecognized permission: {unknown[0]}")
    lacking: set[str] = set() if key is None else _lacking(asked, key)
    shown = {
        name: {
            "id": str(place),
            "key": name,
            "name": name.replace("_", " ").capitalize(),
            "type": "PROJECT",
            "description": "",
            "havePermission": name not in lacking,
        }
        for place, name in enumerate(_PERMISSIONS, 10)
        if name in wanted
    }
    return json_reply(200, {"permissions": shown})


def _lacking(asked: Asked, key: str) -> set[str]:
    project, lacking = asked.site.project(key), set[str]()
    if not project.reporter_settable:
        lacking.add("MODIFY_REPORTER")
    if not project.creatable:
        lacking.add("CREATE_ISSUES")
    if not metadata.is_visible(asked.site, key, asked.account):
        lacking |= {"BROWSE_PROJECTS", "CREATE_ISSUES"}
    return lacking


ROUTES: Final = (
    Route("GET", re.compile("serverInfo"), "serverinfo", _server_info),
    Route("GET", re.compile("priority"), "priority", _priorities),
    Route("GET", re.compile("mypermissions"), "permissions", _permissions),
)
