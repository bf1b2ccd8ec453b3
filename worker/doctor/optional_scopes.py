"""Check which of Slack's optional scopes the token has, and so what is missing in tickets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.doctor.finding import Finding, ok, skipped, warning

OPTIONAL_SCOPES: Final[Mapping[str, str]] = {
    "files:read": "no file is copied to a ticket",
    "users:read.email": "no assignee can be set in the form, and no reporter is named",
    "users:read": "people in a ticket's text are shown by their IDs",
    "usergroups:read": "user groups in a ticket's text are shown by their IDs, and a channel's `who` lets no "
    "group act",
    "channels:read": "channels in a ticket's text are shown by their IDs",
}
"""Scopes that forms and what of a thread goes to its ticket need, and what is missing without them."""


def judge_optional_scopes(header: str | None) -> Finding:
    """Judge which optional scopes are missing, and so what tickets lack."""
    check = "slack: optional scopes"
    if header is None:
        return skipped(check, "Slack does not say which scopes the token has")
    have = {scope.strip() for scope in header.split(",")}
    missing = {scope: effect for scope, effect in OPTIONAL_SCOPES.items() if scope not in have}
    if missing:
        told = "; ".join(f"without {scope} {effect}" for scope, effect in missing.items())
        fix = f"Slack's app page, OAuth & Permissions: add {', '.join(missing)}, and reinstall the app"
        return warning(check, told, fix)
    return ok(check, ", ".join(OPTIONAL_SCOPES))
