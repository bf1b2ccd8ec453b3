"""Projects and types of channel settings, which workers look up in Jira for Slack and for operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from handlers import replies
from sandbox.jira.projects import IssueType, Project
from sandbox.jira.server import JiraSandbox
from sandbox.slack.requests import slash_command
from sandbox.slack.server import SlackSandbox
from tests.support.command_runs import failure, output, run_in
from tests.support.installation import Installation
from tests.support.slack_app import eventually, running_app
from threadsync.channel_settings.values import ChannelSettings
from worker.db.channels.store import ChannelSettingsStore
from worker.db.pool import new_pool

CHANNEL, USER = "C0PLACES", "U0456"
SIGNED = ("--reason", "asked for", "--actor", "ann")
Told = Callable[[str], Awaitable[str]]


def of_jira(jira: JiraSandbox) -> dict[str, str]:
    """Set up a second project with types of its own, and return the settings of a worker."""
    story, part = IssueType("10050", "Story", jira.site.screen), IssueType("10051", "Part", {}, subtask=True)
    jira.site.add_project("OPS", Project(name="Operations", types=(story, part)))
    login = {"JIRA_URL": jira.url, "JIRA_EMAIL": jira.email, "JIRA_API_TOKEN": jira.token}
    return {**login, "JIRA_PROJECT_KEY": "PROJ"}


def settings_of(installation: Installation) -> ChannelSettings:
    with new_pool(installation.database_url) as pool:
        return ChannelSettingsStore(pool).get(CHANNEL).settings


async def test_what_jira_does_not_have_is_not_saved(installation: Installation) -> None:
    """An unknown project or type is refused with those that there are; Jira's spelling is saved."""
    with (
        SlackSandbox() as slack,
        JiraSandbox() as jira,
        installation.worker("worker", **of_jira(jira)),
    ):
        url = slack.new_response_url()
        async with running_app(celery_broker_url=installation.broker_url, slack_api_url=slack.api_url) as app:

            async def told(text: str) -> str:
                before = len(slack.responses)
                command = slash_command(f"config {text}", CHANNEL, USER, response_url=url)
                now = str((await app.deliver(command)).json()["text"])
                if now != replies.CHECKING:
                    return now
                await eventually(lambda: len(slack.responses) > before, "the user is told", 30)
                return str(slack.responses[before]["text"])

            await refuses_what_is_not_there(told)
            assert settings_of(installation) == ChannelSettings()
            assert "Set: project_key = OPS; issue_type = Story." in await told("project=OPS type=story")
    assert settings_of(installation) == ChannelSettings("OPS", "Story")


async def refuses_what_is_not_there(told: Told) -> None:
    said = await told("project=NOPE")
    assert "Nothing changed: Jira has no project 'NOPE'" in said
    assert "OPS (Operations)" in said
    assert "PROJ" in said
    said = await told("project=OPS type=Bug")
    assert "no issue type for tickets 'Bug' in OPS" in said
    assert "There are: Story." in said
    assert "Part" not in said


def test_operators_are_told_too(installation: Installation) -> None:
    """The command line asks the same workers, and needs no login; without an answer it saves unverified."""
    env = {**installation.env, "DATABASE_URL": installation.database_url}
    with JiraSandbox() as jira, installation.worker("worker", **of_jira(jira)):
        refused = failure(run_in(env, "channels", "set", CHANNEL, "project=NOPE", *SIGNED))
        assert "nothing changed: Jira has no project 'NOPE'" in refused
        assert "OPS (Operations)" in refused
        saved = output(run_in(env, "channels", "set", CHANNEL, "project=OPS", "type=story", *SIGNED))
        assert saved == "Set: project_key = OPS; issue_type = Story.\n"
        jira.site.is_down = True
        later = output(run_in(env, "channels", "set", CHANNEL, "project=DEV", *SIGNED))
        assert "Jira could not be asked about project_key" in later
    assert settings_of(installation) == ChannelSettings("DEV", "Story", unverified=frozenset({"project_key"}))


async def test_without_a_jira_it_is_saved_as_unverified(installation: Installation) -> None:
    """Without a Jira in the worker's settings the project is saved, and the answer says so."""
    with SlackSandbox() as slack, installation.worker("worker"):
        url = slack.new_response_url()
        async with running_app(celery_broker_url=installation.broker_url, slack_api_url=slack.api_url) as app:
            command = slash_command("config project=OPS", CHANNEL, USER, response_url=url)
            said = str((await app.deliver(command)).json()["text"])
            if said == replies.CHECKING:
                await eventually(lambda: slack.responses, "the user is told", 30)
                said = str(slack.responses[0]["text"])
    assert "saved without being verified" in said
    assert settings_of(installation) == ChannelSettings("OPS", unverified=frozenset({"project_key"}))
