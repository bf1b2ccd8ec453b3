"""A site, a gateway and a token server before a sandbox Jira, each at its host; and worlds that log in."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from sandbox.chaos.world import URL, Login, World
from sandbox.jira.site import JiraSite
from sandbox.jira.transport import SandboxTransport
from sandbox.virtual_clock import VirtualClock
from tests.support.jira_requests import basic
from worker.jira.answers import JiraAccount, OAuthClient
from worker.jira.client import JiraClient
from worker.jira.paths import endpoint_of

CLOUD_ID: Final = "11223344-a1b2-4b33-c444-def123456789"
GATEWAY: Final = "https://gateway.example"
TOKEN_URL: Final = "https://auth.example/oauth/token"
CLIENT: Final = OAuthClient("client-1", "hunter3", TOKEN_URL)
BOT: Final = ("bot@example.com", "hunter2")
SERVICE: Final = ("service@example.com", "hunter4")

_SCOPE: Final = {"code": 401, "message": "Unauthorized; scope does not match"}
_UNAUTHORIZED: Final = {"code": 401, "message": "Unauthorized"}
_NO_REPORTER: Final = {"errorMessages": [], "errors": {"reporter": "The reporter specified is not a user."}}
_NO_TICKET: Final = {"errorMessages": ["Issue does not exist or you do not have permission to see it."]}


def classic(account: tuple[str, str] = BOT) -> JiraAccount:
    """An API token at the site."""
    return JiraAccount(URL, *account)


def scoped(account: tuple[str, str] = BOT, cloud_id: str = CLOUD_ID) -> JiraAccount:
    """The same at the gateway."""
    return JiraAccount(URL, *account, cloud_id=cloud_id, gateway=GATEWAY)


def oauth(client: OAuthClient = CLIENT, cloud_id: str | None = None) -> JiraAccount:
    """OAuth client credentials."""
    return JiraAccount(URL, None, "", cloud_id=cloud_id, gateway=GATEWAY, oauth=client)


@dataclass(frozen=True)
class Granted:
    """An access token: whose it is, and until when."""

    client_id: str
    ends_at: float


class Front(httpx.AsyncBaseTransport):
    """Transport to the site, the gateway and the token server, by host.

    All of these may be changed at any time:

    Attributes:
        scoped_only: the site takes no API token; the gateway does.
        life: seconds for which access tokens live.
        lacks: endpoints that no token has the scope for.
        refuses: endpoints that refuse every token.
        revokes_at: endpoints; the next call of each finds its access token revoked.
        blind: accounts (e-mail address or client id) that see only the tickets that they created.
        takes_reporters: Jira lets us name the reporter; else it refuses the ticket.
        hides_reported: only its reporter sees a ticket that names one.
        reporters: the reporter of each ticket that names one, by the ticket's id.
        is_token_server_down, is_site_silent: the token server, or ``tenant_info``, does not respond.
        asked: counts of requests: ``site``, ``gateway``, ``token``, ``tenant_info``.
    """

    def __init__(self, site: JiraSite, clock: VirtualClock) -> None:
        self._site = site
        self._clock = clock
        self._jira = SandboxTransport(site, on_wait=clock.advance)
        self._numbers = itertools.count(1)
        self._tokens: dict[str, Granted] = {}
        self._creators: dict[str, str] = {}
        self._sender = ""
        self.accounts = dict((BOT, SERVICE))
        self.clients = {CLIENT.client_id: CLIENT.client_secret}
        self.scoped_only = False
        self.life = 3600.0
        self.lacks: set[str] = set()
        self.refuses: set[str] = set()
        self.revokes_at: set[str] = set()
        self.blind: set[str] = set()
        self.takes_reporters, self.hides_reported = True, False
        self.reporters: dict[str, str] = {}
        self._named: str | None = None
        self.is_token_server_down = self.is_site_silent = False
        self.asked: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if f"https://{url.host}" == TOKEN_URL.removesuffix("/oauth/token"):
            return self._grant(request, json.loads(await request.aread()))
        if url.path == "/_edge/tenant_info":
            return self._tenant_info(request)
        at_the_gateway = f"https://{url.host}" == GATEWAY
        self.asked["gateway" if at_the_gateway else "site"] += 1
        path = url.path.removeprefix(f"/ex/jira/{CLOUD_ID}") if at_the_gateway else url.path
        if not path.startswith("/rest/api/3/"):
            return httpx.Response(404, json={"message": "Not Found"})
        endpoint = endpoint_of(path.removeprefix("/rest/api/3"))
        account = self._account(request.headers.get("authorization", ""), endpoint, at_the_gateway)
        if account is None or endpoint in self.refuses:
            return httpx.Response(401, json=_UNAUTHORIZED)
        if endpoint in self.lacks:
            return httpx.Response(401, json=_SCOPE)
        return await self._forwarded(request, path, endpoint, account)

    def _grant(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        self.asked["token"] += 1
        if self.is_token_server_down:
            raise httpx.ConnectError("All connection attempts failed", request=request)
        client_id = body["client_id"]
        if body["grant_type"] != "client_credentials" or self.clients.get(client_id) != body["client_secret"]:
            return httpx.Response(401, json={"error": "access_denied", "error_description": "Unauthorized"})
        token = f"access-{next(self._numbers)}"
        self._tokens[token] = Granted(client_id, self._clock() + self.life)
        scope = "read:jira-work write:jira-work read:jira-user"
        granted = {"access_token": token, "expires_in": self.life, "token_type": "Bearer", "scope": scope}
        return httpx.Response(200, json=granted)

    def _tenant_info(self, request: httpx.Request) -> httpx.Response:
        self.asked["tenant_info"] += 1
        assert "authorization" not in request.headers, "the site is asked without a login"
        if self.is_site_silent:
            return httpx.Response(503, text="away")
        return httpx.Response(200, json={"cloudId": CLOUD_ID})

    def _account(self, header: str, endpoint: str, at_the_gateway: bool) -> str | None:
        """Return the account of a request; None if it is not accepted there."""
        scheme, _, given = header.partition(" ")
        if scheme == "Bearer":
            if endpoint in self.revokes_at:
                self.revokes_at.discard(endpoint)
                self._tokens.pop(given, None)
            granted = self._tokens.get(given)
            is_alive = granted is not None and self._clock() < granted.ends_at
            return granted.client_id if granted and is_alive and at_the_gateway else None
        email, _, token = base64.b64decode(given).decode().partition(":")
        is_known = self.accounts.get(email) == token and (at_the_gateway or not self.scoped_only)
        return email if is_known else None

    async def _forwarded(
        self, request: httpx.Request, path: str, endpoint: str, account: str
    ) -> httpx.Response:
        self._attribute()
        if endpoint == "issue":
            self._sender = account
            fields = json.loads(await request.aread())["fields"]
            self._named = fields.get("reporter", {}).get("accountId")
            if self._named and not self.takes_reporters:
                return httpx.Response(400, json=_NO_REPORTER)
        headers = {**request.headers, "authorization": basic(self._site.email, self._site.token)}
        url = httpx.URL(URL).copy_with(raw_path=path.encode() + _query(request.url))
        inner = httpx.Request(
            request.method,
            url,
            headers=headers,
            content=await request.aread(),
            extensions=request.extensions,
        )
        response = await self._jira.handle_async_request(inner)
        self._attribute()
        if not (account in self.blind or self.hides_reported) or response.status_code != 200:
            return response
        return self._without_others(json.loads(await response.aread()), account)

    def _attribute(self) -> None:
        """Note who created the tickets that are new; a late one is of who created last."""
        for issue in self._site.issues:
            if issue.id not in self._creators and self._named:
                self.reporters[issue.id] = self._named
            self._creators.setdefault(issue.id, self._sender)

    def _without_others(self, content: Any, account: str) -> httpx.Response:
        """Leave out what the account may not see, as Jira does: without a word, or as a 404."""
        if "issues" in content:
            seen = [issue for issue in content["issues"] if self._sees(account, issue["id"])]
            return httpx.Response(200, json={**content, "issues": seen})
        if "id" in content and not self._sees(account, content["id"]):
            return httpx.Response(404, json=_NO_TICKET)
        return httpx.Response(200, json=content)

    def _sees(self, account: str, issue_id: str) -> bool:
        """Return True if the account, which is no person and so never a reporter, sees the ticket."""
        if self.hides_reported and issue_id in self.reporters:
            return False
        return account not in self.blind or self._creators.get(issue_id) == account


def _query(url: httpx.URL) -> bytes:
    return b"?" + url.query if url.query else b""


class LoginWorld(World):
    """A world whose worker may be restarted with another login, and that has more than one session."""

    front: Front

    def log_in(self, login: JiraAccount | Login) -> None:
        """Restart the worker with this login."""
        self._jira.close()
        account = login if isinstance(login, JiraAccount) else self._account(login)
        self.target = replace(self.target, account=account)
        self._jira = self._connect()

    def open_session(self, thread_ts: str) -> None:
        """Open another session, which is the one that is worked on from now on."""
        self.thread = (self.thread[0], thread_ts)
        self.session_id = self.sessions.get_or_create_session(*self.thread, "U0CHAOS").id

    def work_until(self, is_over: Callable[[LoginWorld], bool], seconds: float = 7_200) -> None:
        """Let a worker run whenever the sync is due, for so long at most."""
        until = self.clock() + seconds
        while not is_over(self):
            assert self.clock() < until, f"{self.state().summary()}: {self.detail().attempts[-3:]}"
            self.probe()
            self.work()
            self.clock.advance(5)

    def stands(self) -> tuple[str, str | None]:
        """Return state and reason."""
        return self.state().state, self.state().reason

    def _connect(self) -> JiraClient:
        if not hasattr(self, "front"):
            self.front = Front(self.site, self.clock)
        return JiraClient(self.target.account, self.front, self.time.monotonic)
