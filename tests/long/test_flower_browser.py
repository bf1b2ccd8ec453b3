"""Flower in a browser: a Slack event id finds its task, with arguments and result in sight.

``THREADSYNC_SCREENSHOTS=1 pytest tests/long/test_flower_browser.py`` also writes docs/img.
"""

from __future__ import annotations

import os
from typing import Any

from tests.support.browser import browser, needs_browser
from tests.support.flower import LOGIN, flower_of
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from threadsync import SessionClient
from threadsync.commands import GetOrCreate, RequestSync, UpdateStatus
from threadsync.syncs import Draft

THREAD: dict[str, Any] = {"channel_id": "C0123ABC", "thread_ts": "1700000000.000100"}
pytestmark = needs_browser


def test_an_event_id_finds_its_task(shared: Installation) -> None:
    """A Slack event id finds its task in Flower's list, search and page, and no user's text is there."""
    with SessionClient(shared.broker_url) as client:
        client.enqueue(GetOrCreate(**THREAD, user_id="U0456"), task_id="Ev0FIRST").get(timeout=20)
        client.enqueue(UpdateStatus(**THREAD, status="ready_to_sync"), task_id="Ev0SECOND").get(timeout=20)
        draft = Draft(summary="The ocelot plan")
        command = RequestSync(**THREAD, draft=draft, drafted_at="1700000001.000100")
        client.enqueue(command, task_id="Ev0THIRD").get(timeout=20)
    from playwright.sync_api import expect

    with flower_of(shared.env, shared.logs) as flower, browser() as chromium:
        with SessionClient(shared.broker_url) as client:
            for number in range(3):
                client.enqueue(GetOrCreate(**THREAD, user_id="U0456"), task_id=f"Ev0AGAIN{number}").get(
                    timeout=20
                )
            client.enqueue(command, task_id="Ev0FOURTH").get(timeout=20)
        wait_until(lambda: flower.get("/api/task/info/Ev0FOURTH").status_code == 200, "Flower has seen it")
        context = chromium.new_context(
            http_credentials={"username": LOGIN[0], "password": LOGIN[1]},
            viewport={"width": 1500, "height": 600},
        )
        page = context.new_page()
        page.goto(f"{flower.base_url}/tasks")
        page.get_by_text("Ev0FOURTH").wait_for()
        row = page.get_by_role("row").filter(has_text="Ev0FOURTH").inner_text()
        assert "C0123ABC / 1700000000.000100" in row
        assert "ready_to_sync: unchanged" in row
        if os.environ.get("THREADSYNC_SCREENSHOTS"):
            page.screenshot(path=ROOT / "docs" / "img" / "flower-tasks.png")
        page.get_by_role("searchbox").fill("Ev0AGAIN1")
        page.get_by_text("Ev0FOURTH").wait_for(state="detached")
        expect(page.get_by_role("row").filter(has_text="Ev0AGAIN1")).to_have_count(1)
        assert "ocelot" not in page.content()
        page.goto(f"{flower.base_url}/task/Ev0FOURTH")
        page.get_by_text("ready_to_sync: unchanged").first.wait_for()
        assert "ocelot" not in page.content()
