"""The form in Slack: Slack is the sandbox, what workers look up is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import uuid4

import pytest
import structlog

from handlers import replies
from handlers.form import texts
from handlers.form.draft import NOT_CHECKED, NOT_READ
from handlers.form.flow import FORM_SECONDS
from handlers.form.submission import NOT_LOADED
from handlers.form.view import LOADING
from sandbox.faults import Hangs, Refused
from sandbox.slack.requests import TEAM_ID, button_click
from sandbox.slack.server import SlackSandbox
from tests.support.block_kit import changed_in, check_view, state_of
from tests.support.form_fields import choices
from tests.support.slack_app import (
    CHANNEL,
    NEVER,
    THREAD,
    USER,
    RecordingClient,
    SlackApp,
    eventually,
    form_in,
    no_form,
    result,
    running_app,
)
from threadsync.actors import SlackActor
from threadsync.commands import RequestSync
from threadsync.forms import Choice, DraftFound, FormField, FormFields, JiraPerson, ProjectList
from threadsync.lookup_commands import AccountLookup, DraftLookup, FormFieldsLookup, ProjectsLookup
from threadsync.syncs import Draft
from worker.text.slack_names import FIX_BUTTON

JIRA: Final = "https://jira.example"
CANARY: Final = "tulip-4711"
SESSION: Final = str(uuid4())
PROJECTS: Final = (Choice(id="OTHER", label="Other (OTHER)"), Choice(id="PROJ", label="Project (PROJ)"))
TASK, BUG = Choice(id="1", label="Task"), Choice(id="2", label="Bug")
SUMMARY: Final = FormField(id="summary", label="Summary", kind="string", required=True)
DESCRIPTION: Final = FormField(id="description", label="Description", kind="text_area")
ASSIGNEE: Final = FormField(id="assignee", label="Assignee", kind="user")
CUSTOMER: Final = FormField(id="customfield_1", label="Customer", kind="string", required=True)
SEVERITY: Final = FormField(
    id="customfield_2", label="Severity", kind="option", shape="id", required=True, choices=choices(3, "S")
)
COMPONENTS: Final = FormField(
    id="components",
    label="Components",
    kind="component",
    shape="id",
    multiple=True,
    choices=choices(150, "Part"),
)


def screen(project: str = "PROJ", kind: Choice = TASK, *fields: FormField, **more: Any) -> FormFields:
    return FormFields(
        outcome="known",
        project_key=project,
        issue_type=kind.id,
        issue_types=(TASK, BUG),
        fields=(SUMMARY, DESCRIPTION, *fields),
        **more,
    )


class Jira:
    """What workers look up. ``screens`` are by project and type; a missing answer never comes."""

    def __init__(self, *screens: FormFields) -> None:
        self.screens = {(item.project_key, item.issue_type): item for item in screens}
        self.accounts: dict[str, Any] = {}
        self.draft: Any = DraftFound(outcome="none")
        self.projects: Any = ProjectList(outcome="known", projects=PROJECTS)

    def __call__(self, question: Any) -> Any:
        match question:
            case ProjectsLookup():
                return self.projects
            case FormFieldsLookup(project_key=project, issue_type=kind):
                wanted = (project or "PROJ", kind or TASK.id)
                return self.screens.get(wanted, NEVER)
            case AccountLookup(user_id=user):
                return self.accounts.get(user, JiraPerson(outcome="unknown"))
            case DraftLookup():
                return self.draft
            case _:
                return no_form(question)


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


def client_of(jira: Callable[[Any], Any]) -> RecordingClient:
    return RecordingClient(lambda command: result("applied", status="ready_to_sync"), form=jira)


def click(slack: SlackSandbox, button: str = "threadsync_create", value: str = THREAD) -> dict[str, Any]:
    return button_click(
        button,
        value,
        CHANNEL,
        USER,
        message_ts="1700000001.000100",
        thread_ts=THREAD,
        response_url=slack.new_response_url(),
    )


def inputs_of(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        block["block_id"].partition("#")[0]: block for block in view["blocks"] if block["type"] == "input"
    }


def notes_of(view: dict[str, Any]) -> list[str]:
    return [block["text"]["text"] for block in view["blocks"] if block["type"] == "section"]


def plain_view(view: dict[str, Any]) -> dict[str, Any]:
    """Return a view without what Slack adds to it."""
    ours = ("type", "callback_id", "private_metadata", "title", "submit", "close", "blocks")
    return {name: view[name] for name in ours if name in view}


async def opened(app: SlackApp, slack: SlackSandbox, payload: dict[str, Any]) -> dict[str, Any]:
    """Press a button, and return the form once it has its fields."""
    assert (await app.deliver(payload)).status_code == 200
    await eventually(lambda: form_in(slack), "the form is open")
    view: dict[str, Any] = form_in(slack)
    check_view(plain_view(view))
    return view


async def send(app: SlackApp, view: dict[str, Any], changes: dict[str, Any] | None = None) -> Any:
    """Submit a form in which a person made changes; return the errors that it stays open with."""
    payload = {
        "type": "view_submission",
        "team": {"id": TEAM_ID},
        "user": {"id": USER, "team_id": TEAM_ID},
        "trigger_id": "1.1",
        "view": {**view, "state": {"values": state_of(view, changes)}},
    }
    response = await app.deliver(payload)
    assert response.status_code == 200
    return response.json()["errors"] if response.text else {}


async def test_the_form_opens_at_once_and_is_replaced_once(slack: SlackSandbox) -> None:
    """The first view has no input; one update, guarded by the hash, brings fields and the first message."""
    slack.workspace.add(CHANNEL, USER, f"Export <stops> {CANARY}\nsince noon", ts=THREAD)
    client = client_of(Jira(screen("PROJ", TASK, ASSIGNEE, CUSTOMER, unaskable=("Sprint",))))
    with structlog.testing.capture_logs() as logs:
        async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
            view = await opened(app, slack, click(slack))
    (first,) = slack.calls("views.open")
    assert LOADING in str(first.arguments["view"])
    assert '"input"' not in str(first.arguments["view"])
    (update,) = slack.calls("views.update")
    assert update.arguments["hash"]
    assert list(inputs_of(view)) == [
        *("project", "issuetype", "summary", "description", "assignee", "customfield_1")
    ]
    assert inputs_of(view)["summary"]["element"]["initial_value"] == f"Export <stops> {CANARY}"
    assert "Sprint" in notes_of(view)[0]
    assert CANARY not in repr(logs)
    assert CANARY not in repr([command.arguments() for command in client.questions])


async def test_our_own_message_is_no_summary(slack: SlackSandbox) -> None:
    """A thread that begins with a message of ours has the summary of the next one."""
    async with running_app(client_of(Jira(screen())), slack_api_url=slack.api_url, jira_url=JIRA) as app:
        root = slack.workspace.call("chat.postMessage", {"channel": CHANNEL, "text": "ours"})["ts"]
        slack.workspace.add(CHANNEL, USER, "It broke", ts=slack.workspace.new_ts(), thread_ts=root)
        view = await opened(app, slack, click(slack, value=root))
    assert inputs_of(view)["summary"]["element"]["initial_value"] == "It broke"


@pytest.mark.parametrize("fault", [Refused("not_in_channel"), Hangs(60)])
async def test_without_the_first_message_the_form_opens(slack: SlackSandbox, fault: Any) -> None:
    """A Slack that does not tell the first message leaves the summary empty."""
    slack.fail("conversations.replies", fault)
    async with running_app(client_of(Jira(screen())), slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack))
    assert "initial_value" not in inputs_of(view)["summary"]["element"]
    assert list(inputs_of(view)) == ["project", "issuetype", "summary", "description"]


async def test_without_fields_in_time_it_asks_for_the_essentials(slack: SlackSandbox) -> None:
    """Without an answer within 3 s the form asks for summary and description, and says why."""
    client = client_of(Jira())
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        started = time.monotonic()
        view = await opened(app, slack, click(slack))
        assert time.monotonic() - started + 0.1 >= FORM_SECONDS
        assert time.monotonic() - started < FORM_SECONDS + 2
        assert await send(app, view, {"summary": "It broke"}) == {}
    assert list(inputs_of(view)) == ["summary", "description"]
    assert notes_of(view) == [texts.NO_FIELDS]
    (command,) = client.commands
    assert isinstance(command, RequestSync)
    assert command.draft == Draft(summary="It broke")


async def test_what_was_sent_becomes_a_draft(slack: SlackSandbox) -> None:
    """A form with its fields becomes a draft for the chosen project and type, and the user is told."""
    jira = Jira(screen("PROJ", TASK, ASSIGNEE, CUSTOMER, SEVERITY, COMPONENTS))
    jira.accounts["U9"] = JiraPerson(outcome="known", account="acc-9")
    client = client_of(jira)
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack))
        changes = {
            "summary": "a < b",
            "assignee": "U9",
            "customfield_1": "ACME",
            "customfield_2": "10001",
            "components": "part 7\nPart 149",
        }
        assert await send(app, view, changes) == {}
        await eventually(lambda: slack.responses, "the user is told")
    (command,) = client.commands
    assert isinstance(command, RequestSync)
    assert (command.channel_id, command.thread_ts) == (CHANNEL, THREAD)
    draft = command.arguments()["draft"]
    assert (draft["summary"], draft["project_key"], draft["issue_type"]) == ("a &lt; b", "PROJ", "1")


async def test_faults_stand_at_their_inputs(slack: SlackSandbox) -> None:
    """A person without an account and a choice that is none are refused at their inputs, within 3 s."""
    jira = Jira(screen("PROJ", TASK, ASSIGNEE, COMPONENTS))
    jira.accounts["U7"] = NEVER
    client = client_of(jira)
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack))
        blocks = inputs_of(view)
        errors = await send(app, view, {"summary": " ", "assignee": "U8", "components": "Part x"})
        assert errors["summary"]
        assert errors["assignee"] == texts.NO_ACCOUNT
        assert "Part x" in errors[blocks["components"]["block_id"]]
        started = time.monotonic()
        late = await send(app, view, {"summary": "s", "assignee": "U7"})
        assert late == {"assignee": NOT_CHECKED}
        assert time.monotonic() - started < 3
    assert client.commands == []


async def test_another_type_replaces_what_is_below(slack: SlackSandbox) -> None:
    """Another issue type brings its fields; what was typed above stays, and the draft is of that type."""
    client = client_of(Jira(screen("PROJ", TASK, CUSTOMER), screen("PROJ", BUG, CUSTOMER, SEVERITY)))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        before = await opened(app, slack, click(slack))
        assert (await app.deliver(changed_in(before, "issuetype", "2", USER))).status_code == 200
        await eventually(lambda: "customfield_2" in inputs_of(form_in(slack)), "the fields are there")
        after = form_in(slack)
        check_view(plain_view(after))
        same = ("summary", "description", "customfield_1")
        assert all(inputs_of(before)[name] == inputs_of(after)[name] for name in same)
        changes = {"summary": "s", "customfield_1": "ACME", "customfield_2": "10000"}
        assert await send(app, after, changes) == {}
        # The old view, in which the new type was chosen, is sent too early.
        early = await send(app, before, {"summary": "s", "issuetype": "2"})
        assert list(early.values()) == [NOT_LOADED]
    (command,) = client.commands
    assert command.arguments()["draft"]["issue_type"] == "2"


async def test_another_project(slack: SlackSandbox) -> None:
    """Another project brings its types and fields; without an answer the essentials are asked for."""
    client = client_of(Jira(screen(), screen("OTHER", TASK, SEVERITY)))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        before = await opened(app, slack, click(slack))
        await app.deliver(changed_in(before, "project", "OTHER", USER))
        await eventually(lambda: "customfield_2" in inputs_of(form_in(slack)), "the fields are there")
        changes = {"summary": "s", "customfield_2": "10000"}
        assert await send(app, form_in(slack), changes) == {}
    (command,) = client.commands
    assert command.arguments()["draft"]["project_key"] == "OTHER"


async def test_another_project_keeps_the_type(slack: SlackSandbox) -> None:
    """Another project with the same types keeps the chosen one, as Slack keeps the input that shows it."""
    screens = [screen(), screen("PROJ", BUG), screen("OTHER", TASK), screen("OTHER", BUG, SEVERITY)]
    client = client_of(Jira(*screens))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        before = await opened(app, slack, click(slack))
        # The event of the type has not been answered when the project is changed.
        change = changed_in(before, "project", "OTHER", USER)
        chosen = state_of(before, {"project": "OTHER", "issuetype": BUG.id})
        change["view"]["state"]["values"] = chosen
        await app.deliver(change)
        await eventually(lambda: "customfield_2" in inputs_of(form_in(slack)), "the fields are there")
        after = form_in(slack)
        assert inputs_of(after)["issuetype"]["block_id"] == inputs_of(before)["issuetype"]["block_id"]
        assert inputs_of(after)["issuetype"]["element"]["initial_option"]["value"] == BUG.id
        assert await send(app, after, {"summary": "s", "customfield_2": "10000"}) == {}
    (command,) = client.commands
    draft = command.arguments()["draft"]
    assert (draft["project_key"], draft["issue_type"]) == ("OTHER", BUG.id)


async def test_the_last_of_quick_changes_counts(slack: SlackSandbox) -> None:
    """Another type, chosen before the fields of another project are there, has the fields of both choices."""
    jira = Jira(screen(), screen("OTHER", TASK), screen("OTHER", BUG, SEVERITY))
    client = client_of(jira)
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        before = await opened(app, slack, click(slack))
        slow, quick = jira.screens.pop(("OTHER", TASK.id)), asyncio.Event()
        client.before_an_answer = quick.wait
        await app.deliver(changed_in(before, "project", "OTHER", USER))
        later = changed_in(before, "issuetype", BUG.id, USER)
        later["view"]["state"]["values"] = state_of(before, {"project": "OTHER", "issuetype": BUG.id})
        await app.deliver(later)
        jira.screens["OTHER", TASK.id] = slow
        quick.set()
        await eventually(lambda: "customfield_2" in inputs_of(form_in(slack)), "the fields are there")
        assert await send(app, form_in(slack), {"summary": "s", "customfield_2": "10000"}) == {}
    assert len(slack.calls("views.update")) == 2
    (command,) = client.commands
    draft = command.arguments()["draft"]
    assert (draft["project_key"], draft["issue_type"]) == ("OTHER", BUG.id)


async def test_a_project_is_typed_where_there_are_many(slack: SlackSandbox) -> None:
    """A typed project must be one of Jira's; what is none is said, and changes nothing."""
    jira = Jira(screen("P", TASK), screen("10007", TASK, SEVERITY), screen())
    jira.projects = ProjectList(outcome="known", projects=choices(150, "Project"))
    client = client_of(jira)
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        before = await opened(app, slack, click(slack))
        assert inputs_of(before)["project"]["element"]["type"] == "plain_text_input"
        await app.deliver(changed_in(before, "project", "Project x", USER))
        await eventually(lambda: notes_of(form_in(slack)), "it is said")
        assert "Project x" in notes_of(form_in(slack))[0]
        assert inputs_of(form_in(slack))["summary"] == inputs_of(before)["summary"]


