"""Slack, web endpoint, broker, worker, Postgres, and back: all but Slack are real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager

import psycopg
import pytest

from handlers import replies
from handlers.ticket_form import DESCRIPTION, SUMMARY
from sandbox.jira.issues import Draft
from sandbox.jira.server import JiraSandbox
from sandbox.slack.requests import TEAM_ID, app_mention, button_click, message, slash_command, view_submission
from sandbox.slack.server import SlackSandbox
from sandbox.slack.workspace import Message
from tests.support.installation import Installation
from tests.support.slack_app import SlackApp, eventually, form_in, running_app
from threadsync.sessions import ThreadSession

USER = "U0456"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


@pytest.fixture
async def app(shared: Installation, slack: SlackSandbox) -> AsyncIterator[SlackApp]:
    async with running_app(celery_broker_url=shared.broker_url, slack_api_url=slack.api_url) as app:
        yield app


def rows(shared: Installation, channel_id: str) -> list[ThreadSession]:
    return [session for session in shared.sessions() if session.channel_id == channel_id]


async def test_a_thread_from_mention_to_ready(
    app: SlackApp, shared: Installation, slack: SlackSandbox
) -> None:
    """A mention opens a session, its button makes it ready, and each step is told to the user."""
    channel, thread = "C0STORY", "1700000000.000100"
    await app.deliver(app_mention(channel, USER, "hi", ts=thread))
    await eventually(lambda: slack.messages, "the thread has our reply")
    assert [row.status for row in rows(shared, channel)] == ["collecting"]
    reply = slack.messages[0]
    click = button_click(
        "threadsync_ready",
        reply.blocks[1]["elements"][0]["value"],
        channel,
        USER,
        message_ts=reply.ts,
        thread_ts=reply.thread_ts,
        response_url=slack.new_response_url(),
    )
    await app.deliver(click)
    await eventually(lambda: slack.responses, "the user is told")
    assert slack.responses[0]["text"] == "The thread is ready for a ticket."
    linked = await app.deliver(slash_command("link proj-7", channel, USER))
    assert linked.json()["text"].startswith("Not linked")
    status = await app.deliver(slash_command("status", channel, USER))
    assert "ready for a ticket" in status.json()["text"]
    assert [(row.status, row.jira_key) for row in rows(shared, channel)] == [("ready_to_sync", None)]
    assert len(slack.messages) == 1


async def test_a_ticket_is_linked_taken_off_and_linked_again(
    installation: Installation, slack: SlackSandbox
) -> None:
    """A known ticket is linked, unlinked with a comment in Jira, and replaced; each act records its actor."""
    channel, thread = "C0MINDS", "1700000000.000700"
    url = slack.new_response_url()
    with JiraSandbox() as jira, installation.worker(**jira_env(jira)):
        jira.site.commit(Draft("PROJ", "Task", "One"))
        jira.site.commit(Draft("PROJ", "Task", "Two"))
        async with running_app(celery_broker_url=installation.broker_url, slack_api_url=slack.api_url) as app:
            await app.deliver(app_mention(channel, USER, "hi", ts=thread))
            await eventually(lambda: slack.messages, "the thread has our reply")

            async def told(text: str) -> str:
                """Send the slash command, and return its response, immediate or late."""
                before = len(slack.responses)
                said = await app.deliver(slash_command(text, channel, USER, response_url=url))
                now = str(said.json()["text"])
                if now not in (replies.ASKING_JIRA, replies.QUEUED):
                    return now
                await eventually(lambda: len(slack.responses) > before, "the user is told", 30)
                return str(slack.responses[before]["text"])

            assert "has no ticket *FAKE-999999*" in await told(f"link FAKE-999999 {thread}")
            assert await told(f"link proj-1 {thread}") == "The thread has the ticket *PROJ-1*."
            assert "already has *PROJ-1*" in await told(f"link PROJ-2 {thread}")
            assert (await told("unlink that is another customer's")).startswith("Done")
            assert [row.jira_key for row in rows(installation, channel)] == [None]
            installation.celery.send_task("syncs.sweep", queue="maintenance", ignore_result=True)
            await eventually(lambda: jira.site.issues[0].comments, "the old ticket is told", 30)
            assert await told(f"link PROJ-2 {thread}") == "The thread has the ticket *PROJ-2*."
            # A worker that has no token for Slack leads there by a redirect.
            installation.celery.send_task("syncs.sweep", queue="maintenance", ignore_result=True)
            await eventually(lambda: jira.site.issues[1].remote_links, "the new ticket leads to it", 30)
    with psycopg.connect(installation.database_url) as connection:
        acts = connection.execute(
            "SELECT act, jira_key, outcome, actor FROM session_acts ORDER BY id"
        ).fetchall()
    ann = {"user_id": USER, "team_id": TEAM_ID}
    assert acts == [
        ("link", "PROJ-1", "applied", ann),
        ("link", "PROJ-2", "conflict", ann),
        ("unlink", "PROJ-1", "applied", ann),
        ("link", "PROJ-2", "applied", ann),
    ]


async def test_a_channels_settings_are_set_shown_and_held(
    app: SlackApp, shared: Installation, slack: SlackSandbox
) -> None:
    """Settings are set, shown and reset; a person who is not among `who` is told so and changes nothing."""
    channel, thread, other = "C0CONFIG", "1700000000.000800", "U0OTHER"
    url = slack.new_response_url()

    async def told(text: str, user: str = USER) -> str:
        """Send the slash command, and return its response, immediate or late."""
        before = len(slack.responses)
        said = await app.deliver(slash_command(f"config {text}", channel, user, response_url=url))
        now = str(said.json()["text"])
        if now != replies.CHECKING:
            return now
        await eventually(lambda: len(slack.responses) > before, "the user is told", 30)
        return str(slack.responses[before]["text"])

    said = await told(f"labels=on-call, slack include=text who=<@{USER}|ann>, <!subteam^S0TEAM|@team>")
    assert said == f"Set: labels = on-call, slack; include = text; who = <@{USER}>, <!subteam^S0TEAM>."
    assert "saved without being verified" in await told("project=ops")
    assert "Nothing changed: include is not" in await told("include=all")
    shown = await told("", other)
    assert f"• who: <@{USER}>, <!subteam^S0TEAM>" in shown
    assert "• project_key: OPS (not confirmed by Jira yet)" in shown
    assert await told("reset", other) == replies.MAY_NOT_ACT_HERE
    await app.deliver(app_mention(channel, other, "hi", ts=thread))
    await eventually(lambda: [item for item in slack.messages if item.only_for == other], "it is told so")
    assert rows(shared, channel) == []
    assert [item.text for item in slack.messages] == [replies.MAY_NOT_ACT_HERE]
    assert await told("reset who") == "Reset: who."
    await app.deliver(app_mention(channel, other, "hi", ts=thread))
    await eventually(lambda: rows(shared, channel), "there is a session")
    with psycopg.connect(shared.database_url) as connection:
        acts = connection.execute(
            "SELECT act, settings, actor FROM channel_acts WHERE channel_id = %s ORDER BY id", [channel]
        ).fetchall()
    ann = {"user_id": USER, "team_id": TEAM_ID}
    assert acts == [
        ("set", ["labels", "include", "who"], ann),
        ("set", ["project_key"], ann),
        ("set", ["who"], ann),
    ]


async def test_events_in_any_order_and_number_are_one_row_and_one_reply(
    app: SlackApp, shared: Installation, slack: SlackSandbox
) -> None:
    """Repeated events about a thread, in any order, make one session and one reply."""
    channel, thread = "C0DOUBLE", "1700000000.000200"
    payloads = [
        message(channel, USER, "hi", ts="1700000003.000200", thread_ts=thread),
        app_mention(channel, USER, "hi", ts="1700000003.000200", thread_ts=thread),
        app_mention(channel, USER, "hi", ts=thread),
    ]
    for payload in payloads * 3:
        assert (await app.deliver(payload)).status_code == 200
    await eventually(lambda: shared.waiting() == 0 and slack.messages, "all is done")
    assert len(rows(shared, channel)) == 1
    assert len(slack.messages) == 1


async def test_ready_takes_the_only_open_thread_and_asks_when_there_are_two(
    app: SlackApp, shared: Installation
) -> None:
    """The command `ready` takes the only open thread, and asks when there are two."""
    channel = "C0SEVERAL"
    await app.deliver(app_mention(channel, USER, "hi", ts="1700000000.000300"))
    await app.deliver(app_mention(channel, USER, "hi", ts="1700000001.000300"))
    await eventually(lambda: len(rows(shared, channel)) == 2, "both threads have a session")
    asked = (await app.deliver(slash_command("ready", channel, USER))).json()["text"]
    assert "1700000000.000300" in asked
    assert "1700000001.000300" in asked
    assert {row.status for row in rows(shared, channel)} == {"collecting"}
    await app.deliver(slash_command("ready 1700000000.000300", channel, USER))
    told = (await app.deliver(slash_command("ready", channel, USER))).json()["text"]
    assert told == "The thread is ready for a ticket."
    assert {row.status for row in rows(shared, channel)} == {"ready_to_sync"}


async def test_a_thread_without_a_session_is_told_when_the_wait_is_over(
    app: SlackApp, slack: SlackSandbox
) -> None:
    """A command for a thread without a session tells the user when the wait for it is over."""
    command = slash_command("ready 1700000000.000400", "C0NONE", USER, response_url=slack.new_response_url())
    answer = (await app.deliver(command)).json()["text"]
    if "queued" in answer:
        await eventually(lambda: slack.responses, "the user is told later")
        answer = slack.responses[0]["text"]
    assert "do not keep track" in answer


async def test_a_ticket_is_asked_for_in_a_form_and_shown_in_the_thread(
    installation: Installation, slack: SlackSandbox
) -> None:
    """A ticket is requested in a form, created in Jira and shown in one status message with its link."""
    channel, thread = "C0TICKET", "1700000000.000500"
    with JiraSandbox() as jira, installation.worker(**slack_env(slack), **jira_env(jira)):
        async with app_with_form(installation, slack) as app:
            await ask_for_a_ticket(app, slack, channel, thread)
            made = "Made with project PROJ and type from the draft."
            created = f"*Created* <{jira.url}/browse/PROJ-1|PROJ-1>. {made}"
            await eventually(lambda: slack.messages[-1].text == created, "the thread has the ticket", 30)
        (issue,) = jira.site.issues
    assert issue.summary == "a < b"
    assert [(row.status, row.jira_key) for row in rows(installation, channel)] == [("synced", "PROJ-1")]
    assert len(slack.messages) == len(slack.calls("chat.postMessage")) == 2


async def test_a_ticket_that_needs_a_person_has_a_button(
    installation: Installation, slack: SlackSandbox
) -> None:
    """A blocked sync's status message says why, and its button records a retry by the user who pressed."""
    channel, thread = "C0PERSON", "1700000000.000600"
    with installation.worker(**slack_env(slack)):
        async with app_with_form(installation, slack) as app:
            await ask_for_a_ticket(app, slack, channel, thread)
            await eventually(lambda: len(slack.messages) == 2, "the thread has a status message", 30)
            status = slack.messages[1]
            assert "the worker has no settings for Jira" in status.text
            await press(app, slack, status, channel)
            await eventually(lambda: retries(installation) == [USER], "the retry is recorded")
    assert [row.status for row in rows(installation, channel)] == ["ready_to_sync"]
    assert len(slack.calls("chat.postMessage")) == 2


