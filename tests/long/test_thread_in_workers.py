"""The thread in the ticket by real workers, which are killed in the middle and keep nothing of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest

from tests.support.broker_contents import everything_in
from tests.support.flower import flower_of
from tests.support.forgetting import dump
from tests.support.installation import Installation
from tests.support.scraping import scrape
from tests.support.thread_servers import CANARY, SIGN_IN, said
from tests.support.thread_site import ThreadSite, thread_site
from tests.support.trace_collector import Collector
from tests.support.waiting import wait_until
from threadsync.ticket_steps import TicketStep
from worker.db.pool import new_pool
from worker.db.syncs.store import SyncStore
from worker.jira.unlink import PROPERTY as LEFT
from worker.local.servers.port import free_port
from worker.thread.work import PROPERTY

CHANNEL: Final = "C0123ABC"
THREAD: Final = "1700000000.000100"
ASKED: Final = "1700009000.000100"
PLACE: Final = {"channel_id": CHANNEL, "thread_ts": THREAD}
PERMALINK: Final = f"https://acme.slack.com/archives/{CHANNEL}/p{THREAD.replace('.', '')}"
CONTENT: Final = b"%PDF-1.7 " + CANARY.encode() * 200
GIVEN_UP: Final = 'threadsync_ticket_steps_given_up_total{reason="rejected",step="attachment"}'

_MOMENTS: Final = ("next_attempt_at", "lease_until", "write_deadline", "queued_until")


@pytest.fixture
def site() -> Iterator[ThreadSite]:
    with thread_site() as site:
        yield site


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def tell(site: ThreadSite) -> None:
    """Write a thread of 450 messages with three files, of which Slack answers one with a page to sign in."""
    slack = site.thread
    slack.names = {"U1": f"Ann {CANARY}"}
    slack.messages = [said(THREAD, "U1", f"The export {CANARY} stops")]
    for number in range(1, 450):
        text = f"word{number}end {CANARY} " + "x" * 120
        slack.messages.append(said(f"{1_700_000_000 + number}.000200", f"U{2 - number % 2}", text))
    slack.messages.append(said("1700000500.000100", "U0SANDBOXBOT", "ours", bot_id="B0SANDBOX"))
    slack.messages.append(said("1700009999.000100", "U1", "after the request"))
    for number in (1, 2, 3):
        url = f"{site.files_url}{CANARY}/F{number}"
        name = f"{CANARY} {number}.pdf"
        raw = slack.add_file(f"F{number}", name, CONTENT, url_private_download=url)
        slack.messages[7].setdefault("files", []).append(raw)
    raw, _, _ = slack.files["F3"]
    slack.files["F3"] = (raw, SIGN_IN, "text/html; charset=utf-8")


def ask_for_ticket(installation: Installation, include: str) -> None:
    patch = {"threadsync": {"include": include}}
    installation.send("channels.merge_context", channel_id=CHANNEL, patch=patch, command_id=str(uuid4())).get(
        timeout=20
    )
    installation.send("sessions.get_or_create", **PLACE, user_id="U1").get(timeout=20)
    draft = {"summary": "Export fails", "description": "As told"}
    installation.send("sessions.request_sync", **PLACE, draft=draft, drafted_at=ASKED).get(timeout=20)


def pass_time(installation: Installation, *, also_claimed: bool = False) -> None:
    """Let an hour pass for the steps that wait; for those that a dead worker has claimed, too."""
    past = ", ".join(f"{name} = {name} - interval '1 hour'" for name in _MOMENTS)
    where = "true" if also_claimed else "lease_until IS NULL"
    with psycopg.connect(installation.database_url) as connection:
        connection.execute(f"UPDATE ticket_steps SET {past} WHERE {where}")  # noqa: S608


def steps_of(installation: Installation) -> dict[str, TicketStep]:
    (session,) = installation.sessions()
    with new_pool(installation.database_url) as pool:
        return {step.file_id or step.step: step for step in SyncStore(pool).steps.of(session.id)}


def are_over(installation: Installation, *expected: str) -> bool:
    """Return True if the steps are there and done or given up; let time pass for those that wait."""
    pass_time(installation)
    steps = steps_of(installation)
    return {*expected} <= steps.keys() and all(step.done_at or step.given_up for step in steps.values())


def assert_all_is_there(site: ThreadSite) -> None:
    """Check that the ticket is one, and has the text and each good file once."""
    (issue,) = site.jira.site.issues
    (comment,) = issue.comments
    marker = comment.properties[PROPERTY]["marker"]
    contents = {name: content for _, name, content in site.tickets.attachments}
    assert sorted(site.tickets.names) == [f"F1-{CANARY} 1.pdf", f"F2-{CANARY} 2.pdf", f"thread-{marker}.txt"]
    assert contents[f"F1-{CANARY} 1.pdf"] == contents[f"F2-{CANARY} 2.pdf"] == CONTENT
    whole = contents[f"thread-{marker}.txt"].decode()
    places = [whole.find(f"word{number}end") for number in range(1, 450)]
    assert -1 not in places
    assert places == sorted(places)
    assert "ours" not in whole
    assert "after the request" not in whole
    shown = json.dumps(comment.body, ensure_ascii=False)
    assert comment.properties[PROPERTY]["cut"] is True
    assert f"thread-{marker}.txt" in shown
    assert f"{CANARY} 3.pdf: Slack sent a web page in its place" in shown
    last = max(number for number in range(1, 450) if f"word{number}end" in shown)
    places = [shown.find(f"word{number}end") for number in range(1, last + 1)]
    assert -1 not in places
    assert places == sorted(places)
    (link,) = issue.remote_links
    assert link.url == PERMALINK


def test_text_and_files_come_through_workers_that_die(
    installation: Installation, site: ThreadSite, collector: Collector
) -> None:
    """Workers killed in uploads and a comment write each once, and keep no word of the thread anywhere."""
    tell(site)
    kept = {"tables": "", "broker": ""}
    env: dict[str, str] = {
        **site.env,
        "LOG_LEVEL": "DEBUG",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    beat = ("--beat", "--schedule", str(installation.logs / "schedule"), "--task-events")
    worker = installation.worker("steps", *beat, **env).start()
    with flower_of(installation.env, installation.logs) as flower:
        try:
            site.jira_front.keep_silent("attachments")
            ask_for_ticket(installation, "files")
            for endpoint in ("attachments", "comment", ""):
                wait_until(lambda: _is_silent(installation, site), "a write has no response", 60)
                kept["tables"] += dump(installation.database_url)
                kept["broker"] += everything_in(installation.broker_url)
                worker.kill()
                pass_time(installation, also_claimed=True)
                if endpoint:
                    site.jira_front.keep_silent(endpoint)
                worker.start()
            names = ("link", "plan", "F1", "F2", "F3", "attachment", "thread")
            wait_until(lambda: are_over(installation, *names), "all is over", 60)
            assert_all_is_there(site)
            states = {name: step.state for name, step in steps_of(installation).items()}
            assert states == dict.fromkeys(names, "done") | {"F3": "given up: sign in"}
            wait_until(lambda: b"/comment" in b"".join(collector.bodies), "its calls are traced", 20)
            worker.stop()
        finally:
            worker.kill()
        pages: Any = [flower.get(path).text for path in ("/tasks", "/api/tasks", "/api/workers")]
        for task_id in json.loads(pages[1]):
            pages += [flower.get(f"/task/{task_id}").text, flower.get(f"/api/task/info/{task_id}").text]
    assert "syncs.follow" in pages[1]
    spans = b"".join(collector.bodies)
    assert b"syncs.follow" in spans
    logs = "".join(path.read_text(errors="replace") for path in installation.logs.glob("*.log"))
    assert "step of a ticket done" in logs
    kept["tables"] += dump(installation.database_url)
    kept["broker"] += everything_in(installation.broker_url)
    kept |= {"logs": logs, "Flower": "".join(pages), "traces": spans.decode(errors="replace")}
    assert [place for place, text in kept.items() if CANARY in text] == []


def _is_silent(installation: Installation, site: ThreadSite) -> bool:
    """Return True once a write was carried out and has no response; let time pass for steps that wait."""
    pass_time(installation)
    return site.jira_front.is_silent


def test_the_text_alone_comes_through_workers(installation: Installation, site: ThreadSite) -> None:
    """With ``text`` a short thread is one whole comment, with names, and no file is copied."""
    tell(site)
    del site.thread.messages[5:450]
    beat = ("--beat", "--schedule", str(installation.logs / "schedule"))
    with installation.worker("steps", *beat, **site.env):
        ask_for_ticket(installation, "text")
        wait_until(
            lambda: are_over(installation, "link", "plan", "thread"),
            "all is over",
            60,
        )
    (issue,) = site.jira.site.issues
    (comment,) = issue.comments
    assert comment.properties[PROPERTY]["cut"] is False
    shown = json.dumps(comment.body)
    assert f"Ann {CANARY}" in shown
    assert [number for number in range(1, 450) if f"word{number}end" in shown] == [1, 2, 3, 4]
    assert site.tickets.names == []


def test_an_upload_that_jira_refuses_is_counted(installation: Installation, site: ThreadSite) -> None:
    """An upload that Jira refuses is given up, counted by its reason, and quoted nowhere."""
    tell(site)
    site.tickets.faults = {"attachments": ["400"]}
    port = free_port()
    beat = ("--beat", "--schedule", str(installation.logs / "schedule"))
    with installation.worker("steps", *beat, **site.env, METRICS_PORT=str(port)) as worker:
        ask_for_ticket(installation, "text")
        wait_until(lambda: are_over(installation, "link", "plan", "attachment", "thread"), "all is over", 60)
        wait_until(lambda: scrape(port).get(GIVEN_UP) == 1, "it is counted", 20)
    step = steps_of(installation)["attachment"]
    assert (step.given_up, step.http_status, step.fields) == ("rejected", 400, ("comment",))
    assert CANARY not in dump(installation.database_url) + worker.log
    ((comment,),) = [issue.comments for issue in site.jira.site.issues]
    assert "the others are in the Slack thread" in json.dumps(comment.body)


def test_a_ticket_is_unlinked_and_linked_again(installation: Installation, site: ThreadSite) -> None:
    """An unlinked ticket loses its link and is told so; linked again it has the permalink, and one text."""
    tell(site)
    del site.thread.messages[5:450]
    who = {"actor": {"user_id": "U1", "team_id": "T0SANDBOX"}}
    beat = ("--beat", "--schedule", str(installation.logs / "schedule"))

    def act(act: str, key: str, **more: str) -> None:
        command = {**PLACE, "jira_key": key, "command_id": str(uuid4()), **who, **more}
        assert installation.send(f"sessions.{act}", **command).get(timeout=20)["outcome"] == "applied"

    def has(key: str, *properties: str, link: bool) -> bool:
        pass_time(installation)
        issue = site.jira.site.find(key)
        if issue is None or bool(issue.remote_links) != link:
            return False
        told = [name for comment in issue.comments for name in comment.properties]
        return told == [*properties] and (not link or issue.remote_links[0].url == PERMALINK)

    with installation.worker("steps", *beat, **site.env):
        ask_for_ticket(installation, "text")
        wait_until(lambda: has("PROJ-1", PROPERTY, link=True), "the first ticket has all", 60)
        act("unlink", "PROJ-1", reason="the wrong one")
        wait_until(lambda: has("PROJ-1", PROPERTY, LEFT, link=False), "it is told", 60)
        now = f"{time.time():.6f}"
        draft = {"summary": "Another one", "description": ""}
        installation.send("sessions.request_sync", **PLACE, draft=draft, drafted_at=now).get(timeout=20)
        wait_until(lambda: has("PROJ-2", PROPERTY, link=True), "the second ticket has all", 60)
        act("unlink", "PROJ-2", reason="the first one was right")
        act("link", "PROJ-1")
        wait_until(lambda: has("PROJ-2", PROPERTY, LEFT, link=False), "the second one is told", 60)
        wait_until(lambda: has("PROJ-1", PROPERTY, LEFT, link=True), "the first one is linked", 60)
    assert len(site.jira.site.issues) == 2
    (session,) = installation.sessions()
    assert (session.status, session.jira_key) == ("synced", "PROJ-1")
