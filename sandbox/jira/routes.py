"""Turn a request into its outcome, for every transport alike: path, fault, account, endpoint. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sandbox.jira.answers import Answers
from sandbox.jira.endpoints import ROUTES, Asked, Route
from sandbox.jira.replies import Outcome, Reply, Request, error_reply
from sandbox.jira.site import JiraSite
from sandbox.jira.spoiling import instead, spoiled
from sandbox.jira.validation import Refusal

_PATH: Final = re.compile(r"/rest/api/([23])/(.+)")
_TRACE_HEADERS: Final = {"3": "atl-traceid", "2": "X-AREQUESTID"}


def respond(site: JiraSite, request: Request) -> Outcome:
    """Respond to a request; record the call in the site, and make its change there."""
    path = _PATH.fullmatch(request.path)
    version, rest = path.groups() if path else ("3", "")
    found = _found(request.method, version, rest)
    if isinstance(found, Reply):
        return found
    route, named = found
    body = _parsed(request.body)
    fault = site.meet(route.endpoint, body)
    outcome = instead(fault, site.clock(), cloud=version == "3")
    if outcome is None:
        answers = Answers(site, request.base, version)
        asked = Asked(site, version, named, request.query, body, fault, answers)
        outcome = spoiled(fault, _answer(route, asked, request.headers.get("authorization", "")))
    return _traced(outcome, version, len(site.calls))


def _found(method: str, version: str, rest: str) -> tuple[Route, Mapping[str, str]] | Reply:
    """Find the route and the parts of the path; return an error reply if there is no such endpoint."""
    matches = [(route, route.path.fullmatch(rest)) for route in ROUTES if version in route.versions]
    known = [(route, match.groupdict()) for route, match in matches if match]
    for route, named in known:
        if route.method == method:
            return route, named
    return error_reply(405, ["Method not allowed"]) if known else error_reply(404, ["Dead link"])


def _answer(route: Route, asked: Asked, authorization: str) -> Reply:
    if not asked.site.admits(authorization):
        return error_reply(401, ["Client must be authenticated to access this resource."])
    if asked.body is None:
        return error_reply(400, ["There was an error parsing JSON. Check that your request body is valid."])
    try:
        return route.answer(asked)
    except Refusal as exc:
        return error_reply(400, exc.messages, exc.errors)


def _parsed(body: bytes) -> Any:
    """Parse a request's JSON: {} if it has none, None if it is malformed."""
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return None


def _traced(outcome: Outcome, version: str, number: int) -> Outcome:
    """Add the header by which Jira's support finds a call, to Jira's own responses only."""
    if not isinstance(outcome, Reply) or "json" not in outcome.headers.get("Content-Type", ""):
        return outcome
    return replace(outcome, headers={**outcome.headers, _TRACE_HEADERS[version]: f"{number:032x}"})
