"""Turn a request into its outcome, for every transport alike: path, fault, login, endpoint. No I/O.

| path | door | login |
|---|---|---|
| ``<context path>/rest/api/{2,3}/…`` | the site | classic token, access token of a Data Center |
| ``/ex/jira/<cloud id>/rest/api/3/…`` | the gateway | scoped token, OAuth token |
| ``<context path>/_edge/tenant_info`` | the site | none |
| ``/oauth/token`` | the token server | none |
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sandbox.jira.accounts import Account
from sandbox.jira.answers import Answers
from sandbox.jira.endpoints import OPEN_ROUTES, ROUTES
from sandbox.jira.endpoints.asked import Asked, Route
from sandbox.jira.issues import Upload
from sandbox.jira.logins import Door
from sandbox.jira.multipart import NotMultipart, uploads_of
from sandbox.jira.replies import Outcome, Reply, Request, error_reply, gateway_reply
from sandbox.jira.site import JiraSite
from sandbox.jira.spoiling import instead, spoiled
from sandbox.jira.validation import Refusal

_API: Final = re.compile(r"/rest/api/([23])/(.+)")
_GATEWAY: Final = re.compile(r"/ex/jira/([^/]+)/rest/api/3/(.+)")
_TRACE_HEADERS: Final = {"3": "atl-traceid", "2": "X-AREQUESTID"}
_NO_LOGIN: Final = "Client must be authenticated to access this resource."


@dataclass(frozen=True)
class _Place:
    """Where a request goes.

    Args:
        rest: what follows ``/rest/api/{version}/``, or the whole path of an open route.
        address: URL below which ``/rest`` was asked.
        site: URL of the site itself, as far as the request tells.
    """

    door: Door
    version: str
    rest: str
    address: str
    site: str
    routes: Sequence[Route] = ROUTES


def respond(site: JiraSite, request: Request) -> Outcome:
    """Respond to a request; record the call in the site, and make its change there."""
    found = _found(site, request)
    if isinstance(found, Reply):
        return found
    place, route, named = found
    body, uploads = _content(route, request)
    fault = site.meet(route.action, body)
    outcome = instead(fault, site.clock(), cloud=place.version == "3")
    if outcome is None:
        admitted = _admitted(site, place, route, request.headers.get("authorization", ""))
        if isinstance(admitted, Account):
            answers = Answers(site, place.site, place.version, place.address)
            asked = Asked(
                site=site,
                version=place.version,
                named=named,
                query=request.query,
                headers=request.headers,
                body=body,
                uploads=uploads,
                fault=fault,
                answers=answers,
                account=admitted,
            )
            admitted = _answer(route, asked)
        outcome = spoiled(fault, admitted)
    return _traced(outcome, place.version, len(site.calls))


def _found(site: JiraSite, request: Request) -> tuple[_Place, Route, Mapping[str, str]] | Reply:
    """Find the route and the parts of the path; return an error reply if there is no such endpoint."""
    place = _place(site, request)
    if isinstance(place, Reply):
        return place
    matches = [
        (route, route.path.fullmatch(place.rest)) for route in place.routes if place.version in route.versions
    ]
    known = [(route, match.groupdict()) for route, match in matches if match]
    for route, named in known:
        if route.method == request.method:
            return place, route, named
    return error_reply(405, ["Method not allowed"]) if known else error_reply(404, ["Dead link"])


def _place(site: JiraSite, request: Request) -> _Place | Reply:
    """Return where a request goes; an error reply if nothing is there."""
    if request.at_gateway:
        return _gateway_place(site, request)
    base = f"{request.base}{site.context_path}"
    if not request.path.startswith(f"{site.context_path}/"):
        return error_reply(404, ["Dead link"])
    path = request.path.removeprefix(site.context_path)
    if path == "/_edge/tenant_info":
        return _Place("site", "3", path.removeprefix("/"), base, base, OPEN_ROUTES)
    if api := _API.fullmatch(path):
        return _Place("site", api[1], api[2], base, base)
    return error_reply(404, ["Dead link"])


def _gateway_place(site: JiraSite, request: Request) -> _Place | Reply:
    """Return where a request to the gateway's host goes; the token server is there, too."""
    told = site.url or request.base
    if request.path == "/oauth/token":
        return _Place("gateway", "3", "oauth/token", request.base, told, OPEN_ROUTES)
    gateway = _GATEWAY.fullmatch(request.path)
    if gateway is None or gateway[1] != site.cloud_id:
        return gateway_reply(404, "Not Found")
    return _Place("gateway", "3", gateway[2], f"{request.base}/ex/jira/{site.cloud_id}", told)


def _admitted(site: JiraSite, place: _Place, route: Route, authorization: str) -> Account | Reply:
    """Return the account of the login, or the refusal of the site or of the gateway."""
    if place.routes is OPEN_ROUTES:
        return site.bot
    credential = (
        site.logins.admit(place.door, authorization)
        if place.door == "gateway" or site.serves_site()
        else None
    )
    account = site.accounts.find(credential.account) if credential else None
    if credential is None or account is None or not account.active:
        if place.door == "gateway":
            return gateway_reply(401, "Unauthorized")
        return error_reply(401, [_NO_LOGIN])
    if not site.logins.allows(credential, route.action):
        return gateway_reply(401, "Unauthorized; scope does not match")
    return account


def _answer(route: Route, asked: Asked) -> Reply:
    if asked.body is None and route.action != "token":
        return error_reply(400, ["There was an error parsing JSON. Check that your request body is valid."])
    try:
        return route.answer(asked)
    except Refusal as exc:
        return error_reply(exc.status, exc.messages, exc.errors)


def _content(route: Route, request: Request) -> tuple[Any, Sequence[Upload] | None]:
    """Return a request's JSON and its files. Of a multipart request the plan of faults is told the names.

    The JSON is {} if there is none, None if it is malformed. The files are None without a multipart request.
    """
    if not route.files:
        return _parsed(request.body), None
    try:
        uploads = uploads_of(request.headers.get("content-type", ""), request.body)
    except NotMultipart:
        return {}, None
    return {"files": [upload.filename for upload in uploads]}, uploads


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return None


def _traced(outcome: Outcome, version: str, number: int) -> Outcome:
    """Add the header by which Jira's support finds a call, to Jira's own responses only."""
    if not isinstance(outcome, Reply) or "json" not in outcome.headers.get("Content-Type", ""):
        return outcome
    return replace(outcome, headers={**outcome.headers, _TRACE_HEADERS[version]: f"{number:032x}"})
