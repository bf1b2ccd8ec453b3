"""A playground for tests: the sandbox Slack and Jira, the page's app in memory, and a recorded endpoint."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import httpx
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.jira.site import JiraSite
from sandbox.playground.app import Place, Playground
from sandbox.playground.guard import TOKEN_HEADER
from sandbox.slack.server import SlackSandbox

SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"
PORT: Final = 7000
SITE: Final = f"http://127.0.0.1:{PORT}"
ADA: Final = "U0ADA"
CHANNEL: Final = "C0SUPPORT"


@dataclass
class Endpoint:
    """A Slack endpoint that verifies each request as Slack's own SDK does, and keeps its payload."""

    payloads: list[dict[str, Any]] = field(default_factory=list)
    retries: list[tuple[str | None, str | None]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Response] = lambda payload: Response(status_code=200)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/slack/events", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        if not SignatureVerifier(SECRET).is_valid_request(body, dict(request.headers)):
            return Response(status_code=401)
        self.retries.append(
            (request.headers.get("x-slack-retry-num"), request.headers.get("x-slack-retry-reason"))
        )
        payload = payload_of(body, request.headers["content-type"])
        self.payloads.append(payload)
        return self.answer(payload)


def payload_of(body: bytes, content_type: str) -> dict[str, Any]:
    """Decode a request of Slack's."""
    if content_type == "application/json":
        return dict(json.loads(body))
    form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    return dict(json.loads(form["payload"])) if "payload" in form else dict(form)


@dataclass
class Played:
    """A running playground. ``page`` is a browser's client of it, with what a page of ours sends."""

    slack: SlackSandbox
    jira: JiraSite
    endpoint: Endpoint
    playground: Playground
    page: httpx.AsyncClient

    async def act(
        self, act: str, changed: Mapping[str, str] | None = None, /, **asked: Any
    ) -> httpx.Response:
        """Send an act as the page does, with some headers ``changed``."""
        headers = {"origin": SITE, TOKEN_HEADER: self.playground.token, "sec-fetch-site": "same-origin"}
        headers |= changed or {}
        return await self.page.post(f"/playground/act/{act}", json=asked, headers=headers)

    async def done(self, act: str, **asked: Any) -> dict[str, Any]:
        answer = await self.act(act, **asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def respond(self, url: str, **answer: Any) -> None:
        """Send an answer to a response URL, as the app does."""
        async with httpx.AsyncClient() as http:
            await http.post(url, json=answer)


@asynccontextmanager
async def played(peer: str = "127.0.0.1", **options: Any) -> AsyncIterator[Played]:
    """Run a playground whose requests go to an ``Endpoint`` in memory, and whose page is at ``peer``."""
    endpoint, jira = Endpoint(), JiraSite(["PLAY"])
    web = httpx.ASGITransport(endpoint.app())
    with SlackSandbox() as slack:
        place = Place(PORT, "http://127.0.0.1:3000/slack/events", "http://127.0.0.1:8080")
        playground = Playground(slack, jira, place, SECRET, transport=web, **options)
        app = playground.app()
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app, client=(peer, 50_000)), base_url=SITE
            ) as page,
        ):
            yield Played(slack, jira, endpoint, playground, page)
