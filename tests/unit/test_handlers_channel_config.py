"""Effects of `/ticket config` and its replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from handlers import channel_config, replies, ticket_reply
from handlers.channel_config import ChannelConfig, describe
from handlers.ticket_reply import Reply, reply_to_ticket_command
from sandbox.slack.requests import slash_command
from tests.support.slack_app import CHANNEL, NEVER, USER, RecordingClient
from threadsync.actors import SlackActor
from threadsync.channel_settings.directory import IssueType, Project
from threadsync.channel_settings.parsing import Change, Reset, Show
from threadsync.channel_settings.values import read_settings
from threadsync.channels import ChannelContext, ContextResult
from threadsync.command import Command
from threadsync.commands import GetContext, MergeContext
from threadsync.errors import DatabaseUnavailable
from threadsync.types import Outcome

ANN = SlackActor(user_id=USER, team_id="T0SANDBOX")
ACT = UUID("0193a6f2-5b1c-7d0e-9a64-2f6d1c7e8b35")
NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Jira:
    """A Jira with two projects, one of which has types."""

    async def projects(self, query: str) -> Sequence[Project]:
        found = [Project("DEV", "Development"), Project("OPS", "Opera & <co>")]
        return [project for project in found if query in project.key]

    async def issue_types(self, project_key: str) -> Sequence[IssueType]:
        return (
            [IssueType("1", "Bug"), IssueType("2", "Sub-task", subtask=True)] if project_key == "OPS" else []
        )


class Channel:
    """A channel's context, with the results that the worker would return for it."""

    def __init__(self, context: dict[str, Any] | None = None, outcome: Outcome = "applied") -> None:
        self.context = context
        self.outcome = outcome

    def __call__(self, command: Command[Any]) -> Any:
        row = {"channel_id": CHANNEL, "context_data": self.context or {}, "version": 1, "updated_at": NOW}
        match command:
            case GetContext():
                return ChannelContext(**row) if self.context is not None else None
            case MergeContext():
                return ContextResult(**row, outcome=self.outcome)
            case _:
                return NEVER


def recording(answer: Callable[[Any], Any]) -> RecordingClient:
    """Record commands; the answer to the question about the context is that of the commands."""
    return RecordingClient(answer, form=answer)


async def ask(text: str, client: RecordingClient, actor: SlackActor | None = ANN) -> Reply:
    return await reply_to_ticket_command(
        client,
        slash_command(f"config {text}", CHANNEL, USER, trigger_id="1.2.x"),
        actor=actor,
        config=ChannelConfig(client, Jira(), "OPS"),
    )


def patches(client: RecordingClient) -> list[Any]:
    return [command.patch for command in client.commands if isinstance(command, MergeContext)]


async def test_settings_are_shown_with_what_is_wrong_in_their_place() -> None:
    """The settings are listed, people as mentions, with those that are ignored and those not confirmed."""
    context = {
        "threadsync": {
            "project_key": "OPS",
            "who": ["U1", "S1"],
            "labels": ["<b>"],
            "include": 7,
            "unverified": {"project_key": True},
        }
    }
    lines = (await ask("", recording(Channel(context)))).text.splitlines()
    assert lines[1:-1] == [
        "• project_key: OPS (not confirmed by Jira yet)",
        "• labels: &lt;b&gt;",
        "• who: <@U1>, <!subteam^S1>",
        "• ignored: threadsync.include is not link, text or files",
    ]
    assert "no settings of its own" in (await ask("", recording(Channel()))).text


async def test_values_are_set_as_jira_spells_them() -> None:
    """A known project and type are set, with the actor, once for each of Slack's requests."""
    client = recording(Channel())
    reply = await ask("project=ops type=bug labels=a", client)
    assert reply.text == "Set: project_key = OPS; issue_type = Bug; labels = a."
    assert patches(client) == [
        {
            "threadsync": {
                "project_key": "OPS",
                "issue_type": "Bug",
                "labels": ["a"],
                "unverified": {"project_key": None, "issue_type": None, "labels": None},
            }
        }
    ]
    await ask("project=ops type=bug labels=a", client)
    merges = [command for command in client.commands if isinstance(command, MergeContext)]
    assert {command.actor for command in merges} == {ANN}
    assert len({command.command_id for command in merges}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "project=OPX",
            "no project 'OPX', or I may not see it. There are: DEV (Development), OPS (Opera &amp; &lt;co",
        ),
        (
            "type=Sub-task",
            "no issue type for tickets 'Sub-task' in OPS, or I may not see it. There are: Bug.",
        ),
    ],
)
async def test_what_jira_does_not_know_is_not_saved(text: str, said: str) -> None:
    """An unknown project or type is not saved, and the answer lists those that exist."""
    client = recording(Channel())
    reply = await ask(text, client)
    assert reply.text.startswith("Nothing changed: ")
    assert said in reply.text
    assert patches(client) == []