async def test_a_newer_view_is_not_overwritten(slack: SlackSandbox) -> None:
    """A change of a view that was replaced meanwhile is left alone."""
    client = client_of(Jira(screen("PROJ", TASK, CUSTOMER), screen("PROJ", BUG, SEVERITY)))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        before = await opened(app, slack, click(slack))
        old = changed_in({**before, "hash": "older"}, "issuetype", "2", USER)
        await app.deliver(old)
        await eventually(lambda: len(slack.calls("views.update")) == 2, "the update is tried")
    assert form_in(slack) == before


async def test_a_view_that_slack_refuses_becomes_the_essentials(slack: SlackSandbox) -> None:
    """Where Slack does not take the form, it asks for the essentials."""
    slack.fail("views.update", Refused("invalid_arguments"))
    client = client_of(Jira(screen("PROJ", TASK, CUSTOMER)))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack))
    assert list(inputs_of(view)) == ["summary", "description"]


async def test_a_form_that_was_closed_meanwhile_is_left_alone(slack: SlackSandbox) -> None:
    """A form that its person has closed is neither updated again nor complained about."""
    slack.fail("views.update", Refused("not_found"))
    client = client_of(Jira(screen()))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        await app.deliver(click(slack))
        await eventually(lambda: slack.calls("views.update"), "the update is tried")
    assert len(slack.calls("views.update")) == 1
    assert slack.responses == ()