def slack_env(slack: SlackSandbox) -> dict[str, str]:
    return {"SLACK_BOT_TOKEN": slack.token, "SLACK_API_URL": slack.api_url}


def jira_env(jira: JiraSandbox) -> dict[str, str]:
    return {
        "JIRA_URL": jira.url,
        "JIRA_EMAIL": jira.email,
        "JIRA_API_TOKEN": jira.token,
        "JIRA_PROJECT_KEY": "PROJ",
    }


def app_with_form(installation: Installation, slack: SlackSandbox) -> AbstractAsyncContextManager[SlackApp]:
    return running_app(
        celery_broker_url=installation.broker_url,
        slack_api_url=slack.api_url,
        jira_url="https://jira.example",
    )


async def ask_for_a_ticket(app: SlackApp, slack: SlackSandbox, channel: str, thread: str) -> None:
    await app.deliver(app_mention(channel, USER, "hi", ts=thread))
    await eventually(lambda: slack.messages, "the thread has our reply")
    await press(app, slack, slack.messages[0], channel)
    await eventually(lambda: form_in(slack), "the form is open")
    written = {SUMMARY: "a < b", DESCRIPTION: "since noon"}
    await app.deliver(view_submission(form_in(slack), written, USER))


async def press(app: SlackApp, slack: SlackSandbox, posted: Message, channel: str) -> None:
    """Press the button of one of our messages."""
    (button,) = posted.blocks[1]["elements"]
    url = slack.new_response_url()
    click = button_click(
        button["action_id"],
        button["value"],
        channel,
        USER,
        message_ts=posted.ts,
        thread_ts=posted.thread_ts,
        response_url=url,
    )
    await app.deliver(click)


def retries(installation: Installation) -> list[str]:
    """Return the actors of all recorded decisions."""
    with psycopg.connect(installation.database_url) as connection:
        return [row[0] for row in connection.execute("SELECT actor FROM sync_actions").fetchall()]
