"""The handlers under test: the app as Slack sees it, and a client that only records."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

import httpx
import redis

from handlers.app import MountedConsole, create_app
from sandbox.slack.requests import TEAM_ID, SlackRequest, signed_request
from sandbox.slack.server import SlackSandbox
from threadsync import AsyncSessionClient
from threadsync.command import Command
from threadsync.commands import GetContext
from threadsync.config import Settings, load_settings
from threadsync.errors import EnqueueFailed, ResultTimeout
from threadsync.forms import DraftFound, FormFields, JiraPerson, ProjectList
from threadsync.handles import AsyncHandle
from threadsync.liveness.state import Heartbeats
from threadsync.lookup_commands import (
    AccountLookup,
    DraftLookup,
    FormFieldsLookup,
    IssueTypesLookup,
    LinkAnswer,
    LinkLookup,
    ProjectsLookup,
)
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.types import Outcome, Status

R = TypeVar("R")

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CHANNEL, THREAD, USER = "C0123", "1700000000.000100", "U0456"
QUESTIONS: Final = (
    *(ProjectsLookup, IssueTypesLookup, FormFieldsLookup, AccountLookup, DraftLookup, GetContext),
)
NEVER: Any = object()
"""An answer of ``RecordingClient`` that does not come."""


class RecordingClient(AsyncSessionClient):
    """Keeps the commands instead of sending them. For unit tests: it promises nothing that a broker does.

    Questions of the form are kept apart, in ``questions``; ``forgotten`` counts deleted results.

    Args:
        answer: the result of a command; an exception is raised, ``NEVER`` times out.
        form: the same for a question of the form.
    """

    def __init__(
        self,
        answer: Callable[[Any], Any] = lambda command: NEVER,
        form: Callable[[Any], Any] | None = None,
    ) -> None:
        self.commands: list[Command[Any]] = []
        self.questions: list[Command[Any]] = []
        self.forgotten = 0
        self.before_an_answer: Callable[[], Awaitable[Any]] | None = None
        self._form = form or no_form
        self.down = False
        self.closed = False
        self._answer = answer

    async def enqueue(self, command: Command[R], *, task_id: str | None = None) -> AsyncHandle[R]:
        if self.down:
            raise EnqueueFailed("the broker is away, says the test")
        if isinstance(command, QUESTIONS):
            question: Any = command
            self.questions.append(question)
            return _FakeHandle(question, self._form, self)
        self.commands.append(command)
        return _FakeHandle(command, self._answer, self)

    def linked(self, asked: AsyncHandle[LinkAnswer]) -> AsyncHandle[SessionResult]:
        question = cast(LinkLookup, asked.command)
        return _FakeHandle(question.link(question.jira_key, None), self._answer, self)

    async def ping(self) -> None:
        if self.down:
            raise EnqueueFailed("the broker is away, says the test")

    async def heartbeats(self) -> Heartbeats | None:
        await self.ping()
        return None

    async def close(self) -> None:
        self.closed = True


class _FakeHandle(AsyncHandle[R]):
    def __init__(self, command: Command[R], answer: Callable[[Any], Any], client: RecordingClient) -> None:
        self.command = command
        self.task_id = str(uuid4())
        self._answer = answer
        self._client = client

    async def forget(self) -> None:
        self._client.forgotten += 1

    async def get(self, timeout: float = 10) -> R:  # noqa: ASYNC109 - as in the client
        if self._client.before_an_answer is not None:
            await self._client.before_an_answer()
        value = self._answer(self.command)
        if value is NEVER:
            await asyncio.sleep(timeout)
            raise ResultTimeout("never, says the test")
        if isinstance(value, Exception):
            raise value
        return cast(R, value)


def no_form(question: Any) -> Any:
    """Answer a question of the form as a worker without a Jira does."""
    match question:
        case ProjectsLookup():
            return ProjectList(outcome="not_configured")
        case FormFieldsLookup():
            return FormFields(outcome="not_configured")
        case AccountLookup():
            return JiraPerson(outcome="not_configured")
        case DraftLookup():
            return DraftFound(outcome="none")
        case _:
            return None


def form_in(slack: SlackSandbox) -> Any:
    """Return the open view that has inputs; None while there is none."""
    return next((view for view in slack.workspace.views if "submit" in view), None)


@dataclass(frozen=True)
class SlackApp:
    """The running app; ``deliver`` is what Slack does."""

    http: httpx.AsyncClient

    async def deliver(self, what: Mapping[str, Any] | SlackRequest) -> httpx.Response:
        request = what if isinstance(what, SlackRequest) else signed_request(SECRET, what)
        return await self.http.post("/slack/events", content=request.body, headers=dict(request.headers))


def settings(**given: Any) -> Settings:
    """Complete settings that lead nowhere; ``given`` goes before them."""
    nowhere = "127.0.0.1:1"
    defaults = {
        "slack_signing_secret": SECRET,
        "slack_bot_token": "xoxb-sandbox",
        "slack_team_id": TEAM_ID,
        "slack_api_url": f"http://{nowhere}/api/",
        "celery_broker_url": f"redis://{nowhere}/0",
    }
    return load_settings(**{**defaults, **given})


@asynccontextmanager
async def running_app(
    client: AsyncSessionClient | None = None, console: MountedConsole | None = None, **given: Any
) -> AsyncIterator[SlackApp]:
    """The app, started as an ASGI server starts it, and stopped."""
    app = create_app(settings(**given), client, console)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http,
    ):
        yield SlackApp(http)


def session(
    thread_ts: str = THREAD, status: Status = "collecting", jira_key: str | None = None
) -> ThreadSession:
    """A session as a list has it."""
    now = datetime.now(UTC)
    return ThreadSession(
        id=uuid4(),
        channel_id=CHANNEL,
        thread_ts=thread_ts,
        user_id=USER,
        status=status,
        jira_key=jira_key,
        created_at=now,
        updated_at=now,
    )


def result(
    outcome: Outcome, thread_ts: str = THREAD, status: Status = "collecting", jira_key: str | None = None
) -> SessionResult:
    """Return a session as the result of a command."""
    return SessionResult(**session(thread_ts, status, jira_key).model_dump(), outcome=outcome)


def page(*sessions: ThreadSession, more: bool = False) -> SessionPage:
    """A page of sessions."""
    return SessionPage(sessions=sessions, next_cursor=str(uuid4()) if more else None)


def queued(broker_url: str, queue: str = "sessions") -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the messages that wait in a queue, the oldest first."""
    with redis.Redis.from_url(broker_url) as client:
        messages = [json.loads(text) for text in cast(list[bytes], client.lrange(queue, 0, -1))]
    return [
        (item["headers"]["task"], json.loads(base64.b64decode(item["body"]))[1])
        for item in reversed(messages)
    ]


async def eventually(predicate: Callable[[], object], description: str, within: float = 10) -> None:
    """``wait_until`` for a test that shares its event loop with what it waits for."""
    try:
        async with asyncio.timeout(within):
            while not predicate():  # noqa: ASYNC110 - what it waits for sets no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {within:g} s in vain until {description}") from None
