"""Read requests to the sandbox Slack, and make the responses that are not the Web API's."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

from aiohttp import web

from sandbox.faults import RateLimited

PAGE: Final = "<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"
SIGN_IN: Final = "<!DOCTYPE html><html><body><h1>Sign in to your workspace</h1></body></html>"
"""What Slack sends with status 200 in place of a file, to anybody without a valid token."""


def token_of(request: web.Request) -> str:
    """Return the token of the header; empty if there is none."""
    return request.headers.get("Authorization", "").removeprefix("Bearer ").strip()


async def arguments_of(request: web.Request) -> dict[str, Any]:
    """Read a call's arguments from its query, and from its body in JSON or as a form."""
    arguments: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        # The SDK says JSON also where it sends nothing.
        text = await request.text() or "{}"
        with contextlib.suppress(ValueError):
            body = json.loads(text)
            arguments |= body if isinstance(body, dict) else {}
    else:
        arguments |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    return arguments


def rate_limited(fault: RateLimited) -> web.Response:
    """Make the response to a call that is one too many."""
    headers = {"Retry-After": str(fault.retry_after)}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)


def drop(request: web.Request) -> web.Response:
    """End the connection now; the returned response is never sent."""
    if request.transport:
        request.transport.abort()
    return web.Response()
