"""The form over golden create screens: handlers, broker, workers and Postgres are real, Jira is the sandbox.

Hypothesis draws which fields a screen has and what a person enters. Whatever it is, one ticket is made of it,
or the form or Jira refuses it at the right inputs; there are never two tickets, and never a 500.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import psycopg
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings

from handlers.form import texts
from handlers.form.draft import NOT_CHECKED, NOT_READ
from handlers.mapping import CREATE_BUTTON
from sandbox.slack.requests import TEAM_ID, app_mention, button_click, signed_request
from sandbox.slack.server import SlackSandbox
from sandbox.slack.workspace import Message
from tests.support.block_kit import changed_in, check_view, state_of
from tests.support.create_screens import DEPLOYMENTS
from tests.support.form_attempts import ACCOUNTS, ADDRESSES, GROUPS, is_made_of, is_needed
from tests.support.form_stories import Story, stories
from tests.support.golden_jira import GoldenJira
from tests.support.installation import Installation
from tests.support.scale import bounded
from tests.support.slack_app import SECRET, SlackApp, running_app
from tests.support.waiting import wait_until
from threadsync import SessionClient
from worker.jira.answers import Deployment
from worker.text.slack_names import FIX_BUTTON

USER: Final = "U0456"
_MOST_PRESSES: Final = 5
_STANDS: Final = frozenset({"done", "failed", "blocked", "review"})


@dataclass
class World:
    """All that a form meets; one for all examples."""

    installation: Installation
    jira: GoldenJira
    slack: SlackSandbox
    app: SlackApp
    portal: BlockingPortal
    client: SessionClient
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@pytest.fixture(params=DEPLOYMENTS)
def world(request: pytest.FixtureRequest, installation: Installation) -> Iterator[World]:
    deployment: Deployment = request.param
    with (
        GoldenJira(deployment, ACCOUNTS[deployment], GROUPS) as jira,
        SlackSandbox() as slack,
        start_blocking_portal() as portal,
        SessionClient(installation.broker_url) as client,
    ):
        slack.workspace.people.update(
            {user: {"profile": {"email": address}} for user, address in ADDRESSES.items()}
        )
        env = {
            "SLACK_BOT_TOKEN": slack.token,
            "SLACK_API_URL": slack.api_url,
            "JIRA_URL": jira.url,
            "JIRA_API_TOKEN": jira.site.token,
            "JIRA_PROJECT_KEY": "PROJ",
            "JIRA_DEPLOYMENT": deployment,
            **({"JIRA_EMAIL": jira.site.email} if deployment == "cloud" else {}),
        }
        app = running_app(
            celery_broker_url=installation.broker_url, slack_api_url=slack.api_url, jira_url=jira.url
        )
        with installation.worker(**env), portal.wrap_async_context_manager(app) as running:
            yield World(installation, jira, slack, running, portal, client)


@pytest.mark.bounded
def test_a_form_makes_one_ticket_or_is_refused_where_it_is_wrong(world: World) -> None:
    """Whatever Jira demands and whatever is entered: one ticket of it, or words at the right inputs."""

    @given(stories(world.jira.deployment))
    @settings(
        max_examples=bounded(80, 8),
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        # A story takes seconds, so a shorter one is not looked for.
        phases=(Phase.generate,),
    )
    def tell(story: Story) -> None:
        Telling(world, story).tell()

    tell()


class Telling:
    """One story, told in a thread and a project of its own."""

    def __init__(self, world: World, story: Story) -> None:
        self._world = world
        self._story = story
        number = next(world.numbers)
        self._channel, self._thread = f"C{number:07d}", f"{1_700_000_000 + number}.000100"
        self._project = f"F{number}"
        self._sent_at = time.time() - 60
        self._task, self._bug = world.jira.types["Task"], world.jira.types["Bug"]

    def tell(self) -> None:
        story, jira = self._story, self._world.jira
        jira.show(self._project, self._task, story.before if story.before is not None else story.entries)
        if story.before is not None:
            jira.show(self._project, self._bug, story.entries)
        setting = {"threadsync": {"project_key": self._project}}
        self._world.client.merge_context(self._channel, setting).get(20)
        self._deliver(app_mention(self._channel, USER, "It broke", ts=self._thread))
        view = self._press(self._message(lambda message: CREATE_BUTTON in str(message.blocks)), CREATE_BUTTON)
        if story.before is not None:
            view = self._choose_another_type(view)
        self._check(view)
        entered = {name: attempt.entered for name, attempt in story.first.items()}
        errors = self._submit(view, entered)
        assert set(errors) == {self._block(view, name) for name in story.refused("form")}
        if errors:
            assert self._states() == []
            by_form = {name: story.last[name].entered for name in story.refused("form")}
            assert self._submit(view, {**entered, **by_form}) == {}
        wait_until(lambda: set(self._states()) & _STANDS, "Jira has answered", 30)
        if story.refused("jira"):
            self._fix()
        if story.cannot_be_asked:
            wait_until(lambda: set(self._states()) <= {"failed", "blocked"}, "Jira has refused it", 30)
            assert self._tickets() == []
            return
        wait_until(lambda: self._states() == ["done"], "the ticket is there", 30)
        (ticket,) = self._tickets()
        self._compare(jira.fields_of(ticket))

    def _choose_another_type(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Choose the other issue type: only what is below it changes."""
        self._deliver(changed_in(before, "issuetype", self._bug, USER))
        view = self._view(lambda view: f'"type": "{self._bug}"' in view["private_metadata"])
        old, new = _inputs(before), _inputs(view)
        same = {"project", "summary", "description"} & set(old) & set(new)
        assert all({**old[name], "optional": new[name]["optional"]} == new[name] for name in same)
        return view

    def _check(self, view: Mapping[str, Any]) -> None:
        asked = set(_inputs(view)) - {"project", "issuetype"}
        assert asked == self._story.asked
        notes = " ".join(_notes(view))
        assert all(name in notes for name in self._story.cannot_be_asked)
        needed = {entry["fieldId"] for entry in self._story.entries if is_needed(entry)}
        assert {name for name, block in _inputs(view).items() if not block["optional"]} == (
            (needed & asked) | ({"project", "issuetype"} & set(_inputs(view)))
        )
        if self._story.before is None:
            types = _inputs(view)["issuetype"]["element"]["options"]
            assert [option["text"]["text"] for option in types] == ["Task"]

    def _fix(self) -> None:
        """Correct what Jira refused, with its words at the inputs; the rest stays as it was entered."""
        story = self._story
        assert self._tickets() == []
        message = self._message(lambda message: FIX_BUTTON in str(message.blocks))
        view = self._press(message, FIX_BUTTON)
        said = self._world.jira.refused[self._project]
        at_inputs = {
            name for name, block in _inputs(view).items() if _hint(block).startswith(said.get(name, "\0"))
        }
        assert at_inputs == story.refused("jira")
        changes = {name: story.last[name].entered for name in at_inputs}
        assert self._submit(view, changes) == {}

    def _compare(self, fields: Mapping[str, Any]) -> None:
        """Compare the ticket with what was entered."""
        for name, attempt in self._story.last.items():
            if attempt.value is None:
                continue
            if name == "labels":
                assert set(attempt.value) <= set(fields["labels"])
            else:
                assert is_made_of(fields.get(name), attempt.value), name

    def _submit(self, view: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, str]:
        """Send the form, and return the errors by block; each later one is a second later."""
        self._sent_at += 1
        entered = {name: change for name, change in changes.items() if change is not None}
        payload = {
            "type": "view_submission",
            "team": {"id": TEAM_ID},
            "user": {"id": USER, "team_id": TEAM_ID},
            "trigger_id": "1.1",
            "view": {**view, "state": {"values": state_of(view, entered)}},
        }
        first = self._answered(payload)
        if self._story.twice:
            # A draft that the first one replaced cannot be read again.
            again = self._errors(payload)
            assert again == first or set(again.values()) <= {NOT_CHECKED, NOT_READ}
        return first

    def _answered(self, payload: Mapping[str, Any]) -> dict[str, str]:
        """Send it until it could be checked: a worker may have been too slow, and a person presses again."""
        for _ in range(_MOST_PRESSES):
            errors = self._errors(payload)
            if not {NOT_CHECKED, NOT_READ} & set(errors.values()):
                return errors
        raise AssertionError("the form cannot be checked")

    def _errors(self, payload: Mapping[str, Any]) -> dict[str, str]:
        response = self._deliver(payload, self._sent_at)
        return dict(response.json()["errors"]) if response.text else {}

    def _deliver(self, payload: Mapping[str, Any], at: float | None = None) -> httpx.Response:
        request = signed_request(SECRET, payload, at)
        response: httpx.Response = self._world.portal.call(self._world.app.deliver, request)
        assert response.status_code == 200
        return response

    def _press(self, message: Message, button: str) -> dict[str, Any]:
        """Press a button until the form has its fields: a worker may have been too slow for the first one."""
        for _ in range(_MOST_PRESSES):
            view = self._pressed(message, button)
            if not {texts.NO_FIELDS, texts.DRAFT_NOT_READ} & set(_notes(view)):
                return view
        raise AssertionError("the form never has its fields")

    def _pressed(self, message: Message, button: str) -> dict[str, Any]:
        self._world.slack.workspace.views.clear()
        elements = [item for block in message.blocks for item in block.get("elements", ())]
        (value,) = [item["value"] for item in elements if item["action_id"] == button]
        click = button_click(
            button,
            value,
            self._channel,
            USER,
            message_ts=message.ts,
            thread_ts=self._thread,
            response_url=self._world.slack.new_response_url(),
        )
        self._deliver(click)
        return self._view(lambda view: "submit" in view)

    def _view(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        views = self._world.slack.workspace.views
        wait_until(lambda: any(map(is_wanted, views)), "the form is open", 10)
        (view,) = views
        ours = ("type", "callback_id", "private_metadata", "title", "submit", "close", "blocks")
        check_view({name: view[name] for name in ours if name in view})
        return dict(view)

    def _message(self, is_wanted: Callable[[Message], bool]) -> Message:
        def found() -> list[Message]:
            ours = [item for item in self._world.slack.messages if item.channel == self._channel]
            return [item for item in ours if is_wanted(item)]

        wait_until(found, "the message is there", 20)
        return found()[-1]

    def _block(self, view: Mapping[str, Any], name: str) -> str:
        return str(_inputs(view)[name]["block_id"])

    def _states(self) -> list[str]:
        with psycopg.connect(self._world.installation.database_url) as connection:
            rows = connection.execute(
                "SELECT s.state FROM syncs s JOIN thread_sessions t ON t.id = s.session_id "
                "WHERE t.channel_id = %s",
                [self._channel],
            ).fetchall()
        return [state for (state,) in rows]

    def _tickets(self) -> list[str]:
        """Return the keys of the story's tickets in Jira."""
        return [issue.key for issue in self._world.jira.site.issues if issue.project == self._project]


def _inputs(view: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        block["block_id"].partition("#")[0]: block for block in view["blocks"] if block["type"] == "input"
    }


def _notes(view: Mapping[str, Any]) -> list[str]:
    return [block["text"]["text"] for block in view["blocks"] if block["type"] == "section"]


def _hint(block: Mapping[str, Any]) -> str:
    return str(block.get("hint", {}).get("text", ""))
