"""The playground in a browser: a newcomer's path, and what another site's page can do, which is nothing.

``THREADSYNC_SCREENSHOTS=1 pytest tests/long/test_playground_browser.py`` also writes docs/img.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.support.browser import browser, needs_browser
from tests.support.up import JIRA, Up
from tests.support.waiting import wait_until
from tests.support.workers import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [needs_browser, pytest.mark.timeout(600)]

PICTURES = ROOT / "docs" / "img"
REBOUND: Final = "rebound.example.com"
OTHER_SITE: Final = "other.example.org"
_PATIENCE_MS: Final = 60_000
_AFTER_A_KILL_SECONDS: Final = 200
"""A killed worker's sync waits for its lease, which is two minutes."""


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Start `threadsync up` without any setting."""
    data = tmp_path_factory.mktemp("playing") / "data"
    up = Up(data, "--without-flower", **dict.fromkeys(JIRA, ""))
    try:
        yield up.wait_until_ready()
    finally:
        up.end()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    rules = f"MAP {REBOUND} 127.0.0.1, MAP {OTHER_SITE} 127.0.0.1"
    with browser(f"--host-resolver-rules={rules}") as chromium:
        yield chromium


class Newcomer:
    """Somebody who has the playground open, and all complaints of the browser."""

    def __init__(self, page: Page, site: str) -> None:
        self.page = page
        page.set_default_timeout(_PATIENCE_MS)
        self.complaints: list[str] = []
        page.on("console", lambda item: self.complaints.append(item.text) if item.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(site)
        page.get_by_text("Connected", exact=True).wait_for()

    @property
    def thread(self) -> Locator:
        return self.page.locator("#thread")

    def write(self, text: str) -> None:
        """Write a message in the channel."""
        self.page.get_by_label("Message #support").fill(text)
        self.page.locator("#channel-composer").get_by_role("button", name="Send").click()
        self.page.locator("#channel-messages").get_by_text(text).wait_for()

    def open_thread(self, text: str) -> None:
        """Open the thread of a message."""
        message = self.page.locator("#channel-messages li", has_text=text)
        message.get_by_role("button", name="Reply in thread").click()
        self.thread.get_by_text(text).wait_for()

    def reply(self, text: str) -> None:
        """Write in the open thread; by the keyboard alone."""
        field = self.page.get_by_label("Reply in the thread")
        field.fill(text)
        field.press("Enter")

    def ask_for_ticket(self, summary: str, description: str = "") -> None:
        """Press the button of the bot's reply, and send the form."""
        self.thread.get_by_role("button", name="Create ticket …").click()
        form = self.page.get_by_role("dialog")
        form.get_by_label("Summary").fill(summary)
        if description:
            form.get_by_label("Description").fill(description)
        self.picture("form")
        form.get_by_role("button", name="Create", exact=True).click()
        form.wait_for(state="hidden")

    def tickets(self) -> list[str]:
        return self.page.locator("#tickets h3").all_inner_texts()

    def picture(self, name: str) -> None:
        if os.environ.get("THREADSYNC_SCREENSHOTS"):
            self.page.screenshot(path=PICTURES / f"playground-{name}.png")


def test_a_newcomer_gets_one_ticket_each_time(playing: Up, chromium: Browser) -> None:
    """Without an account a newcomer makes a ticket, and another whose answer is lost: one each.

    The worker that makes them is killed meanwhile. All of it takes less than five minutes.
    """
    began = time.monotonic()
    page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(playing.address("Start page"))
    site = page.locator("a[href$='/playground/']").get_attribute("href")
    assert site is not None
    ada = Newcomer(page, site)

    ada.write("The export stops at page two")
    ada.open_thread("The export stops at page two")
    ada.reply("It is the same for me, *since Monday*")
    ada.reply("@threadsync please make a ticket")
    ada.ask_for_ticket("Export stops at page two", "Since Monday, for everybody.")
    page.locator("#ticket-PLAY-1").wait_for()
    ada.thread.get_by_role("button", name="PLAY-1").wait_for()
    assert ada.tickets() == ["PLAY-1 Export stops at page two"]

    page.get_by_label("Jira loses the answer").check()
    page.get_by_role("button", name="Close the thread").click()
    ada.write("@threadsync the invoices show yesterday's date")
    ada.ask_for_ticket("Invoices show yesterday's date")
    ada.thread.get_by_text("Confirming with Jira").wait_for()
    page.locator("#ticket-PLAY-2").wait_for()
    ada.picture("confirming")
    page.get_by_role("button", name="Kill: Worker that makes tickets").click()
    page.get_by_text("Killed process").wait_for()
    told = ada.thread.get_by_role("button", name="PLAY-2")
    wait_until(lambda: told.count() == 1, "the thread has its ticket", _AFTER_A_KILL_SECONDS)
    assert ada.tickets() == ["PLAY-2 Invoices show yesterday's date", "PLAY-1 Export stops at page two"]
    assert time.monotonic() - began < 300
    page.get_by_label("Jira loses the answer").uncheck()
    assert ada.complaints == []


