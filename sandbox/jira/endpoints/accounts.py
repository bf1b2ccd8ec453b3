"""Accounts and groups: search people by name or address, read one, and the account of the login."""

from __future__ import annotations

import re
from typing import Final

from sandbox.jira.accounts import Account
from sandbox.jira.endpoints.asked import Asked, Route
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import Refusal

_MOST_FOUND: Final = 1_000


def _myself(asked: Asked) -> Reply:
    return json_reply(200, asked.answers.myself(asked.account))


def _search(asked: Asked) -> Reply:
    """Return the active accounts whose name or address contains ``query``, ``username`` on a Data Center."""
    name = "query" if asked.is_cloud else "username"
    wanted = asked.query.get(name)
    if wanted is None:
        raise Refusal(f"The query parameter '{name}' is required.")
    return _page(asked, asked.site.accounts.search(wanted))


def _assignable(asked: Asked) -> Reply:
    """Return the people to whom tickets of ``project`` may be assigned; apps and customers are none."""
    key = asked.query.get("project")
    if key not in asked.site.projects:
        raise Refusal(f"No project could be found with key '{key}'.", status=404)
    wanted = asked.query.get("query" if asked.is_cloud else "username", "")
    return _page(asked, [one for one in asked.site.accounts.search(wanted) if one.kind == "atlassian"])


def _page(asked: Asked, found: list[Account]) -> Reply:
    start, most = asked.page(_MOST_FOUND)
    return json_reply(200, [asked.answers.account(account) for account in found[start : start + most]])


def _get(asked: Asked) -> Reply:
    accounts, query = asked.site.accounts, asked.query
    found = (
        accounts.find(query.get("accountId", ""))
        if asked.is_cloud
        else accounts.named(query.get("username", ""))
    )
    if found is None:
        return error_reply(404, ["Specified user does not exist or you do not have required permissions"])
    return json_reply(200, asked.answers.account(found))


def _groups(asked: Asked) -> Reply:
    """Return the groups whose name contains ``query``."""
    wanted = asked.query.get("query", "").casefold()
    found = sorted(name for name in asked.site.accounts.groups if wanted in name.casefold())
    _, most = asked.page(_MOST_FOUND, usual=20)
    shown = [{"name": name, "html": name} for name in found[:most]]
    header = f"Showing {len(shown)} of {len(found)} matching groups"
    return json_reply(200, {"header": header, "total": len(found), "groups": shown})


ROUTES: Final = (
    Route("GET", re.compile("myself"), "myself", _myself),
    Route("GET", re.compile("user/search"), "user.search", _search),
    Route("GET", re.compile("user/assignable/search"), "user.assignable", _assignable),
    Route("GET", re.compile("user"), "user.get", _get),
    Route("GET", re.compile("groups/picker"), "group.search", _groups),
)
