"""Payloads of other teams and apps, and people who may not act, on the real endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from handlers import replies
from handlers.mapping import CREATE_BUTTON, OPEN_SHORTCUT, READY_BUTTON
from handlers.ticket_form import SUMMARY, ticket_form
from sandbox.faults import Hangs, Refused
from sandbox.slack.requests import (
    app_mention,
    button_click,
    message,
    message_shortcut,
    slash_command,
    view_submission,
)
from sandbox.slack.server import SlackSandbox
from tests.support.slack_app import (
    CHANNEL,
    THREAD,
    USER,
    RecordingClient,
    SlackApp,
    eventually,
    page,
    result,
    running_app,
)
from threadsync.actors import SlackActor
from threadsync.commands import GetOrCreate, ListByChannel, RequestSync, UpdateStatus
from threadsync.sync_commands import RetrySync
from threadsync.syncs import SyncState
from worker.text.slack_names import FIX_BUTTON, RETRY_BUTTON

OTHER = "T0OTHER"
SESSION = "0198c0de-0000-7000-8000-000000000001"


def answer(command: Any) -> Any:
    return page() if isinstance(command, ListByChannel) else result("applied")


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient(answer)


def refuse(command: Any) -> Any:
    """Answer as the worker does where the channel's settings do not let the person act."""
    if isinstance(command, RetrySync):
        now = datetime.now(UTC)
        return SyncState(
            session_id=UUID(SESSION),
            channel_id=CHANNEL,
            thread_ts=THREAD,
            state="blocked",
            reason="no_access",
            parked=False,
            attempts=0,
            next_attempt_at=None,
            jira_key=None,
            origin=None,
            duplicates=(),
            requested_at=now,
            updated_at=now,
            is_refused=True,
        )
    return page() if isinstance(command, ListByChannel) else result("refused")


@pytest.fixture
async def app(slack: SlackSandbox, client: RecordingClient) -> AsyncIterator[SlackApp]:
    """Run the app with the workspace that Slack reports for the token."""
    async with running_app(client, slack_api_url=slack.api_url, slack_team_id=None) as running:
        yield running


def payloads(slack: SlackSandbox) -> dict[str, dict[str, Any]]:
    """Return one payload of each kind that sends a command."""
    url = slack.new_response_url()
    click = button_click(CREATE_BUTTON, THREAD, CHANNEL, USER, message_ts="1.1", response_url=url)
    return {
        "mention": app_mention(CHANNEL, USER, "hello", ts=THREAD),
        "message": message(CHANNEL, USER, "hello", ts="1700000001.000100", thread_ts=THREAD),
        "command": slash_command(f"ready {THREAD}", CHANNEL, USER, response_url=url),
        "shortcut": message_shortcut(OPEN_SHORTCUT, CHANNEL, USER, ts=THREAD, response_url=url),
        "button": button_click(READY_BUTTON, THREAD, CHANNEL, USER, message_ts="1.1", response_url=url),
        "create button": click,
        "retry button": button_click(
            RETRY_BUTTON, SESSION, CHANNEL, USER, message_ts="1.1", response_url=url
        ),
        "fix button": button_click(
            FIX_BUTTON, SESSION, CHANNEL, USER, message_ts="1.1", thread_ts=THREAD, response_url=url
        ),
        "form": view_submission(ticket_form(click), {"summary": "It broke", "description": None}, USER),
    }


KINDS = list(payloads(SlackSandbox()))


def of_team(payload: dict[str, Any], team: str) -> dict[str, Any]:
    """Return the payload as another installation would receive it."""
    changed = {**payload, "team_id": team}
    if "event" in payload:
        changed["authorizations"] = [{**payload["authorizations"][0], "team_id": team}]
        changed["event"] = {**payload["event"], "team": team}
    elif "command" not in payload:
        changed |= {"team": {"id": team}, "user": {**payload["user"], "team_id": team}}
    return changed