def test_a_guest_is_told_in_private(playing: Up, chromium: Browser) -> None:
    """A guest's command changes nothing, and its one sentence is seen by the guest alone."""
    newcomer = Newcomer(chromium.new_page(), playing.address("Playground"))
    page = newcomer.page
    page.get_by_label("You are").select_option(label="Gus (guest)")
    page.get_by_label("Message #support").fill("/ticket ready")
    page.get_by_label("Message #support").press("Enter")
    page.get_by_text("I act only for members").wait_for()
    assert "Only visible to you" in page.locator("#channel-messages li.private").last.inner_text()
    page.get_by_label("You are").select_option(label="Ada")
    assert page.get_by_text("I act only for members").count() == 0
    assert newcomer.complaints == []


def test_escape_closes_the_form(playing: Up, chromium: Browser) -> None:
    """The form takes the focus, says what is missing at its input, and Escape closes it."""
    newcomer = Newcomer(chromium.new_page(), playing.address("Playground"))
    page = newcomer.page
    newcomer.write("@threadsync the graph is empty")
    newcomer.thread.get_by_role("button", name="Create ticket …").click()
    form = page.get_by_role("dialog", name="Create a Jira ticket")
    summary = form.get_by_label("Summary")
    summary.wait_for()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    summary.fill("")
    form.get_by_role("button", name="Create", exact=True).click()
    form.get_by_text("Please complete this required field.").wait_for()
    assert summary.get_attribute("aria-invalid") == "true"
    page.keyboard.press("Escape")
    form.wait_for(state="hidden")
    wait_until(lambda: not state_of(playing)["views"], "the server knows that it is closed")
    assert newcomer.complaints == []


@pytest.mark.parametrize(("width", "has_both"), [(390, False), (800, False), (1100, False), (1440, True)])
def test_it_fits_every_width(playing: Up, chromium: Browser, width: int, has_both: bool) -> None:
    """Nothing is wider than the screen. Where both have no room, a thread takes the place of its channel."""
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme="dark")
    newcomer = Newcomer(context.new_page(), playing.address("Playground"))
    fits = "document.documentElement.scrollWidth <= window.innerWidth"
    text = f"A screen of {width} pixels shows {'a-long-word' * 20}"
    newcomer.write(text)
    assert newcomer.page.evaluate(fits)
    newcomer.open_thread(text)
    newcomer.reply("It has room for answers")
    newcomer.thread.get_by_text("It has room for answers").wait_for()
    assert newcomer.page.evaluate(fits)
    assert newcomer.page.locator("#channel").is_visible() == has_both
    newcomer.page.get_by_role("button", name="Close the thread").click()
    newcomer.page.get_by_label("Message #support").wait_for()
    assert newcomer.page.get_by_label("Jira loses the answer").is_visible()


_REACHES: Final = "async (site) => (await fetch(site, {mode: 'no-cors'})).type"
_TRIES: Final = """async (site) => {
  const said = [];
  const body = JSON.stringify({name: "slack_is_away", on: true});
  for (const options of [
    {mode: "no-cors", method: "POST", body},
    {method: "POST", body},
    {method: "POST", body, headers: {"content-type": "application/json", "x-playground-token": "x"}},
  ]) {
    try { said.push((await fetch(site + "act/switch", options)).type); } catch { said.push("failed"); }
  }
  try { said.push(await (await fetch(site + "state")).text()); } catch { said.push("failed"); }
  return said;
}"""


@pytest.mark.parametrize("host", [OTHER_SITE, "127.0.0.1", "localhost"])
def test_another_sites_page_presses_no_button(playing: Up, chromium: Browser, host: str) -> None:
    """A page of another origin in the same browser changes nothing and reads nothing.

    Another server on this machine is another origin, too.
    """
    page = chromium.new_page()
    with another_site() as port:
        page.goto(f"http://{host}:{port}/")
        other = f"http://{'127.0.0.1' if host == 'localhost' else 'localhost'}:{port}/"
        assert page.evaluate(_REACHES, other) == "opaque", "a page may send to other origins as such"
        said = page.evaluate(_TRIES, playing.address("Playground"))
    assert said == ["failed"] * 4
    assert switches_of(playing) == {"slack_is_away": False}


@contextmanager
def another_site() -> Iterator[int]:
    """Serve an empty page that allows its scripts everything; yield its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Another site</title>")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_name_that_leads_here_presses_no_button(playing: Up, chromium: Browser) -> None:
    """A name that resolves to this machine gets no page, so no token, and its requests change nothing."""
    site = playing.address("Playground").replace("127.0.0.1", REBOUND)
    page = chromium.new_page()
    answer = page.goto(site)
    assert answer is not None
    assert answer.status == 421
    assert "playground-token" not in page.content()
    page.evaluate(_TRIES, site)
    assert switches_of(playing) == {"slack_is_away": False}


def state_of(playing: Up) -> dict[str, Any]:
    return dict(httpx.get(f"{playing.address('Playground')}state").json())


def switches_of(playing: Up) -> dict[str, bool]:
    return {
        item["name"]: item["on"] for item in state_of(playing)["switches"] if item["name"] == "slack_is_away"
    }
