"""The playground's ASGI app, below ``/playground/``."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from handlers.ticket_command import SLASH_COMMAND
from sandbox.jira.site import JiraSite
from sandbox.playground.acts import Acts, Answer, WrongAct
from sandbox.playground.cast import BOT, CHANNELS_HERE, GROUPS_HERE, PEOPLE_HERE, people_the_workspace
from sandbox.playground.delivery import PAUSES, Delivered, Delivery
from sandbox.playground.feed import feed
from sandbox.playground.guard import PAGE, Guard
from sandbox.playground.switches import SWITCHES, Switches
from sandbox.playground.tickets import names_on, tickets_json
from sandbox.playground.workers import NoWorkers, Workers, workers_json
from sandbox.slack.changes import Change
from sandbox.slack.methods import URL
from sandbox.slack.server import SlackSandbox

_STATIC: Final = Path(__file__).parent / "static"
_LARGEST_BODY: Final = 2_500_000
"""Three files in base 64, and a form."""

_LOOK_SECONDS: Final = 0.3
"""Time between two looks at Jira's tickets and at the workers, which tell of no change by themselves."""


@dataclass(frozen=True)
class Place:
    """Addresses: the port of the page, threadsync's Slack endpoint, and the Jira of links in messages."""

    port: int
    endpoint: str
    jira_url: str


class Playground:
    """The page's server.

    Args:
        secret: signs the requests.
        pauses: between the deliveries of an event.
        transport: of the requests; the network if None.
    """

    def __init__(
        self,
        slack: SlackSandbox,
        jira: JiraSite,
        place: Place,
        secret: str,
        *,
        workers: Workers | None = None,
        pauses: Sequence[float] = PAUSES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self._epoch = secrets.token_urlsafe(6)
        self._slack = slack
        self._jira = jira
        self._place = place
        self._secret = secret
        self._pauses = pauses
        self._transport = transport
        self._workers = workers or NoWorkers()
        self._switches = Switches(slack, jira)
        self._log = slack.workspace.changes
        self._ending = asyncio.Event()
        self._acts: Acts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        people_the_workspace(slack.workspace)

    def app(self) -> Starlette:
        """Build the ASGI app."""
        app = Starlette(
            routes=[
                Route("/", self._to_page),
                Route("/playground", self._to_page),
                Route(PAGE, self._page),
                Route("/playground/state", self._state),
                Route("/playground/feed", self._feed),
                Route("/playground/act/{act}", self._act, methods=["POST"]),
                Mount("/playground/static", StaticFiles(directory=_STATIC)),
            ],
            middleware=[Middleware(Guard, port=self._place.port, token=self.token)],
            lifespan=self._lifespan,
        )
        # Starlette would redirect to any host that a request names.
        app.router.redirect_slashes = False
        return app

    def end_feeds(self) -> None:
        """End the open feeds, which a stopping server would wait for otherwise. For any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._ending.set)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        # No proxy of the environment: the endpoint is on this machine.
        async with httpx.AsyncClient(trust_env=False, transport=self._transport) as http:
            delivery = Delivery(self._place.endpoint, self._secret, http, self._tell, self._pauses)
            self._acts = Acts(self._slack, delivery)
            look = asyncio.create_task(self._look())
            try:
                yield
            finally:
                self._ending.set()
                look.cancel()
                with suppress(asyncio.CancelledError):
                    await look
                await delivery.close()

    def _tell(self, done: Delivered) -> None:
        self._log.add("request", done.as_json())

    async def _look(self) -> None:
        """Add a change when the tickets or the workers are not what they were."""
        seen: dict[str, Any] = {}
        while True:
            for kind, now in (("tickets", self._tickets()), ("workers", workers_json(self._workers))):
                if seen.get(kind) != now:
                    seen[kind] = now
                    self._log.add(kind, now)
            await asyncio.sleep(_LOOK_SECONDS)

    def _tickets(self) -> list[dict[str, Any]]:
        return tickets_json(self._jira.issues, partial(names_on, self._jira))

    async def _to_page(self, request: Request) -> Response:
        return RedirectResponse(PAGE)

    async def _page(self, request: Request) -> Response:
        page = (_STATIC / "page.html").read_text(encoding="utf-8")
        return HTMLResponse(page.replace("{token}", self.token))

    async def _state(self, request: Request) -> Response:
        """Return all that the page shows, and the number of the change that the feed goes on from."""
        last, messages = self._slack.workspace.snapshot()
        return JSONResponse(
            {
                "epoch": self._epoch,
                "last": last,
                "people": [{"id": item.id, "name": item.name, "note": item.note} for item in PEOPLE_HERE],
                "bot": {"id": BOT.id, "name": BOT.name},
                "channels": [{"id": item.id, "name": item.name} for item in CHANNELS_HERE],
                "groups": [{"id": item.id, "name": item.name} for item in GROUPS_HERE],
                "command": SLASH_COMMAND,
                "slack_url": URL,
                "jira_url": self._place.jira_url,
                "messages": messages,
                "views": [self._shown_view(view) for view in self._slack.workspace.modals.still_open],
                "tickets": self._tickets(),
                "switches": self._switches.as_json(),
                "workers": workers_json(self._workers),
            }
        )

    async def _feed(self, request: Request) -> Response:
        given = request.headers.get("last-event-id") or request.query_params.get("after", "")
        is_ours = request.query_params.get("epoch") == self._epoch
        # A number of another start means nothing here.
        after = int(given) if is_ours and given.isdecimal() and len(given) < 16 else -1
        events = feed(self._log, after, self._shown, self._ending)
        return StreamingResponse(events, media_type="text/event-stream")

    def _shown(self, change: Change) -> Any:
        return self._shown_view(change.data) if change.kind == "view" else change.data

    def _shown_view(self, view: Answer) -> Answer:
        return {**view, "user": self._acts.viewer_of(view) if self._acts else None}

    async def _act(self, request: Request) -> Response:
        """Carry out an act of the page: 404 unknown, 413 too large, 400 not as the page asks."""
        act = self._known_acts().get(request.path_params["act"])
        if act is None:
            return JSONResponse({"sentence": "There is no such act."}, 404)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _LARGEST_BODY:
                return JSONResponse({"sentence": "That is too much."}, 413, headers={"connection": "close"})
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            return JSONResponse({"sentence": "Send a JSON object."}, 400)
        try:
            return JSONResponse(await act(asked))
        except WrongAct as exc:
            sentence = f"{exc}."
            return JSONResponse({"sentence": sentence[:1].upper() + sentence[1:]}, 400)

    def _known_acts(self) -> Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Answer]]]:
        acts = self._acts
        assert acts is not None  # noqa: S101 - the lifespan has begun
        return {
            "message": acts.message,
            "command": acts.command,
            "button": acts.button,
            "shortcut": acts.shortcut,
            "submit": acts.submit,
            "change": acts.change,
            "options": acts.options,
            "close": acts.close,
            "switch": self._turn,
            "kill": self._kill,
        }

    async def _turn(self, asked: Mapping[str, Any]) -> Answer:
        name, on = asked.get("name"), asked.get("on")
        switch = next((switch for switch in SWITCHES if switch == name), None)
        if switch is None or not isinstance(on, bool):
            raise WrongAct("there is no such switch")
        self._switches.turn(switch, on=on)
        self._log.add("switches", self._switches.as_json())
        return {}

    async def _kill(self, asked: Mapping[str, Any]) -> Answer:
        return {"sentence": self._workers.kill(str(asked.get("name", "")))}
