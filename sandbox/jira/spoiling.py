"""Apply a fault to a call, in place of its response or to the response."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from sandbox.jira.faults import (
    BURST,
    GLOBAL_QUOTA,
    ISSUE_WRITES,
    TENANT_QUOTA,
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    HtmlRefusal,
    NotJson,
    Redirect,
    Refuse,
    Slow,
    Status,
    Throttle,
    Truncated,
)
from sandbox.jira.replies import Drop, Outcome, Reply, error_reply, html_reply

LONG_SECONDS: Final = 300.0
"""Time for which a call hangs that never gets a response: longer than any client waits."""

_LIMITS: Final = {BURST: 100, ISSUE_WRITES: 20, GLOBAL_QUOTA: 65_000, TENANT_QUOTA: 65_000}
_POLICIES: Final = {GLOBAL_QUOTA: "global-app-quota", TENANT_QUOTA: "tenant-app-quota"}
_TITLES: Final = {
    500: "Internal server error",
    502: "Bad gateway",
    503: "The service is unavailable",
    504: "Gateway time-out",
}


def instead(fault: Fault | None, now: float, *, cloud: bool) -> Outcome | None:
    """Return the outcome of a call that a fault keeps from its effect; None if the call goes on."""
    match fault:
        case DropBeforeCommit():
            return Drop()
        case Hang(seconds, committed=False):
            return Drop(seconds)
        case Status(status):
            return _failed(status)
        case Throttle():
            headers = _cloud_limit(fault, now) if cloud else _data_center_limit(fault)
            return error_reply(429, ["Rate limit exceeded."], headers=headers)
        case Refuse(status, messages, errors):
            return error_reply(status, messages, errors)
        case HtmlRefusal(status):
            return html_reply(status, "Request blocked")
        case Redirect(location):
            return Reply(302, headers={"Location": location})
    return None


def spoiled(fault: Fault | None, reply: Reply) -> Outcome:
    """Return the part of a response that reaches the client, after a call with an effect, now or later."""
    match fault:
        case CommitThenDrop() | CommitLate(then="drop"):
            return Drop()
        case CommitLate(then="status"):
            return _failed(503)
        case CommitThenStatus(status):
            return _failed(status)
        case CommitLate(then="hang"):
            return Drop(LONG_SECONDS)
        case Hang(seconds):
            return Drop(seconds)
        case Slow(seconds):
            return replace(reply, delay=seconds)
        case Truncated():
            return replace(reply, cut=True)
        case NotJson():
            return html_reply(reply.status, "One moment, please")
    return reply


def _failed(status: int) -> Reply:
    return error_reply(status, [_TITLES.get(status, f"The request failed with status {status}")])


def _cloud_limit(fault: Throttle, now: float) -> dict[str, str]:
    """Build Cloud's rate-limit headers; hourly quotas have structured headers too."""
    headers = {
        "X-RateLimit-Limit": str(_LIMITS.get(fault.reason, 100)),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-NearLimit": "true",
        "RateLimit-Reason": fault.reason,
    }
    policy = _POLICIES.get(fault.reason)
    if policy:
        headers["Beta-RateLimit-Policy"] = f'"{policy}";q={_LIMITS[fault.reason]};w=3600'
    if fault.retry_after is None:
        return headers
    wait = math.ceil(fault.retry_after)
    headers["Retry-After"] = str(wait)
    headers["X-RateLimit-Reset"] = datetime.fromtimestamp(now + wait, UTC).strftime("%Y-%m-%dT%H:%MZ")
    if policy:
        headers["Beta-RateLimit"] = f'"{policy}";r=0;t={wait}'
    return headers


def _data_center_limit(fault: Throttle) -> dict[str, str]:
    """Build Data Center's rate-limit headers, of a token bucket."""
    headers = {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Interval-Seconds": "1",
        "X-RateLimit-FillRate": "1",
    }
    if fault.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(fault.retry_after))
    return headers
