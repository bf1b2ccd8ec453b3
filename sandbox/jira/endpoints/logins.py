"""The token server for OAuth client credentials, and the edge that tells a cloud id. Both need no login."""

from __future__ import annotations

import re
from typing import Final

from sandbox.jira.endpoints.asked import Asked, Route
from sandbox.jira.replies import Reply, json_reply


def _tenant(asked: Asked) -> Reply:
    return json_reply(200, {"cloudId": asked.site.cloud_id})


def _token(asked: Asked) -> Reply:
    """Issue an access token for a client's id and secret, sent as JSON."""
    body = asked.body
    if not isinstance(body, dict):
        return _refused(400, "invalid_request", "The body must be a JSON object")
    if body.get("grant_type") != "client_credentials":
        return _refused(403, "unsupported_grant_type", f"Unsupported grant type: {body.get('grant_type')}")
    missing = [name for name in ("client_id", "client_secret") if not isinstance(body.get(name), str)]
    if missing:
        return _refused(401, "access_denied", f"Missing required parameter: {missing[0]}")
    issued = asked.site.logins.issue(body["client_id"], body["client_secret"])
    if issued is None:
        return _refused(401, "access_denied", "Unauthorized")
    return json_reply(
        200,
        {
            "access_token": issued.token,
            "scope": " ".join(sorted(issued.scopes)),
            "expires_in": int(asked.site.logins.token_seconds),
            "token_type": "Bearer",
        },
        {"Cache-Control": "no-store"},
    )


def _refused(status: int, error: str, description: str) -> Reply:
    return json_reply(status, {"error": error, "error_description": description})


ROUTES: Final = (
    Route("GET", re.compile("_edge/tenant_info"), "tenant", _tenant),
    Route("POST", re.compile("oauth/token"), "token", _token),
)
