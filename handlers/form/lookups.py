"""Ask workers what a form needs, and keep their answers for ten minutes in this process' memory.

A question that several views ask at once is sent once. Who stops waiting leaves it on its way: its answer is
there for the next one who asks. Drafts are kept nowhere, and their results are deleted once they are read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import structlog
from pydantic import TypeAdapter

from handlers.background import Background
from threadsync import AsyncSessionClient
from threadsync.actors import SlackActor
from threadsync.channel_settings.values import NO_SETTINGS, read_settings
from threadsync.command import Command
from threadsync.commands import GetContext
from threadsync.errors import InvalidCommand, ThreadsyncError
from threadsync.forms import DraftFound, FormFields, IssueTypeList, JiraPerson, ProjectList
from threadsync.lookup_commands import (
    AccountLookup,
    DraftLookup,
    FormFieldsLookup,
    IssueTypesLookup,
    ProjectsLookup,
)
from threadsync.syncs import ProjectKey

log = structlog.get_logger(__name__)

R = TypeVar("R")

KEPT_SECONDS: Final = 600.0
MOST_KEPT: Final = 500
_ANSWER_SECONDS: Final = 6.0
"""Longest wait for an answer. While a question is on its way it is not asked again."""

_DRAFT_SECONDS: Final = 26.0
"""Longest wait for a draft, whose result is to be deleted: a second more than a lookup may wait and run."""

_CONTEXT_SECONDS: Final = 1.0
_LONGEST_QUERY: Final = 255
_PROJECT_KEY: Final = TypeAdapter(ProjectKey)


class Lookups:
    """The questions. Each returns None without an answer in time.

    Args:
        monotonic: seconds, as this process measures them.
    """

    def __init__(
        self,
        client: AsyncSessionClient,
        background: Background,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._background = background
        self._monotonic = monotonic
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Any]] = {}

    async def projects(self, within: float, query: str | None = None) -> ProjectList | None:
        """Return the projects to choose from; with ``query`` those with it in key or name."""
        return await self._ask(ProjectsLookup(query=query[:_LONGEST_QUERY] if query else None), within)

    async def issue_types(self, within: float, project_key: str) -> IssueTypeList | None:
        """Return the issue types that tickets of a project may have."""
        try:
            command = IssueTypesLookup(project_key=project_key)
        except InvalidCommand:
            return IssueTypeList(outcome="no_such_project", project_key=project_key)
        return await self._ask(command, within)

    async def fields(
        self, within: float, project_key: str | None = None, issue_type: str | None = None
    ) -> FormFields | None:
        """Return the fields of a project and an issue type; None stands for the worker's own."""
        try:
            command = FormFieldsLookup(project_key=project_key, issue_type=issue_type)
        except InvalidCommand:
            return FormFields(outcome="no_such_project", project_key=project_key)
        return await self._ask(command, within)

    async def person(self, within: float, user_id: str) -> JiraPerson | None:
        """Return Jira's account of a Slack user."""
        try:
            command = AccountLookup(user_id=user_id)
        except InvalidCommand:
            return JiraPerson(outcome="unknown")
        return await self._ask(command, within)

    async def draft(self, within: float, session_id: str, actor: SlackActor) -> DraftFound | None:
        """Return the session's draft, if this person wrote it."""
        try:
            command = DraftLookup(session_id=session_id, actor=actor)
        except InvalidCommand:
            return DraftFound(outcome="none")
        found: DraftFound | None = await self._answer_of(self._send(command, None, deletes=True), within)
        return found

    async def place(self, channel_id: str) -> tuple[str | None, str | None]:
        """Return the project and the issue type of a channel's settings, each None where there is none."""
        try:
            async with asyncio.timeout(_CONTEXT_SECONDS):
                handle = await self._client.enqueue(GetContext(channel_id=channel_id))
                context = await handle.get(timeout=_CONTEXT_SECONDS)
        except (ThreadsyncError, TimeoutError) as exc:
            log.info("channel not looked up", channel_id=channel_id, error_type=type(exc).__name__)
            return None, None
        settings = read_settings(context.context_data).settings if context else NO_SETTINGS
        return settings.project_key, settings.issue_type

    async def _ask(self, command: Command[R], within: float) -> R | None:
        key = _key(command)
        until, kept = self._kept.get(key, (0.0, None))
        if self._monotonic() < until:
            return cast(R, kept)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = self._send(command, key)
            asked.add_done_callback(lambda _: self._asked.pop(key, None))
        answer: R | None = await self._answer_of(asked, within)
        return answer

    async def _answer_of(self, asked: asyncio.Future[Any], within: float) -> Any:
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(asked)
        except TimeoutError:
            return None

    def _send(self, command: Command[Any], key: str | None, *, deletes: bool = False) -> asyncio.Future[Any]:
        """Send a question in the background; the future is its answer, or None."""
        asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._background.start(self._follow(command, key, asked, deletes), "lookup"):
            asked.set_result(None)
        return asked

    async def _follow(
        self, command: Command[Any], key: str | None, asked: asyncio.Future[Any], deletes: bool
    ) -> None:
        answer = None
        try:
            handle = await self._client.enqueue(command)
            answer = await handle.get(timeout=_DRAFT_SECONDS if deletes else _ANSWER_SECONDS)
            if deletes:
                await handle.forget()
            if key is not None and getattr(answer, "outcome", None) == "known":
                self._keep(key, answer)
                if isinstance(answer, FormFields):
                    # Who asked without a project or a type asks for these next.
                    self._keep(_key(_question_of(answer)), answer)
        except ThreadsyncError as exc:
            log.warning("no answer to a lookup", command=command.name, error_type=type(exc).__name__)
        finally:
            if not asked.done():
                asked.set_result(answer)

    def _keep(self, key: str, answer: Any) -> None:
        self._kept[key] = (self._monotonic() + KEPT_SECONDS, answer)
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


def _key(command: Command[Any]) -> str:
    return json.dumps([command.name, command.arguments()], sort_keys=True)


def _question_of(answer: FormFields) -> FormFieldsLookup:
    return FormFieldsLookup(project_key=answer.project_key, issue_type=answer.issue_type)


def is_project_key(text: str) -> bool:
    """Return True for what can be a project's key."""
    try:
        _PROJECT_KEY.validate_python(text)
    except ValueError:
        return False
    return True
