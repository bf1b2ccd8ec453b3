"""What the web process asks workers for a form, and keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from handlers.background import Background
from handlers.form.lookups import KEPT_SECONDS, MOST_KEPT, Lookups
from tests.support.slack_app import CHANNEL, RecordingClient, eventually
from threadsync.actors import SlackActor
from threadsync.channels import ChannelContext
from threadsync.errors import CommandFailed
from threadsync.forms import Choice, DraftFound, FormFields, JiraPerson, ProjectList
from threadsync.lookup_commands import DraftLookup, FormFieldsLookup
from threadsync.syncs import Draft

ANN = SlackActor(user_id="U0456", team_id="T0123")
SESSION = "01936f2e-7f00-7000-8000-000000000001"
KNOWN = FormFields(outcome="known", project_key="PROJ", issue_type="1")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fields_as_asked(command: Any) -> FormFields:
    kind = command.issue_type or "1"
    return FormFields(outcome="known", project_key=command.project_key or "PROJ", issue_type=kind)


@asynccontextmanager
async def lookups_of(client: RecordingClient, clock: Clock | None = None) -> AsyncIterator[Lookups]:
    background = Background()
    yield Lookups(client, background, clock or Clock())
    await background.close(grace=1)


async def test_an_answer_is_kept_for_ten_minutes() -> None:
    """An answer is kept for ten minutes, each question for itself; then it is asked for again."""
    client, clock = RecordingClient(form=fields_as_asked), Clock()
    async with lookups_of(client, clock) as lookups:
        for seconds in (0, 1, KEPT_SECONDS - 1):
            clock.now = seconds
            assert await lookups.fields(1, "PROJ", "1") == KNOWN
        assert len(client.questions) == 1
        await lookups.fields(1, "PROJ", "2")
        clock.now = KEPT_SECONDS
        await lookups.fields(1, "PROJ", "1")
    assert [question.arguments() for question in client.questions] == [
        {"project_key": "PROJ", "issue_type": "1"},
        {"project_key": "PROJ", "issue_type": "2"},
        {"project_key": "PROJ", "issue_type": "1"},
    ]


async def test_who_asks_without_a_project_need_not_ask_again() -> None:
    """Fields of the worker's own project are kept as those of that project and type, too."""
    client = RecordingClient(form=fields_as_asked)
    async with lookups_of(client) as lookups:
        assert await lookups.fields(1) == KNOWN
        assert await lookups.fields(1, "PROJ", "1") == KNOWN
    assert len(client.questions) == 1


@pytest.mark.parametrize("outcome", ["no_answer", "refused", "no_such_project", "not_configured"])
async def test_a_failure_is_not_kept(outcome: Any) -> None:
    """What is not known is asked for again by the next who needs it."""
    client = RecordingClient(form=lambda command: ProjectList(outcome=outcome))
    async with lookups_of(client) as lookups:
        for _ in range(2):
            assert await lookups.projects(1) == ProjectList(outcome=outcome)
    assert len(client.questions) == 2


async def test_many_who_ask_at_once_ask_once() -> None:
    """A question that is on its way is not asked again, and its answer is for all who wait."""
    client = RecordingClient(form=lambda command: KNOWN)
    async with lookups_of(client) as lookups:
        answers = await asyncio.gather(*(lookups.fields(1, "PROJ") for _ in range(5)))
    assert answers == [KNOWN] * 5
    assert len(client.questions) == 1


async def test_who_stops_waiting_leaves_the_answer_to_the_next() -> None:
    """Without an answer in time there is none; when it comes it is kept for the next who asks."""
    may_answer = asyncio.Event()
    client = RecordingClient(form=lambda command: KNOWN)
    client.before_an_answer = may_answer.wait
    async with lookups_of(client) as lookups:
        assert await lookups.fields(0.02, "PROJ") is None
        may_answer.set()
        assert await lookups.fields(1, "PROJ") == KNOWN
    assert len(client.questions) == 1