async def test_with_jira_away_it_is_saved_as_unverified_and_says_so() -> None:
    """What Jira cannot be asked about is saved with a mark, and the answer says so."""
    client = recording(Channel())
    form = slash_command("config project_key=OPX include=text", CHANNEL, USER)
    reply = await reply_to_ticket_command(client, form, actor=ANN)
    assert "Jira could not be asked about project_key: saved without being verified" in reply.text
    [patch] = patches(client)
    assert patch["threadsync"]["unverified"] == {"project_key": True, "include": None}


async def test_resetting() -> None:
    """``reset`` removes one setting or the whole member."""
    client = recording(Channel())
    assert (await ask("reset labels", client)).text == "Reset: labels."
    assert "all settings" in (await ask("reset", client)).text
    assert patches(client) == [
        {"threadsync": {"labels": None, "unverified": {"labels": None}}},
        {"threadsync": None},
    ]


@pytest.mark.parametrize("actor", [None, SlackActor(user_id="U9", team_id="T9", member=False)])
async def test_who_may_not_set_may_look(actor: SlackActor | None) -> None:
    """A guest, or a person whom Slack does not name, sees the settings and changes none."""
    client = recording(Channel({}))
    assert "no settings" in (await ask("", client, actor)).text
    for text in ("labels=a", "reset"):
        assert (await ask(text, client, actor)).text.startswith("Nothing changed: ")
    assert patches(client) == []


async def test_whom_the_channel_does_not_let_act_is_told_so() -> None:
    """A change that the worker refused is told in a sentence."""
    client = recording(Channel({}, outcome="refused"))
    assert (await ask("labels=a", client)).text == replies.MAY_NOT_ACT_HERE
    assert (await ask("reset", client)).text == replies.MAY_NOT_ACT_HERE


async def test_what_takes_longer_is_told_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the result is not there in time, the reply says so, and the sentence comes later."""
    monkeypatch.setattr(ticket_reply, "_CONFIG_SECONDS", 0.01)
    answers = asyncio.Event()

    class Slow(Jira):
        async def projects(self, query: str) -> Sequence[Project]:
            await answers.wait()
            return await super().projects(query)

    client = recording(Channel())
    form = slash_command("config project_key=OPS", CHANNEL, USER)
    reply = await reply_to_ticket_command(client, form, actor=ANN, config=ChannelConfig(client, Slow()))
    assert reply.text == replies.CHECKING
    assert reply.later is not None
    answers.set()
    assert (await reply.later) == "Set: project_key = OPS."


async def test_our_own_errors_become_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that does not come, an error of the worker's and a broker that is away become sentences."""
    monkeypatch.setattr(channel_config, "_READ_SECONDS", 0.01)
    never = ChannelConfig(recording(lambda _: NEVER))
    for request in (Show(), Change({"labels": ("a",)})):
        assert await never.answer(CHANNEL, request, ANN, ACT) == replies.NOT_LOOKED_UP
    away = DatabaseUnavailable("away")
    failing = ChannelConfig(recording(lambda _: away))
    assert await failing.answer(CHANNEL, Show(), ANN, ACT) == replies.describe_error(away)
    client = recording(Channel())
    client.down = True
    assert await ChannelConfig(client).answer(CHANNEL, Reset(), ANN, ACT) == replies.TRY_AGAIN


async def test_people_are_shown_by_their_names() -> None:
    """People and groups that were set are mentions in the reply, for the user alone."""
    reply = await ask("who=<@U1|ann> <!subteam^S1|@on call>", recording(Channel()))
    assert reply.text == "Set: who = <@U1>, <!subteam^S1>."
    reply = await ask("labels=SLA, UX", recording(Channel()))
    assert reply.text == "Set: labels = SLA, UX."


def test_the_list_ends_with_how_to_change_it() -> None:
    """The list ends with what to type, and the names of the settings."""
    assert describe(read_settings({})).splitlines()[-1].startswith("Set: `/ticket config name=value …`.")
