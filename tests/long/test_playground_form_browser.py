"""A form of every kind of block in a browser: what is typed and chosen is sent as Slack sends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from starlette.responses import JSONResponse, Response

from sandbox.jira.site import JiraSite
from sandbox.playground.app import Place, Playground
from sandbox.playground.server import PlaygroundServer
from sandbox.slack.server import SlackSandbox
from tests.support.browser import browser, needs_browser
from tests.support.playground import SECRET, Endpoint
from tests.support.waiting import wait_until
from worker.local.servers.port import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [needs_browser, pytest.mark.timeout(120)]

_PATIENCE_MS: Final = 20_000


def plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def options(*texts: str) -> list[dict[str, Any]]:
    return [{"text": plain(text), "value": text.lower()} for text in texts]


def asks(name: str, element: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Make an input with the label, the block id and the action id ``name``."""
    return {
        "type": "input",
        "block_id": name,
        "label": plain(name),
        "element": {**element, "action_id": name},
        **more,
    }


COLOURS = options("Red", "Green")
KINDS: Final[list[dict[str, Any]]] = [
    {"type": "header", "text": plain("All of it")},
    {"type": "section", "text": {"type": "mrkdwn", "text": "Some *bold* words and <@U0ADA>"}},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "a note"}]},
    {"type": "divider"},
    asks("Summary", {"type": "plain_text_input", "max_length": 255}),
    asks("Steps", {"type": "plain_text_input", "multiline": True}, optional=True, hint=plain("One a line.")),
    asks("Users", {"type": "number_input", "is_decimal_allowed": True}, optional=True),
    asks("Day", {"type": "datepicker", "initial_date": "2026-12-24"}, optional=True),
    asks("Time", {"type": "timepicker"}, optional=True),
    asks("Seen", {"type": "datetimepicker", "initial_date_time": 1_772_236_800}, optional=True),
    asks("Colour", {"type": "static_select", "options": COLOURS, "initial_option": COLOURS[0]}),
    asks("Colours", {"type": "multi_static_select", "options": COLOURS}, optional=True),
    asks("Severity", {"type": "radio_buttons", "options": options("Minor", "Major")}, optional=True),
    asks("Checks", {"type": "checkboxes", "options": options("Read", "Asked")}, optional=True),
    asks("Approver", {"type": "users_select"}, optional=True),
    asks("Watchers", {"type": "multi_users_select"}, optional=True),
    asks("Dashboard", {"type": "url_text_input"}, optional=True),
    asks("Mail", {"type": "email_text_input"}, optional=True),
    asks("Server", {"type": "external_select", "min_query_length": 1}, optional=True),
]


def view(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": "form",
        "title": plain("Every kind"),
        "submit": plain("Send"),
        "private_metadata": "about",
        "blocks": blocks,
    }


@dataclass
class App:
    """An app with one form, and the page on which it is opened."""

    slack: SlackSandbox
    endpoint: Endpoint
    page: Page

    @property
    def form(self) -> Locator:
        return self.page.get_by_role("dialog")

    def open(self) -> str:
        """Open the form by the command; return the view's id."""
        self.page.get_by_label("Message #support").fill("/ticket form")
        self.page.get_by_label("Message #support").press("Enter")
        self.form.wait_for()
        return str(self.slack.workspace.views[-1]["id"])

    def sent(self, kind: str) -> dict[str, Any]:
        """Wait for a payload of that kind, and return the newest."""
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            found[:] = [item for item in self.endpoint.payloads if item.get("type") == kind]
            return bool(found)

        wait_until(arrived, f"a {kind} is there")
        return found[-1]


@contextmanager
def serving(port: int) -> Iterator[SlackSandbox]:
    """Run a playground whose app accepts everything; yield its Slack."""
    place = Place(port, "http://127.0.0.1:3000/slack/events", "http://127.0.0.1:8080")
    slack, web = SlackSandbox(), httpx.ASGITransport(Endpoint().app())
    playground = Playground(slack, JiraSite(), place, SECRET, transport=web)
    with slack, PlaygroundServer(playground, port):
        yield slack