def by_person_of(payload: dict[str, Any], team: str) -> dict[str, Any]:
    """Return the payload for our installation, sent by a person of another organisation."""
    if "event" in payload:
        return {
            **payload,
            "team_id": team,
            "is_ext_shared_channel": True,
            "event": {**payload["event"], "user_team": team},
        }
    return {**payload, "user": {**payload["user"], "team_id": team}}


@pytest.mark.parametrize("kind", KINDS)
async def test_payloads_of_another_team_are_acknowledged_and_dropped(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, kind: str
) -> None:
    """A payload of another team gets an empty 200, no command and no response."""
    response = await app.deliver(of_team(payloads(slack)[kind], OTHER))
    assert (response.status_code, response.text) == (200, "")
    assert client.commands == []
    assert (slack.workspace.views, slack.responses) == ([], ())


@pytest.mark.parametrize("type_", ["url_verification", "app_rate_limited"])
@pytest.mark.parametrize("kind", ["mention", "command"])
async def test_no_type_of_payload_opens_the_gate(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, kind: str, type_: str
) -> None:
    """A payload of another team with a harmless `type` sends no command either."""
    await app.deliver({**of_team(payloads(slack)[kind], OTHER), "type": type_})
    assert client.commands == []


@pytest.mark.parametrize("kind", KINDS)
async def test_payloads_of_another_app_are_acknowledged_and_dropped(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, kind: str
) -> None:
    """A payload of another app sends no command once bots.info has told our app."""
    await eventually(lambda: slack.calls("bots.info"), "the app is asked for")
    sent = 0

    async def is_dropped() -> bool:
        nonlocal sent
        sent += 1
        await app.deliver({**payloads(slack)[kind], "api_app_id": "A0OTHER"})
        return not client.commands and not slack.workspace.views

    # The response to bots.info may not have arrived yet.
    while not await is_dropped():
        client.commands.clear()
        slack.workspace.views.clear()
        assert sent < 50
    assert client.commands == []


@pytest.mark.parametrize("kind", KINDS)
async def test_our_own_payloads_are_carried_out_with_their_actor(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, kind: str
) -> None:
    """A payload of our own team and app sends its command with its actor."""
    response = await app.deliver(payloads(slack)[kind])
    assert response.status_code == 200
    if kind in ("create button", "fix button"):
        await eventually(lambda: slack.workspace.views, "the form opens")
        return
    acting = [command for command in client.commands if not isinstance(command, ListByChannel)]
    assert [getattr(command, "actor", None) for command in acting] == [
        SlackActor(user_id=USER, team_id="T0SANDBOX", groups=())
    ]


async def test_the_outer_team_of_a_shared_channel_may_be_the_partners(
    app: SlackApp, client: RecordingClient
) -> None:
    """An event is accepted by the team of its authorization, even if its outer team is a partner's."""
    mention = app_mention(CHANNEL, USER, "hello", ts=THREAD)
    assert (await app.deliver({**mention, "team_id": OTHER})).status_code == 200
    assert [type(command) for command in client.commands] == [GetOrCreate]


@pytest.mark.parametrize("over_other_teams", [True, False])
async def test_a_form_that_was_opened_elsewhere_is_of_the_team_that_it_is_installed_in(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, over_other_teams: bool
) -> None:
    """A form counts for the team that its app is installed in, not for the team where it was opened."""
    form = payloads(slack)["form"]
    installed = "T0SANDBOX" if over_other_teams else OTHER
    outer = OTHER if over_other_teams else "T0SANDBOX"
    view = {**form["view"], "app_installed_team_id": installed}
    await app.deliver({**form, "view": view, "team": {"id": outer}})
    assert [type(command) for command in client.commands] == [RequestSync] * over_other_teams