async def test_the_oldest_answers_are_forgotten() -> None:
    """The memory holds a limited number of answers; the oldest goes first."""
    client = RecordingClient(form=lambda command: JiraPerson(outcome="known", account="a"))
    async with lookups_of(client) as lookups:
        for number in range(MOST_KEPT + 1):
            await lookups.person(1, f"U{number}")
        await lookups.person(1, f"U{MOST_KEPT}")
        assert len(client.questions) == MOST_KEPT + 1
        await lookups.person(1, "U0")
    assert len(client.questions) == MOST_KEPT + 2


async def test_a_draft_is_kept_nowhere() -> None:
    """A draft is asked for each time, and its result is deleted once it is read."""
    draft = DraftFound(outcome="found", draft=Draft(summary="s"), drafted_at="1.1")
    client = RecordingClient(form=lambda command: draft)
    async with lookups_of(client) as lookups:
        for _ in range(2):
            assert await lookups.draft(1, SESSION, ANN) == draft
    assert [type(question) for question in client.questions] == [DraftLookup] * 2
    assert client.forgotten == 2


async def test_a_failed_question_is_no_answer() -> None:
    """A worker's error, and a broker that is away, are no answers."""
    client = RecordingClient(form=lambda command: CommandFailed("no"))
    async with lookups_of(client) as lookups:
        assert await lookups.projects(1) is None
        client.down = True
        assert await lookups.fields(1) is None
        assert await lookups.place(CHANNEL) == (None, None)


async def test_what_cannot_be_asked_is_an_outcome() -> None:
    """Arguments that no lookup takes are answered here."""
    client = RecordingClient()
    async with lookups_of(client) as lookups:
        fields = await lookups.fields(1, "not a key")
        person = await lookups.person(1, "not an id")
        draft = await lookups.draft(1, "not an id", ANN)
    assert fields == FormFields(outcome="no_such_project", project_key="not a key")
    assert person == JiraPerson(outcome="unknown")
    assert draft == DraftFound(outcome="none")
    assert client.questions == []


async def test_without_a_place_nothing_is_asked() -> None:
    """Without a place in the background there is no answer, at once."""
    client = RecordingClient(form=lambda command: KNOWN)
    background = Background({"events": (0, 0), "clicks": (0, 0), "notices": (0, 0), "ours": (0, 0)})
    lookups = Lookups(client, background)
    assert await lookups.fields(60) is None
    assert await lookups.projects(60) is None


async def test_the_answer_is_there_when_the_process_ends() -> None:
    """A question that the end of the process cuts off leaves nobody waiting."""
    client = RecordingClient(form=lambda command: KNOWN)
    client.before_an_answer = asyncio.Event().wait
    background = Background()
    lookups = Lookups(client, background)
    waiting = asyncio.create_task(lookups.fields(60))
    await eventually(lambda: client.questions, "it is asked")
    await background.close(grace=0)
    assert await waiting is None


@pytest.mark.parametrize(
    ("context", "place"),
    [
        ({"threadsync": {"project_key": "OPS", "issue_type": "Bug"}, "other": 1}, ("OPS", "Bug")),
        ({}, (None, None)),
        ({"threadsync": None}, (None, None)),
        ({"threadsync": "OPS"}, (None, None)),
        ({"threadsync": {"project_key": "ops"}}, (None, None)),
        ({"threadsync": {"project_key": 7, "issue_type": ["Bug"]}}, (None, None)),
        ({"threadsync": {"project_key": "OPS", "issue_type": " "}}, ("OPS", None)),
        ({"threadsync": {"issue_type": "x" * 256}}, (None, None)),
    ],
)
async def test_the_place_of_a_channel(context: dict[str, Any], place: Any) -> None:
    """A channel's project and issue type are read from its context; a junk value counts as absent."""
    found = ChannelContext(channel_id=CHANNEL, context_data=context, version=1, updated_at=datetime.now(UTC))
    client = RecordingClient(form=lambda command: found)
    async with lookups_of(client) as lookups:
        assert await lookups.place(CHANNEL) == place
    assert not any(isinstance(question, FormFieldsLookup) for question in client.questions)


def test_choices_travel() -> None:
    """Choices of an answer are the same after their journey."""
    answer = ProjectList(outcome="known", projects=(Choice(id="P", label="P"),), more=True)
    assert ProjectList.model_validate_json(answer.model_dump_json()) == answer