@contextmanager
def app(chromium: Browser, blocks: list[dict[str, Any]]) -> Iterator[App]:
    """Run an app that opens a form of these blocks at each command."""
    port, endpoint = free_port(), Endpoint()
    context = chromium.new_context(timezone_id="America/New_York")
    with SlackSandbox() as slack:

        def answer(payload: dict[str, Any]) -> Response:
            if "command" in payload:
                arguments = {"trigger_id": payload["trigger_id"], "view": view(blocks)}
                slack.workspace.call("views.open", arguments)
            if payload.get("type") == "block_suggestion":
                return JSONResponse({"options": options(f"{payload['value']} 1", f"{payload['value']} 2")})
            return Response()

        endpoint.answer = answer
        place = Place(port, "http://127.0.0.1:3000/slack/events", "http://127.0.0.1:8080")
        transport = httpx.ASGITransport(endpoint.app())
        with PlaygroundServer(Playground(slack, JiraSite(), place, SECRET, transport=transport), port):
            page = context.new_page()
            page.set_default_timeout(_PATIENCE_MS)
            page.goto(f"http://127.0.0.1:{port}/playground/")
            page.get_by_text("Connected", exact=True).wait_for()
            yield App(slack, endpoint, page)
    context.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


def test_every_kind_of_block(chromium: Browser) -> None:
    """Each input has its label, and its value is in the submission under Slack's name."""
    with app(chromium, KINDS) as here:
        here.open()
        form = here.form
        assert form.get_by_text("Some bold words and @Ada").count() == 1
        fill(form)
        form.get_by_role("button", name="Send").click()
        form.wait_for(state="hidden")
        submission = here.sent("view_submission")
    assert (submission["user"]["id"], submission["view"]["private_metadata"]) == ("U0ADA", "about")
    values = submission["view"]["state"]["values"]
    assert {name: value[name] for name, value in values.items()} == {
        "Summary": {"type": "plain_text_input", "value": "It <b>broke</b> & burnt"},
        "Steps": {"type": "plain_text_input", "value": "One\nTwo"},
        "Users": {"type": "number_input", "value": "1.5"},
        "Day": {"type": "datepicker", "selected_date": "2026-12-24"},
        "Time": {"type": "timepicker", "selected_time": "23:05"},
        "Seen": {"type": "datetimepicker", "selected_date_time": 1_782_907_200},
        "Colour": {"type": "static_select", "selected_option": COLOURS[1]},
        "Colours": {"type": "multi_static_select", "selected_options": COLOURS},
        "Severity": {"type": "radio_buttons", "selected_option": options("Major")[0]},
        "Checks": {"type": "checkboxes", "selected_options": options("Asked")},
        "Approver": {"type": "users_select", "selected_user": "U0BEN"},
        "Watchers": {"type": "multi_users_select", "selected_users": ["U0ADA", "U0CLEO"]},
        "Dashboard": {"type": "url_text_input", "value": "https://example.com/a?b=c"},
        "Mail": {"type": "email_text_input", "value": "ada@example.com"},
        "Server": {"type": "external_select", "selected_option": options("eu 2")[0]},
    }


def fill(form: Locator) -> None:
    """Fill in the form as a person does, by its labels."""
    form.get_by_label("Summary").fill("It <b>broke</b> & burnt")
    form.get_by_label("Steps").fill("One\nTwo")
    form.get_by_label("Users").fill("1.5")
    form.get_by_label("Time").fill("23:05")
    # New York's clock: four hours behind UTC in July.
    form.get_by_label("Seen").fill("2026-07-01T08:00")
    form.get_by_label(re.compile("^Colour$")).select_option(label="Green")
    for group, choices in {
        "Colours": ["Red", "Green"],
        "Checks": ["Asked"],
        "Watchers": ["Ada", "Cleo"],
    }.items():
        for choice in choices:
            form.get_by_role("group", name=group).get_by_label(choice).check()
    form.get_by_role("group", name="Severity").get_by_label("Major").check()
    form.get_by_label("Approver").select_option(label="Ben")
    form.get_by_label("Dashboard").fill("https://example.com/a?b=c")
    form.get_by_label("Mail").fill("ada@example.com")
    form.get_by_label("Server").fill("eu")
    form.get_by_label("eu 2").check()


def test_what_a_form_begins_with(chromium: Browser) -> None:
    """Initial values are shown, and a form that nobody changes sends them."""
    with app(chromium, KINDS) as here:
        here.open()
        here.form.get_by_label("Summary").fill("It broke")
        here.form.get_by_role("button", name="Send").click()
        here.form.wait_for(state="hidden")
        values = here.sent("view_submission")["view"]["state"]["values"]
    assert values["Day"]["Day"]["selected_date"] == "2026-12-24"
    assert values["Seen"]["Seen"]["selected_date_time"] == 1_772_236_800
    assert values["Colour"]["Colour"]["selected_option"] == COLOURS[0]
    assert values["Colours"]["Colours"]["selected_options"] == []
    assert values["Approver"]["Approver"]["selected_user"] is None


