"""A Jira that shares no code with the sandbox: site, gateway and token server, each at a port of its own.

It is written after Atlassian's published documentation of the calls that a sync makes, and answers 404 to all
others. A share of the creates gets no answer; of these, every second one has created its ticket nevertheless.
"""

from __future__ import annotations

import base64
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

CLOUD_ID: Final = "5f0a9b1c-7d3e-4c21-9b60-2f4f1d7a8e55"
_API: Final = "/rest/api/3"
_LABEL: Final = re.compile(r'labels = "([^"]+)"')
_PROJECT: Final = re.compile(r'project = "([^"]+)" ORDER BY created DESC')

Answer = tuple[int, Any]
_NOT_FOUND: Final[Answer] = (404, {"errorMessages": ["Not Found"], "errors": {}})
_NO_TICKET: Final[Answer] = (404, {"errorMessages": ["Issue does not exist."], "errors": {}})
_UNAUTHORIZED: Final[Answer] = (401, {"code": 401, "message": "Unauthorized"})


@dataclass
class Ticket:
    """A ticket. ``found_from`` is when the search finds it."""

    id: str
    key: str
    fields: dict[str, Any]
    properties: dict[str, Any]
    created_by: str
    found_from: float
    links: dict[str, str] = field(default_factory=dict)


