"""httpx before a sandbox Jira, over sockets or in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from sandbox.jira.server import JiraSandbox
from sandbox.jira.site import JiraSite
from sandbox.jira.transport import SandboxTransport
from sandbox.virtual_clock import VirtualClock
from tests.support.jira_requests import create_body
from worker.http_once import tls_context

PATIENCE = 0.5
"""The client's read time-out, in seconds."""
ENDED = (httpx.RemoteProtocolError, httpx.ReadError)
"""What a connection that ends looks like; which of them is a matter of packets."""
SOCKETS, IN_PROCESS = "sockets", "in process"
_ATLASSIAN = ("https://jira.example", "https://api.atlassian.com", "https://auth.atlassian.com/oauth/token")


@dataclass(frozen=True)
class Jira:
    site: JiraSite
    clock: VirtualClock
    http: httpx.AsyncClient
    is_virtual: bool
    site_url: str
    gateway_url: str
    token_url: str

    async def create(self, **fields: Any) -> httpx.Response:
        return await self.http.post("3/issue", json=create_body(**fields))

    async def search(self, version: str, jql: str, **body: Any) -> Any:
        path = {"3": "3/search/jql", "2": "2/search"}[version]
        answer = await self.http.post(path, json={"jql": jql, **body})
        assert answer.status_code == 200
        return answer.json()


@asynccontextmanager
async def jira_over(transport: str) -> AsyncIterator[Jira]:
    """A site with two projects and virtual time, and a client of it."""
    clock = VirtualClock()
    site = JiraSite(("PROJ", "OTHER"), clock)
    is_virtual = transport == IN_PROCESS
    async with AsyncExitStack() as stack:
        url, gateway, token = _ATLASSIAN if is_virtual else _addresses(stack.enter_context(JiraSandbox(site)))
        http = httpx.AsyncClient(
            base_url=f"{url}/rest/api/",
            auth=(site.email, site.token),
            timeout=PATIENCE,
            transport=SandboxTransport(site, clock.advance) if is_virtual else None,
            trust_env=False,
            verify=tls_context(trust_env=False),
        )
        yield Jira(site, clock, await stack.enter_async_context(http), is_virtual, url, gateway, token)


def _addresses(jira: JiraSandbox) -> tuple[str, str, str]:
    return jira.url, jira.gateway_url, jira.token_url