def test_a_view_is_replaced_under_what_was_typed(chromium: Browser) -> None:
    """`views.update` replaces the form at once; blocks that stay keep what was typed, and the focus."""
    first = [asks("Summary", {"type": "plain_text_input"}), asks("Team", {"type": "plain_text_input"})]
    with app(chromium, first) as here:
        opened = here.slack.workspace.modals.current(here.open())
        assert opened is not None
        summary = here.form.get_by_label("Summary")
        summary.fill("half a sent")
        other = asks("Colour", {"type": "static_select", "options": COLOURS})
        arguments = {"view_id": opened["id"], "hash": opened["hash"], "view": view([other, first[0]])}
        here.slack.workspace.call("views.update", arguments)
        here.form.get_by_label("Colour").wait_for()
        assert here.form.get_by_label("Team").count() == 0
        here.page.keyboard.type("ence")
        assert summary.input_value() == "half a sentence"


def test_a_form_takes_the_place_of_an_older_one(chromium: Browser) -> None:
    """A form that was left open comes again with the page, and a newer one takes its place."""
    with app(chromium, [asks("Summary", {"type": "plain_text_input"})]) as here:
        here.open()
        here.page.reload()
        here.form.wait_for()
        views = here.slack.workspace.modals
        trigger = views.triggers[views.still_open[0]["id"]]
        here.slack.workspace.call("views.open", {"trigger_id": trigger, "view": view(KINDS)})
        here.form.get_by_label("Steps").wait_for()
        here.page.keyboard.press("Escape")
        here.form.wait_for(state="hidden")
        wait_until(lambda: not views.still_open, "both are closed")


def test_a_page_of_an_earlier_start_reads_all_anew(chromium: Browser) -> None:
    """After a restart the page finds the new playground by itself, with its token."""
    port, page = free_port(), chromium.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    field = page.get_by_label("Message #support")
    for number in (1, 2):
        with serving(port) as slack:
            if number == 1:
                page.goto(f"http://127.0.0.1:{port}/playground/")
            page.get_by_text("Connected", exact=True).wait_for()
            page.get_by_text("There is no message yet").wait_for()
            field.fill(f"hello {number}")
            field.press("Enter")
            page.locator("#channel-messages").get_by_text(f"hello {number}").wait_for()
            assert [message.text for message in slack.messages] == [f"hello {number}"]
        page.get_by_text("Not connected").wait_for()


def test_what_is_wrong_is_said_at_its_input(chromium: Browser) -> None:
    """What Slack's client refuses is said at the input, the focus goes there, and nothing is sent."""
    with app(chromium, KINDS) as here:
        here.open()
        form = here.form
        form.get_by_label("Users").fill("many")
        form.get_by_label("Dashboard").fill("javascript:alert(1)")
        form.get_by_role("button", name="Send").click()
        form.get_by_text("Please complete this required field.").wait_for()
        assert form.get_by_text("Please enter a valid number.").count() == 1
        assert form.get_by_text("Please enter a valid URL.").count() == 1
        assert here.page.evaluate(
            "document.activeElement === document.querySelector('dialog [aria-invalid=true]')"
        )
        assert form.get_by_label("Users").get_attribute("aria-invalid") == "true"
        assert [item for item in here.endpoint.payloads if item.get("type") == "view_submission"] == []


def test_an_errors_answer_keeps_the_form(chromium: Browser) -> None:
    """An answer of ``errors`` is shown at its input, and the form stays with what was typed."""
    with app(chromium, [asks("Summary", {"type": "plain_text_input"})]) as here:
        here.open()
        refusal = {"response_action": "errors", "errors": {"Summary": "Jira wants another one."}}
        here.endpoint.answer = lambda payload: JSONResponse(refusal)
        here.form.get_by_label("Summary").fill("x")
        here.form.get_by_role("button", name="Send").click()
        here.form.get_by_text("Jira wants another one.").wait_for()
        assert here.form.get_by_label("Summary").input_value() == "x"


def test_a_select_that_tells_at_once(chromium: Browser) -> None:
    """A select with ``dispatch_action`` becomes an action with the state of the whole form."""
    project = asks("Project", {"type": "static_select", "options": COLOURS}, dispatch_action=True)
    with app(chromium, [project, asks("Summary", {"type": "plain_text_input"})]) as here:
        here.open()
        here.form.get_by_label("Summary").fill("typed")
        here.form.get_by_label("Project").select_option(label="Green")
        action = here.sent("block_actions")
    assert action["actions"][0]["selected_option"] == COLOURS[1]
    assert action["view"]["state"]["values"]["Summary"]["Summary"]["value"] == "typed"