async def test_an_installation_for_an_organisation_is_known_by_its_id(
    slack: SlackSandbox, client: RecordingClient
) -> None:
    """An installation for an organisation accepts payloads with its enterprise id and no team."""
    mention = app_mention(CHANNEL, USER, "hello", ts=THREAD)
    ours = {"enterprise_id": "E0OURS", "team_id": None, "is_enterprise_install": True}
    async with running_app(
        client, slack_api_url=slack.api_url, slack_team_id="E0OURS", who_may_act="everyone"
    ) as app:
        await app.deliver({**mention, "authorizations": [{**ours, "enterprise_id": "E0OTHER"}]})
        assert client.commands == []
        await app.deliver({**mention, "authorizations": [ours]})
    assert [type(command) for command in client.commands] == [GetOrCreate]


async def test_before_slack_has_told_the_team_events_are_to_come_again(client: RecordingClient) -> None:
    """Before Slack has told our team, events get 503 and users are asked to try again; then events count."""
    async with (
        SlackAway() as slack,
        running_app(client, slack_api_url=slack.api_url, slack_team_id=None) as app,
    ):
        some = payloads(slack)
        assert (await app.deliver(some["mention"])).status_code == 503
        command = await app.deliver(some["command"])
        assert (command.status_code, command.json()["text"]) == (200, replies.TRY_AGAIN)
        form = await app.deliver(some["form"])
        assert form.json() == {"response_action": "errors", "errors": {SUMMARY: replies.TRY_AGAIN}}
        assert (await app.deliver(some["button"])).status_code == 200
        await eventually(lambda: slack.responses, "the person is told")
        assert client.commands == []
        slack.refuses = None

        async def taken() -> bool:
            return (await app.deliver(some["mention"])).status_code == 200

        while not await taken():
            pass
    assert [type(command) for command in client.commands] == [GetOrCreate]


class SlackAway(SlackSandbox):
    """A sandbox Slack that does not accept the token yet."""

    async def __aenter__(self) -> SlackAway:
        self.refuses = "internal_error"
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.stop()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "command"])
@pytest.mark.parametrize("asks_slack", [True, False])
async def test_a_partners_person_changes_nothing_and_is_told_so_in_private(
    slack: SlackSandbox, client: RecordingClient, kind: str, asks_slack: bool
) -> None:
    """A partner's person sends no command and is told so privately, except for messages in a thread."""
    if not asks_slack:
        slack.scopes = tuple(scope for scope in slack.scopes if scope != "users:read")
    slack.workspace.people[USER] = {"team_id": OTHER}
    async with running_app(client, slack_api_url=slack.api_url, slack_team_id=None) as app:
        response = await app.deliver(by_person_of(payloads(slack)[kind], OTHER))
        assert response.status_code == 200
        if kind == "form":
            assert response.json()["errors"] == {SUMMARY: replies.MAY_NOT_ACT}
        elif kind != "message":
            await eventually(lambda: told(slack), "the person is told")
    assert client.commands == []
    assert told(slack) == ([] if kind in ("form", "message") else [replies.MAY_NOT_ACT])
    assert slack.workspace.views == []