def refused_draft(**more: Any) -> DraftFound:
    draft = Draft(summary=f"It broke {CANARY}", description="y" * 4_000, project_key="PROJ", issue_type="2")
    return DraftFound(
        outcome="found",
        draft=draft,
        drafted_at="1700000002.000000",
        channel_id=CHANNEL,
        thread_ts=THREAD,
        refused={"customfield_1": "Customer is required.", "": "Not like this."},
        **more,
    )


async def test_the_fix_button_opens_the_draft_with_jiras_words(slack: SlackSandbox) -> None:
    """The person who wrote the draft finds it in the form, with Jira's words at the fields."""
    jira = Jira(screen("PROJ", BUG, CUSTOMER))
    jira.draft = refused_draft()
    client = client_of(jira)
    with structlog.testing.capture_logs() as logs:
        async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
            view = await opened(app, slack, click(slack, FIX_BUTTON, SESSION))
            blocks = inputs_of(view)
            assert blocks["summary"]["element"]["initial_value"] == f"It broke {CANARY}"
            assert len(blocks["description"]["element"]["initial_value"]) == 3_000
            assert blocks["customfield_1"]["hint"]["text"].startswith("Customer is required.")
            assert notes_of(view) == ["Not like this."]
            assert await send(app, view, {"customfield_1": "ACME"}) == {}
    (asked, again) = [item for item in client.questions if isinstance(item, DraftLookup)]
    assert asked == again
    actor = asked.actor
    assert isinstance(actor, SlackActor)
    assert (str(asked.session_id), actor.user_id, actor.team_id) == (SESSION, USER, TEAM_ID)
    assert client.forgotten == 2
    (command,) = client.commands
    draft = command.arguments()["draft"]
    assert draft["description"] == "y" * 4_000
    assert (draft["project_key"], draft["issue_type"]) == ("PROJ", "2")
    assert CANARY not in repr(logs)


