"""The console in a browser: failures are found, explained and fixed; the audit trail says by whom.

``THREADSYNC_SCREENSHOTS=1 pytest tests/long/test_console_browser.py`` also writes docs/img.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox.jira.faults import Refuse
from sandbox.jira.server import JiraSandbox
from sandbox.slack.server import SlackSandbox
from tests.support.browser import browser, needs_browser
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from tests.support.web import WebProcess
from tests.support.workers import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "open-sesame-to-42-ostriches"
THREAD = {"channel_id": "C0123ABC", "thread_ts": "1700000000.000100"}
LOST = {"channel_id": "C0123ABC", "thread_ts": "1700000500.000200"}
PICTURES = ROOT / "docs" / "img"
pytestmark = needs_browser


@dataclass
class Console:
    """A signed-in page of the console, and all complaints of its browser."""

    page: Page
    url: str
    complaints: list[str]

    def picture(self, name: str) -> None:
        if os.environ.get("THREADSYNC_SCREENSHOTS"):
            PICTURES.mkdir(exist_ok=True)
            self.page.screenshot(path=PICTURES / f"console-{name}.png", full_page=True)

    def is_as_wide_as_the_screen(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def signed_in(chromium: Browser, web: WebProcess, **options: object) -> Console:
    page = chromium.new_context(**options).new_page()  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{web.url}/console/")
    page.get_by_label("Your name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    return Console(page, f"{web.url}/console", complaints)


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        slack.workspace.channel_facts[THREAD["channel_id"]] = {"name": "ops"}
        slack.workspace.people["U0456"] = {"profile": {"display_name": "Ada Lovelace"}}
        slack.workspace.people["U0789"] = {"profile": {"display_name": "Grace Hopper"}}
        yield slack


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        yield jira


def blocked(installation: Installation) -> bool:
    from worker.db.pool import new_pool
    from worker.db.syncs.store import SyncStore

    with new_pool(installation.database_url) as pool:
        return bool(SyncStore(pool).list_syncs("blocked"))


def test_what_failed_is_found_and_mended(
    installation: Installation, jira: JiraSandbox, slack: SlackSandbox
) -> None:
    """A blocked sync gets its ticket by Retry, a dead letter its effect by Replay; both are in the trail."""
    # A required field that no draft has: the sync needs attention.
    jira.site.fail("create", Refuse(422, (), {"customfield_10010": "Team is required."}))
    settings = {
        "THREADSYNC_CONSOLE_PASSWORD": PASSWORD,
        "JIRA_URL": jira.url,
        "JIRA_EMAIL": jira.email,
        "JIRA_API_TOKEN": jira.token,
        "JIRA_PROJECT_KEY": "PROJ",
    }
    beat = ("--beat", "--schedule", str(installation.logs / "beat"))
    with ExitStack() as stack:
        stack.enter_context(installation.worker("console", *beat, **settings))
        names = {"SLACK_BOT_TOKEN": slack.token, "SLACK_API_URL": slack.api_url}
        env = {**installation.env, **settings, **names}
        web = stack.enter_context(WebProcess(env, installation.logs / "web.log"))
        chromium = stack.enter_context(browser())
        installation.send("sessions.get_or_create", **THREAD, user_id="U0456").get(timeout=20)
        draft = {"summary": "Export fails", "description": "It *stops* at 90 %"}
        installation.send("sessions.request_sync", **THREAD, draft=draft, drafted_at="1700000001.000100")
        installation.send("sessions.mark_synced", **LOST, jira_key="PROJ-77")
        installation.dead_letter(lambda letter: letter.task_name == "sessions.mark_synced", 30)
        installation.send("sessions.get_or_create", **LOST, user_id="U0789").get(timeout=20)
        wait_until(lambda: blocked(installation), "Jira has refused", 30)

        console = signed_in(chromium, web, color_scheme="light")
        page = console.page
        page.get_by_text("Jira's configuration does not allow this ticket").wait_for()
        console.picture("overview")
        page.get_by_role("link", name="#ops, 14 Nov 2023, 22:13 UTC").click()
        page.get_by_text("Team is required").first.wait_for()
        assert "Export fails" not in page.content(), "what people wrote is on a page of its own"
        page.get_by_label("Reason").first.fill("the field is not required any more")
        console.picture("session")
        page.get_by_role("button", name="Retry").click()
        page.get_by_text("Retried. A worker takes it up within seconds.").wait_for()

        def is_done() -> bool:
            page.reload()
            return page.get_by_role("link", name="PROJ-1").count() > 0

        wait_until(is_done, "the ticket appears", 30)
        assert [issue.key for issue in jira.site.issues] == ["PROJ-1"]

        with page.expect_navigation():
            page.get_by_role("link", name="Dead letters").click()
        with page.expect_navigation():
            page.get_by_role("link", name="sessions.mark_synced").click()
        page.get_by_label("Reason").first.fill("its session is there now")
        console.picture("dead-letter")
        page.get_by_role("button", name="Replay").click()
        page.get_by_text("Sent sessions.mark_synced again").wait_for()
        keys = {THREAD["thread_ts"]: "PROJ-1", LOST["thread_ts"]: "PROJ-77"}
        wait_until(
            lambda: {session.thread_ts: session.jira_key for session in installation.sessions()} == keys,
            "the command has run",
            20,
        )

        with page.expect_navigation():
            page.get_by_role("link", name="Audit trail").click()
        rows = page.get_by_role("row").all_inner_texts()
        for decided in (
            ("ada", "replay", "its session is there now"),
            ("ada", "retry", "not required any more"),
        ):
            assert any(all(part in row for part in decided) for row in rows), rows
        console.picture("audit")

        with page.expect_navigation():
            page.get_by_role("link", name="Sessions", exact=True).click()
        page.get_by_label("Search").fill("proj-77")
        with page.expect_navigation():
            page.get_by_label("Search").press("Enter")
        page.get_by_role("link", name="#ops, 14 Nov 2023, 22:21 UTC").wait_for()
        assert page.get_by_title("U0789").inner_text() == "Grace Hopper"
        assert page.get_by_role("row").count() == 2
        console.picture("sessions")
        assert console.complaints == []

        the_phone(chromium, web)
        the_keyboard(chromium, web, installation)
        assert PASSWORD not in web.log
        assert "Export fails" not in web.log


def the_phone(chromium: Browser, web: WebProcess) -> None:
    """Check that nothing is wider than a small screen, also in dark mode."""
    console = signed_in(chromium, web, color_scheme="dark", viewport={"width": 360, "height": 740})
    for path in (
        "/",
        "/sessions",
        "/syncs?state=done",
        "/dead?state=retried",
        "/audit",
        "/channels/C0123ABC",
    ):
        console.page.goto(console.url + path)
        assert console.is_as_wide_as_the_screen(), path
        if path == "/":
            console.picture("phone-dark")
    assert console.complaints == []


def the_keyboard(chromium: Browser, web: WebProcess, installation: Installation) -> None:
    """Discard a dead letter without a mouse, by Tab, Enter and typing."""
    installation.send(
        "sessions.mark_synced", channel_id="C9", thread_ts="1700000900.000100", jira_key="PROJ-9"
    )
    letter = installation.dead_letter(lambda letter: "1700000900" in (letter.arguments or ""), 30)
    console = signed_in(chromium, web)
    page = console.page
    page.goto(f"{console.url}/dead/{letter.id}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Discard":
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("nobody wants it")
    page.keyboard.press("Enter")
    page.get_by_text("Discarded by ada").wait_for()
    assert console.complaints == []