@pytest.mark.parametrize("named", [None, "", 5, ["U0456"], "U 0456", "-"], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_payload_without_a_person_changes_nothing(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, kind: str, named: Any
) -> None:
    """A payload without a valid user id sends no command and opens no form."""
    payload = payloads(slack)[kind]
    if "event" in payload:
        payload["event"]["user"] = named
    elif "command" in payload:
        payload["user_id"] = named if isinstance(named, str) else ""
    else:
        payload["user"]["id"] = named
    await app.deliver(payload)
    assert client.commands == []
    assert slack.workspace.views == []


@pytest.mark.parametrize("mark", ["is_restricted", "is_ultra_restricted", "is_stranger"])
async def test_a_guest_is_told_once_a_minute(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox, mark: str
) -> None:
    """A guest sends no command, is told so once a minute, and Slack is asked once for each user."""
    slack.workspace.people[USER] = {mark: True}
    some = payloads(slack)
    first = await app.deliver(some["command"])
    assert first.json()["text"] == replies.MAY_NOT_ACT
    for kind in ("command", "mention", "button", "shortcut", "create button"):
        assert (await app.deliver(some[kind])).text == ""
    another = await app.deliver({**some["command"], "user_id": "U0999"})
    assert another.json()["text"] != replies.MAY_NOT_ACT
    assert [getattr(command, "actor", None) for command in client.commands] == [
        SlackActor(user_id="U0999", team_id="T0SANDBOX", groups=())
    ]
    assert told(slack) == []
    assert len(slack.calls("users.info")) == 2


@pytest.mark.parametrize("pinned", ["T0SANDBOX", None])
async def test_the_first_payload_of_all_is_no_exception(
    slack: SlackSandbox, client: RecordingClient, pinned: str | None
) -> None:
    """A guest's very first click waits for auth.test and sends no command."""
    slack.workspace.people[USER] = {"is_restricted": True}
    slack.fail("auth.test", Hangs(0.3))
    async with running_app(client, slack_api_url=slack.api_url, slack_team_id=pinned) as app:
        await app.deliver(payloads(slack)["button"])
    assert client.commands == []


async def test_everyone_may_act_where_the_operator_says_so(
    slack: SlackSandbox, client: RecordingClient
) -> None:
    """A partner's person may act with WHO_MAY_ACT=everyone, under the team of their own."""
    slack.workspace.people[USER] = {"is_restricted": True}
    async with running_app(
        client, slack_api_url=slack.api_url, slack_team_id=None, who_may_act="everyone"
    ) as app:
        await app.deliver(by_person_of(payloads(slack)["button"], OTHER))
    assert [type(command) for command in client.commands] == [UpdateStatus]
    (command,) = client.commands
    # A channel may still be for members alone.
    assert command.actor == SlackActor(user_id=USER, team_id=OTHER, groups=(), member=False)  # type: ignore[attr-defined]


async def test_while_slack_does_not_answer_about_people_the_payload_counts(
    app: SlackApp, client: RecordingClient, slack: SlackSandbox
) -> None:
    """A member's click counts while Slack does not tell who people are; a partner's does not."""
    slack.fail("users.info", Refused("ratelimited"))
    await app.deliver(payloads(slack)["button"])
    await app.deliver(by_person_of({**payloads(slack)["button"]}, OTHER))
    assert [type(command) for command in client.commands] == [UpdateStatus]


def told(slack: SlackSandbox) -> list[str]:
    """Return the refusals that people were told privately."""
    posted = [item.text for item in slack.messages if item.only_for == USER]
    return posted + [
        str(response["text"])
        for response in slack.responses
        if "replace_original" in response and str(response["text"]) == replies.MAY_NOT_ACT
    ]


# Both buttons open a form: the worker is asked when it is sent.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("create button", "fix button")])
async def test_whom_a_channel_does_not_let_act_is_told_so_in_private(slack: SlackSandbox, kind: str) -> None:
    """A command that the worker refused is told in one private sentence, and the thread gets no reply."""
    client = RecordingClient(refuse)
    async with running_app(client, slack_api_url=slack.api_url, slack_team_id=None) as app:
        response = await app.deliver(payloads(slack)[kind])
        assert response.status_code == 200
        if kind == "command":
            assert response.json()["text"] == replies.MAY_NOT_ACT_HERE
        elif kind != "message":
            await eventually(lambda: _told_here(slack), "the person is told")
    assert len(client.commands) == 1
    assert _told_here(slack) == ([] if kind in ("message", "command") else [replies.MAY_NOT_ACT_HERE])
    assert [item for item in slack.messages if item.only_for is None] == []


def _told_here(slack: SlackSandbox) -> list[str]:
    posted = [item.text for item in slack.messages if item.only_for == USER]
    return posted + [str(response["text"]) for response in slack.responses]