async def test_a_draft_that_changed_meanwhile_is_not_mixed(slack: SlackSandbox) -> None:
    """What the form did not show whole is refused when it cannot be read again as it was."""
    jira = Jira(screen("PROJ", BUG))
    jira.draft = refused_draft()
    client = client_of(jira)
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack, FIX_BUTTON, SESSION))
        jira.draft = jira.draft.model_copy(update={"drafted_at": "1700000003.000000"})
        assert (await send(app, view))["description"] == NOT_READ
        jira.draft = NEVER
        assert (await send(app, view))["description"] == NOT_READ
        assert await send(app, view, {"description": "short"}) == {}
    (command,) = client.commands
    assert command.arguments()["draft"]["description"] == "short"


@pytest.mark.parametrize(
    ("draft", "note"), [(DraftFound(outcome="none"), texts.NOT_YOURS), (NEVER, texts.DRAFT_NOT_READ)]
)
async def test_for_others_the_form_is_empty(slack: SlackSandbox, draft: Any, note: str) -> None:
    """For others, and where the draft is not there in time, the form is empty and says so."""
    slack.workspace.add(CHANNEL, USER, "It broke", ts=THREAD)
    jira = Jira(screen("PROJ", TASK, CUSTOMER))
    jira.draft = draft
    async with running_app(client_of(jira), slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack, FIX_BUTTON, SESSION))
    assert note in notes_of(view)
    assert all("initial_value" not in inputs_of(view)[name]["element"] for name in ("summary", "description"))