class ForeignJira:
    """The three servers, between ``with`` and its end.

    Args:
        unanswered: share of the creates that get no answer.
        search_lag: seconds until the search finds a ticket.
        life: seconds for which an access token lives.

    ``scoped_only``: the site takes no token any more, and the gateway takes the scoped one.
    ``asked`` counts requests by server and answer's status, as ``site 401``.
    """

    def __init__(self, *, unanswered: float, search_lag: float = 1.0, life: float = 30.0) -> None:
        self.unanswered = unanswered
        self.search_lag = search_lag
        self.life = life
        self.scoped_only = False
        self.tickets: list[Ticket] = []
        self.asked: Counter[str] = Counter()
        self.lost = 0
        self.email, self.classic, self.scoped = "ann@example.com", "classic-token", "scoped-token"
        self.client_id, self.client_secret = "client-7", "client-secret"
        self._granted: dict[str, float] = {}
        self._draw = random.Random(7)
        self._lock = threading.Lock()
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self.url = self._serve("site", self._at_the_site)
        self.gateway_url = self._serve("gateway", self._at_the_gateway)
        self.token_url = self._serve("token", self._at_the_token_server) + "/oauth/token"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def settings(self, login: str) -> dict[str, str]:
        """Return the settings of a worker with this login: ``classic | scoped | oauth``."""
        common = {
            "JIRA_URL": self.url,
            "JIRA_API_GATEWAY": self.gateway_url,
            "JIRA_OAUTH_TOKEN_URL": self.token_url,
            "JIRA_PROJECT_KEY": "OPS",
        }
        match login:
            case "classic":
                return {**common, "JIRA_EMAIL": self.email, "JIRA_API_TOKEN": self.classic}
            case "scoped":
                token = {"JIRA_EMAIL": self.email, "JIRA_API_TOKEN": self.scoped}
                return {**common, **token, "JIRA_CLOUD_ID": CLOUD_ID}
            case _:
                client = {
                    "JIRA_OAUTH_CLIENT_ID": self.client_id,
                    "JIRA_OAUTH_CLIENT_SECRET": self.client_secret,
                }
                return {**common, **client, "JIRA_CLOUD_ID": "auto"}

    @property
    def access_tokens(self) -> frozenset[str]:
        """All access tokens that were granted."""
        return frozenset([*self._granted])

    def lives(self, token: str) -> bool:
        """Return True for an access token that has not ended."""
        return self._granted.get(token, 0.0) > time.monotonic()

    def _serve(self, name: str, answer: Callable[[_Asked], Answer | None]) -> str:
        jira = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length)
                asked = _Asked(self.command, self.path, self.headers.get("Authorization") or "", content)
                answered = answer(asked)
                jira.asked[f"{name} {answered[0] if answered else 'unanswered'}"] += 1
                if answered is None:
                    self.close_connection = True
                    return
                status, body = answered
                raw = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = _handle

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self._exits.callback(thread.join)
        self._exits.callback(server.shutdown)
        self._exits.callback(server.server_close)
        return f"http://127.0.0.1:{server.server_port}"

    def _at_the_site(self, asked: _Asked) -> Answer | None:
        if asked.path == "/_edge/tenant_info":
            return 200, {"cloudId": CLOUD_ID}
        if self.scoped_only or asked.basic != (self.email, self.classic):
            return _UNAUTHORIZED
        return self._api(asked, self.email)

    def _at_the_gateway(self, asked: _Asked) -> Answer | None:
        if asked.path.startswith(f"/ex/jira/{CLOUD_ID}/"):
            asked.path = asked.path.removeprefix(f"/ex/jira/{CLOUD_ID}")
        else:
            return _NOT_FOUND
        if self.scoped_only and asked.basic == (self.email, self.scoped):
            return self._api(asked, self.email)
        if self.lives(asked.bearer):
            return self._api(asked, self.client_id)
        return _UNAUTHORIZED

    def _at_the_token_server(self, asked: _Asked) -> Answer:
        body = asked.body
        given = (body.get("grant_type"), body.get("client_id"), body.get("client_secret"))
        if asked.path != "/oauth/token" or given != (
            "client_credentials",
            self.client_id,
            self.client_secret,
        ):
            return 401, {"error": "access_denied"}
        token = f"access-{self._draw.getrandbits(64):x}"
        self._granted[token] = time.monotonic() + self.life
        return 200, {"access_token": token, "expires_in": int(self.life), "token_type": "Bearer"}

    def _api(self, asked: _Asked, account: str) -> Answer | None:
        if not asked.path.startswith(_API):
            return _NOT_FOUND
        match asked.method, asked.path.removeprefix(_API).strip("/").split("/"):
            case "GET", ["myself"]:
                return 200, {"accountId": account, "active": True}
            case "GET", ["serverInfo"]:
                return 200, {"deploymentType": "Cloud"}
            case "POST", ["issue"]:
                return self._create(asked.body, account)
            case "POST", ["search", "jql"]:
                return self._search(asked.body)
            case "POST", ["issue", "bulkfetch"]:
                wanted = asked.body["issueIdsOrKeys"]
                found = [_shown(ticket) for ticket in self._all() if {ticket.id, ticket.key} & {*wanted}]
                return 200, {"issues": found, "issueErrors": []}
            case "GET", ["issue", wanted]:
                ticket = self._ticket(wanted)
                return (200, _shown(ticket)) if ticket else _NO_TICKET
            case "POST", ["issue", wanted, "remotelink"]:
                return self._link(wanted, asked.body)
            case _:
                return _NOT_FOUND

    def _create(self, body: dict[str, Any], account: str) -> Answer | None:
        with self._lock:
            is_lost = self._draw.random() < self.unanswered
            self.lost += is_lost
            if is_lost and self.lost % 2:
                return None
            number = len(self.tickets) + 1
            ticket = Ticket(
                str(10_000 + number),
                f"{body['fields']['project']['key']}-{number}",
                body["fields"],
                {item["key"]: item["value"] for item in body.get("properties", ())},
                account,
                time.monotonic() + self.search_lag,
            )
            self.tickets.append(ticket)
        if is_lost:
            return None
        return 201, {"id": ticket.id, "key": ticket.key, "self": f"{self.url}{_API}/issue/{ticket.id}"}

    def _search(self, body: dict[str, Any]) -> Answer:
        now = time.monotonic()
        known = [ticket for ticket in reversed(self._all()) if ticket.found_from <= now]
        if by_label := _LABEL.fullmatch(body["jql"]):
            known = [ticket for ticket in known if by_label[1] in ticket.fields.get("labels", ())]
        elif by_project := _PROJECT.fullmatch(body["jql"]):
            known = [ticket for ticket in known if ticket.key.startswith(f"{by_project[1]}-")]
        else:
            return 400, {"errorMessages": ["This Jira cannot read the query."], "errors": {}}
        return 200, {"issues": [_shown(ticket) for ticket in known[: body["maxResults"]]], "isLast": True}

    def _link(self, wanted: str, body: dict[str, Any]) -> Answer:
        ticket = self._ticket(wanted)
        if ticket is None:
            return _NO_TICKET
        status = 200 if body["globalId"] in ticket.links else 201
        ticket.links[body["globalId"]] = body["object"]["url"]
        return status, {"id": 1}

    def _all(self) -> list[Ticket]:
        with self._lock:
            return [*self.tickets]

    def _ticket(self, id_or_key: str) -> Ticket | None:
        return next((ticket for ticket in self._all() if id_or_key in (ticket.id, ticket.key)), None)


class _Asked:
    """A request as it came."""

    def __init__(self, method: str, target: str, authorization: str, content: bytes) -> None:
        self.method = method
        parts = urlsplit(target)
        self.path = parts.path
        self.params = parse_qs(parts.query)
        self._content = content
        self._authorization = authorization

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request."""
        body: dict[str, Any] = json.loads(self._content)
        return body

    @property
    def basic(self) -> tuple[str, str] | None:
        """Name and password of Basic authentication."""
        kind, _, value = self._authorization.partition(" ")
        if kind.casefold() != "basic":
            return None
        name, _, password = base64.b64decode(value).decode().partition(":")
        return name, password

    @property
    def bearer(self) -> str:
        """The access token, or an empty text."""
        kind, _, value = self._authorization.partition(" ")
        return value if kind.casefold() == "bearer" else ""


def _shown(ticket: Ticket) -> dict[str, Any]:
    return {
        "id": ticket.id,
        "key": ticket.key,
        "fields": {"labels": ticket.fields.get("labels", []), "attachment": []},
        "properties": ticket.properties,
    }