async def test_a_long_first_message_is_read_again(slack: SlackSandbox) -> None:
    """A first message that the input shows cut becomes the whole summary, unless the person changes it."""
    slack.workspace.add(CHANNEL, USER, "x" * 5_000, ts=THREAD)
    client = client_of(Jira(screen()))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        view = await opened(app, slack, click(slack))
        assert len(inputs_of(view)["summary"]["element"]["initial_value"]) == 3_000
        assert await send(app, view) == {}
        slack.fail("conversations.replies", Refused("not_in_channel"))
        assert await send(app, view) == {"summary": NOT_READ}
        assert await send(app, view, {"summary": "short"}) == {}
    drafts = [command.arguments()["draft"]["summary"] for command in client.commands]
    assert drafts == ["x" * 5_000, "short"]


async def test_a_fix_without_a_session_is_told(slack: SlackSandbox) -> None:
    """A fix button whose payload names no session opens nothing, and its user is told."""
    async with running_app(client_of(Jira()), slack_api_url=slack.api_url, jira_url=JIRA) as app:
        await app.deliver(click(slack, FIX_BUTTON, "nonsense"))
        await eventually(lambda: slack.responses, "the user is told")
    assert slack.calls("views.open") == ()


async def test_a_guest_changes_nothing_in_a_form(slack: SlackSandbox) -> None:
    """A guest's change of a form asks nothing of Jira, and a guest's fix is refused."""
    slack.workspace.people[USER] = {"is_restricted": True}
    client = client_of(Jira(screen()))
    async with running_app(client, slack_api_url=slack.api_url, jira_url=JIRA) as app:
        # Whether people may be asked about is known once Slack has told our scopes.
        await eventually(lambda: slack.calls("auth.test"), "we are known")
        await app.deliver(click(slack, FIX_BUTTON, SESSION))
        await eventually(lambda: slack.responses, "the guest is told")
    assert slack.responses[0]["text"] == replies.MAY_NOT_ACT
    assert slack.calls("views.open") == ()
    assert client.questions == []
