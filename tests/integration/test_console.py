"""The console's pages and forms on a real database: sign-in, content, and refusals."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any, LiteralString
from urllib.parse import unquote
from uuid import uuid4

import httpx
import psycopg
import pytest
import structlog
from psycopg.sql import SQL

from console import actions
from console.access import COOKIE
from tests.support.command_runs import output, run_in
from tests.support.console_client import PASSWORD, console_on, sign_in, token
from tests.support.servers import as_owner, ask
from threadsync.actors import NamedActor
from threadsync.broker.options import broker_options
from threadsync.config import Settings
from threadsync.dead_letters import DeadLetter
from threadsync.errors import CommandFailed
from threadsync.sessions import ThreadSession
from threadsync.syncs import Draft
from worker.celery import app
from worker.db import SessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.db.ticket_steps.store import StepKey
from worker.observe.line_limit import LineLimit
from worker.operate import decisions
from worker.operate.decisions import Signature

HOSTILE = "<script>alert(1)</script>"
PAGES = ("/", "/sessions", "/syncs", "/channels", "/channels/C1", "/dead", "/audit", "/forget")


def send_by(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process's app send to this broker instead of an earlier test's."""
    monkeypatch.setenv("CELERY_BROKER_URL", broker_url)
    app.conf.update(broker_options(broker_url, Settings(), "worker"))
    # Its open connections are an earlier test's, too. The stubs lack the method that drops them.
    celerys: Any = app
    celerys._after_fork()


@pytest.fixture
def client(database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    send_by(broker_url, monkeypatch)
    with console_on(database_url, broker_url) as client:
        yield client


@pytest.fixture
def ada(client: httpx.Client) -> httpx.Client:
    """Return a client that is signed in as Ada."""
    answer = sign_in(client, "ada", PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    return client


def press(client: httpx.Client, path: str, on: str = "/", **form: str) -> httpx.Response:
    """Send a form of the page ``on``."""
    return client.post(f"/console{path}", data={"csrf": token(client, on), **form})


def a_session(pool: Pool, number: int = 1, channel: str = "C1") -> ThreadSession:
    return SessionStore(pool).get_or_create_session(channel, f"1700000000.{number:06}", "U1")


def a_sync(pool: Pool, number: int = 1, state: str = "blocked", reason: str = "set_up") -> ThreadSession:
    session = a_session(pool, number)
    draft = Draft(summary=f"{HOSTILE} plan", description="the whole of it")
    SessionStore(pool).request_sync(session.channel_id, session.thread_ts, draft, "1700000001.000100")
    with pool.connection() as connection:
        connection.execute(
            "UPDATE syncs SET state = %s, reason = %s, detail = %s, next_attempt_at = NULL"
            " WHERE session_id = %s",
            [state, reason, HOSTILE, session.id],
        )
    return session


def a_letter(pool: Pool, number: int = 1, arguments: str | None = '{"args": [], "kwargs": {}}') -> DeadLetter:
    letters = DeadLetterStore(pool)
    letter = letters.bury(
        Letter(
            task_id=f"task-{number}",
            task_name="sessions.get",
            queue="sessions",
            error=CommandFailed(HOSTILE),
            attempts=1,
            arguments=arguments,
            body=b"junk",
        )
    )
    return letters.get(letter)


class Strict(HTMLParser):
    """A parser that collects violations of the Content-Security-Policy and the inputs without a label."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.inputs: list[str] = []
        self.labelled: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.refused += [name for name in given if name.startswith("on") or name == "style"]
        address = given.get("src") or ""
        if tag == "style" or (tag == "script" and not address.startswith("/console/static/")):
            self.refused.append(tag)
        if tag in ("input", "select") and given.get("type") != "hidden":
            self.inputs.append(str(given.get("id")))
        if tag == "label":
            self.labelled.append(str(given.get("for")))


def test_nobody_sees_anything_before_they_sign_in(
    client: httpx.Client, pool: Pool, database_url: str
) -> None:
    """Every page redirects to the sign-in, which leads back to it; a form without a session does nothing."""
    session, letter = a_sync(pool), a_letter(pool)
    for path in (*PAGES, f"/sessions/{session.id}", f"/sessions/{session.id}/draft", f"/dead/{letter.id}"):
        answer = client.get(f"/console{path}")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/sign-in")
    back = sign_in(client, "ada", PASSWORD, then=f"/dead/{letter.id}")
    assert back.headers["location"] == f"/console/dead/{letter.id}"
    client.cookies.clear()
    pressed = press(client, f"/sessions/{session.id}/retry", on="/sign-in", reason="because")
    assert pressed.headers["location"].startswith("/console/sign-in")
    assert ask(database_url, "SELECT count(*) FROM sync_actions") == 0


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "58000-01-01", "400-01-01 BC", "2093-01-01"])
def test_rows_that_make_no_sense_spoil_no_page(
    ada: httpx.Client, pool: Pool, database_url: str, moment: str
) -> None:
    """Rows with impossible moments or drafts are shown on every page, and other rows beside them."""
    session, other = a_sync(pool, 1), a_sync(pool, 2)
    spoil = """UPDATE syncs SET drafted_at = 1795608030000, draft = '{"summary": 7}', requested_at = %(at)s,
        updated_at = %(at)s, next_attempt_at = %(at)s, state = 'retry_wait', reason = 'rate_limit'
        WHERE session_id = %(id)s"""
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(spoil, {"at": moment, "id": session.id})
    for path in ("/", "/sessions", "/syncs", "/syncs?state=retry_wait", f"/sessions/{session.id}"):
        answer = ada.get(f"/console{path}")
        assert (path, answer.status_code) == (path, 200)
    assert "cannot be read" in ada.get(f"/console/sessions/{session.id}/draft").text
    page = ada.get("/console/syncs").text
    assert str(session.id) in page
    assert str(other.id) in page
    counts = OverviewStore(pool).counts()
    assert (counts.syncs["retry_wait"], counts.syncs["blocked"]) == (1, 1)
    decisions.retry(pool, session, Signature("ada", "again"))
    assert "Retry" in ada.get(f"/console/sessions/{session.id}").text


def test_a_ticket_is_linked_at_the_jira_that_has_it(ada: httpx.Client, pool: Pool, database_url: str) -> None:
    """A ticket links to the Jira of its sync after JIRA_URL changed; without a sync, to today's Jira."""
    old, named = a_sync(pool, 1), a_session(pool, 2)
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute("UPDATE syncs SET site = 'old.example/jira'")
    for session in (old, named):
        decisions.link(pool, session, f"PROJ-{session.thread_ts[-1]}", Signature("ada", "by hand"))
    for path in ("/sessions", "/syncs?state=done", f"/sessions/{old.id}"):
        assert 'href="https://old.example/jira/browse/PROJ-1"' in ada.get(f"/console{path}").text
    for path in ("/sessions", f"/sessions/{named.id}"):
        assert 'href="https://jira.example.com/browse/PROJ-2"' in ada.get(f"/console{path}").text
    # The decision is on the page of the session that was never asked for a ticket, too.
    assert "By hand" in ada.get(f"/console/sessions/{named.id}").text


def test_another_password_is_refused(client: httpx.Client) -> None:
    """A wrong password gets 403 and no session."""
    for password in ("", PASSWORD + "x", "ä" * 2000):
        answer = sign_in(client, "ada", password)
        assert answer.status_code == 403
        assert "Wrong password" in answer.text
        assert client.get("/console/").status_code == 303


def test_who_signs_in_says_who_they_are(client: httpx.Client) -> None:
    """A sign-in with an empty, invalid or overlong name gets 400."""
    for name in ("", "   ", "a\x00b", "x" * 201):
        assert sign_in(client, name, PASSWORD).status_code == 400


def test_refusals_do_not_fill_the_log(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused sign-ins write a limited number of log lines a second."""
    monkeypatch.setattr(actions, "_refusals", LineLimit("sign-in refused", 3, lambda: 0.0))
    form = {"csrf": token(client, "/sign-in"), "name": "eve", "password": "guess"}
    with structlog.testing.capture_logs() as logs:
        answers = [client.post("/console/sign-in", data=form).status_code for _ in range(5)]
    assert answers == [403] * 5
    assert [entry["event"] for entry in logs].count("sign-in refused") == 3


def test_a_page_can_be_asked_for_without_its_body(client: httpx.Client) -> None:
    """A HEAD request gets the status of the page and no body."""
    for path, status in (("/sign-in", 200), ("/", 303), ("/static/console.css", 200)):
        answer = client.head(f"/console{path}")
        assert (answer.status_code, answer.content) == (status, b"")


def test_nobody_is_sent_elsewhere(client: httpx.Client) -> None:
    """A sign-in redirects only to pages of the console."""
    for then in ("//evil.example.com", "https://evil.example.com", "/\\evil.com", "x"):
        assert sign_in(client, "ada", PASSWORD, then=then).headers["location"] == "/console/"


def test_the_cookie(client: httpx.Client, database_url: str, broker_url: str) -> None:
    """The cookie is HttpOnly, SameSite=Strict and, except on loopback, Secure; a forged one is refused."""
    cookie = sign_in(client, "ada", PASSWORD).headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/console"))
    assert "secure" not in cookie
    client.cookies.clear()
    client.headers["x-forwarded-proto"] = "https"
    assert "secure" in client.get("/console/sign-in").headers["set-cookie"].lower()
    client.cookies.clear()
    for host in ("threadsync.example.com", "10.0.0.7:3000", "localhost.example.com", "[fd00::1]"):
        assert (
            "secure" in client.get("/console/sign-in", headers={"host": host}).headers["set-cookie"].lower()
        )
        client.cookies.clear()
    for forged in FORGED:
        client.cookies.clear()
        client.cookies.set(COOKIE, forged)
        assert client.get("/console/").status_code == 303


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"data": {"reason": "x"}}, 403),
        ({"data": {"reason": "x", "csrf": "guessed"}}, 403),
        ({"headers": {"sec-fetch-site": "cross-site"}}, 403),
        ({"headers": {"sec-fetch-site": "same-site"}}, 403),
        ({"headers": {"origin": "https://evil.example.com"}}, 403),
        ({"headers": {"origin": "null"}}, 403),
        ({"headers": {"sec-fetch-site": "same-origin"}}, 303),
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"data": {"reason": "x" * 20_000}}, 413),
    ],
    ids=["no token", "a guess", "cross-site", "same-site", "origin", "null", "ours", "text", "large"],
)
def test_a_form_that_is_not_ours_does_nothing(
    ada: httpx.Client, pool: Pool, change: dict[str, Any], status: int
) -> None:
    """A form without our token, from another site, of another type or too large is refused."""
    session = a_sync(pool)
    form = {"data": {"reason": "because", "csrf": token(ada, f"/sessions/{session.id}")}, **change}
    answer = ada.post(f"/console/sessions/{session.id}/retry", **form)
    assert answer.status_code == status
    sync = SyncStore(pool).get_state(session.id)
    assert sync
    assert sync.state == ("pending" if status == 303 else "blocked")


def test_a_refresh_takes_the_counts_alone(ada: httpx.Client) -> None:
    """A refresh gets the counts without charts, or sends a browser that is signed out to the sign-in."""
    refresh = {"hx-request": "true"}
    assert "<svg" in ada.get("/console/").text
    part = ada.get("/console/", headers=refresh)
    assert ('id="live"' in part.text, "<svg" in part.text) == (True, False)
    ada.cookies.clear()
    answer = ada.get("/console/", headers=refresh)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (200, "/console/sign-in")


@pytest.mark.parametrize(
    "change",
    [
        "created_at = now() - interval '12 hours', expires_at = now() - interval '1 second'",
        # Written while the server's clock was ahead.
        "created_at = now() + interval '1 hour', expires_at = now() + interval '13 hours'",
    ],
    ids=["old", "from the future"],
)
def test_a_session_ends_after_half_a_day(ada: httpx.Client, database_url: str, change: LiteralString) -> None:
    """A console session ends 12 hours after it began, even when it is used."""
    assert ada.get("/console/").status_code == 200
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(SQL("UPDATE console_sessions SET {}").format(SQL(change)))
    assert ada.get("/console/").status_code == 303


def test_two_who_replay_at_once(ada: httpx.Client, pool: Pool) -> None:
    """Two operators who replay a dead letter at once get one success and one conflict."""
    letter = a_letter(pool)
    form = {"csrf": token(ada, f"/dead/{letter.id}"), "reason": "mended"}
    with ThreadPoolExecutor(2) as threads:
        url = f"/console/dead/{letter.id}/replay"
        answers = threads.map(lambda _: ada.post(url, data=form), range(2))
        assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert DeadLetterStore(pool).get(letter.id).state == "retried"


def test_signing_out_ends_it(ada: httpx.Client, database_url: str) -> None:
    """Signing out deletes that session's row, so copies of its cookie stop working; others stay signed in."""
    copy = ada.cookies[COOKIE]
    ada.cookies.clear()
    assert sign_in(ada, "bob", PASSWORD).status_code == 303
    assert press(ada, "/sign-out").status_code == 303
    assert ada.get("/console/").status_code == 303
    assert ask(database_url, "SELECT array_agg(name) FROM console_sessions") == ["ada"]
    ada.cookies.set(COOKIE, copy)
    assert ada.get("/console/").status_code == 200
    assert press(ada, "/sign-out").status_code == 303
    ada.cookies.set(COOKIE, copy)
    assert ada.get("/console/").status_code == 303
    assert ask(database_url, "SELECT count(*) FROM console_sessions") == 0


def test_every_page_keeps_to_its_policy(ada: httpx.Client, pool: Pool) -> None:
    """Every page obeys its policy: no inline script or style, a label for each field, stored text escaped."""
    session, letter = a_sync(pool), a_letter(pool, arguments=f'{{"args": ["{HOSTILE}"], "kwargs": {{}}}}')
    reason = f"{HOSTILE} said so"
    assert press(ada, f"/sessions/{session.id}/give-up", reason=reason).status_code == 303
    paths = (
        *PAGES,
        f"/sessions/{session.id}",
        f"/sessions/{session.id}/draft",
        f"/dead/{letter.id}",
        "/nowhere",
    )
    shown = ""
    for path in (*paths, "/sign-in"):
        answer = ada.get(f"/console{path}")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        page = Strict()
        page.feed(answer.text)
        assert page.refused == [], path
        assert set(page.inputs) <= set(page.labelled), path
        assert HOSTILE not in answer.text, path
        shown += answer.text
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert ada.get("/console/static/htmx.min.js").headers["cache-control"] == "public, max-age=3600"


def test_a_draft_is_on_its_own_page_alone(ada: httpx.Client, pool: Pool) -> None:
    """A draft's text is shown on the draft's own page only."""
    session = a_sync(pool)
    for path in (*PAGES, f"/sessions/{session.id}"):
        assert "the whole of it" not in ada.get(f"/console{path}").text
    assert "the whole of it" in ada.get(f"/console/sessions/{session.id}/draft").text


def test_a_sync_is_decided(ada: httpx.Client, pool: Pool) -> None:
    """Retry, give up and link are recorded with name and reason; a refused form keeps its input."""
    session = a_sync(pool)
    path = f"/sessions/{session.id}"
    assert "configuration does not allow" in ada.get(f"/console{path}").text
    assert press(ada, f"{path}/retry", reason="mended").status_code == 303
    assert "Retried." in ada.get(f"/console{path}").text
    assert "Retried." not in ada.get(f"/console{path}").text, "said once"
    again = press(ada, f"{path}/retry", reason="and again")
    assert (again.status_code, "about to be tried anyway" in again.text) == (409, True)
    assert press(ada, f"{path}/give-up", reason="  ").status_code == 400
    assert press(ada, f"{path}/give-up", reason="not wanted").status_code == 303
    wrong = press(ada, f"{path}/link", reason="kept words", key="no key")
    assert (wrong.status_code, "kept words" in wrong.text, "NO KEY" in wrong.text) == (400, True, False)
    assert press(ada, f"{path}/link", reason="made by hand", key="proj-5").status_code == 303
    assert 'href="https://jira.example.com/browse/PROJ-5"' in ada.get(f"/console{path}").text
    other = press(ada, f"{path}/link", reason="another", key="PROJ-6")
    assert (other.status_code, "already synced with PROJ-5" in other.text) == (409, True)
    detail = SyncStore(pool).get(session.id)
    assert detail
    assert [(action.action, action.actor, action.reason) for action in detail.actions] == [
        ("retry", "ada", "mended"),
        ("give_up", "ada", "not wanted"),
        ("link", "ada", "made by hand"),
    ]


def test_all_that_is_blocked_is_tried_again(ada: httpx.Client, pool: Pool) -> None:
    """One button on the page of syncs retries every blocked sync."""
    for number in (1, 2):
        a_sync(pool, number)
    assert press(ada, "/syncs/retry-blocked", on="/syncs", reason="new token").status_code == 303
    assert "Retried: 2." in ada.get("/console/syncs").text
    assert press(ada, "/syncs/retry-blocked", on="/syncs", reason="once more").status_code == 303
    assert "No sync is blocked." in ada.get("/console/syncs").text


def test_a_letter_is_settled_once(ada: httpx.Client, pool: Pool) -> None:
    """A dead letter is replayed or discarded once; a second operator is told who settled it."""
    replayed, discarded, unreadable = a_letter(pool, 1), a_letter(pool, 2), a_letter(pool, 3, None)
    assert press(ada, f"/dead/{replayed.id}/replay", reason="mended").status_code == 303
    page = ada.get(f"/console/dead/{replayed.id}").text
    assert "Sent sessions.get again, as task" in page
    late = press(ada, f"/dead/{replayed.id}/discard", reason="me too")
    assert (late.status_code, "already retried by ada: mended" in late.text.lower()) == (409, True)
    assert press(ada, f"/dead/{discarded.id}/discard", reason="too old").status_code == 303
    refused = press(ada, f"/dead/{unreadable.id}/replay", reason="try")
    assert (refused.status_code, "arguments cannot be read" in refused.text) == (400, True)
    assert DeadLetterStore(pool).get(unreadable.id).state == "dead"
    trail = ada.get("/console/audit").text
    assert all(word in trail for word in ("replay", "mended", "discard", "too old"))
    assert "me too" not in trail


def test_the_audit_trail_goes_back_page_by_page(ada: httpx.Client, pool: Pool) -> None:
    """The audit trail lists each decision once, newest first, while new ones are added."""
    for number in range(1, 121):
        letter = a_letter(pool, number)
        DeadLetterStore(pool).settle(letter.id, "discarded", actor="bob", reason=f"reason-{number:03}.")
    seen: list[str] = []
    path: str | None = "/console/audit"
    while path:
        page = ada.get(path).text
        seen += re.findall(r"reason-(\d+)\.", page)
        DeadLetterStore(pool).settle(
            a_letter(pool, 1000 + len(seen)).id, "discarded", actor="eve", reason="late"
        )
        following = re.search(r'class="following"><a href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else None
    assert seen == [f"{number:03}" for number in range(120, 0, -1)]


def test_sessions_are_found(ada: httpx.Client, pool: Pool) -> None:
    """Sessions are found by status, channel, ticket key, id, thread or a link to a Slack message."""
    for number in range(1, 61):
        a_session(pool, number, "C1" if number % 2 else "C2")
    SessionStore(pool).mark_synced("C1", "1700000000.000001", "PROJ-9")
    [session] = SessionStore(pool).list_sessions("synced").sessions

    def threads(**query: str) -> list[str]:
        answer = ada.get("/console/sessions", params=query)
        assert answer.status_code == 200, answer.text
        return re.findall(r'title="(C\d / [\d.]+)"', answer.text)

    # The synced one was opened first, and changed last.
    newest = [f"C{2 - number % 2} / 1700000000.{number:06}" for number in (1, *range(60, 1, -1))]
    assert threads() == newest[:50]
    cursor = re.search(r"cursor=([^\"&]+)", ada.get("/console/sessions").text)
    assert cursor
    assert threads(cursor=unquote(cursor[1])) == newest[50:]
    assert threads(channel="C2") == [line for line in newest if line.startswith("C2")]
    assert threads(channel="C1", status="synced") == threads(status="synced") == ["C1 / 1700000000.000001"]
    for text in (
        "PROJ-9",
        " proj-9 ",
        str(session.id),
        "C1 1700000000.000001",
        "C1 / 1700000000.000001",
        "https://acme.slack.com/archives/C1/p1700000000000001",
        "https://acme.slack.com/archives/C1/p1700000000000099?thread_ts=1700000000.000001&cid=C1",
    ):
        assert threads(q=text) == ["C1 / 1700000000.000001"], text
    assert threads(q="PROJ-10") == []


FORGED = (
    "eyJhY3RvciI6ICJhZGEifQ==.aaaa.bbbb",
    "A" * 43,
    "A" * 4_000,
    "' OR true --",
    # Made with the password `threadsync2026` by the previous version.
    "eyJhY3RvciI6ImV2aWwiLCJzaW5jZSI6OTk5OTk5OTk5OX0=.aSpCvQ.AAAAAAAAAAAAAAAAAAAAAAAAAAA",
)
BAD_ADDRESSES = {
    "/sessions?q=hello": 400,
    "/sessions?status=lost": 400,
    "/sessions?cursor=x": 400,
    # Of before lists were sorted by change.
    "/sessions?cursor=01890a5d-ac96-774b-bcce-b302099a8057": 400,
    "/syncs?state=done&cursor=01890a5d-ac96-774b-bcce-b302099a8057": 400,
    "/dead?cursor=01890a5d-ac96-774b-bcce-b302099a8057": 400,
    "/sessions?cursor=2026-99-99T00:00:00_01890a5d-ac96-774b-bcce-b302099a8057": 400,
    "/sessions?channel=%23ops": 400,
    "/channels?channel=%23ops": 400,
    "/sessions?channel=%00": 400,
    "/sessions/no-id": 400,
    "/sessions/00000000-0000-7000-8000-000000000000": 404,
    "/sessions/00000000-0000-7000-8000-000000000000/draft": 404,
    "/syncs?state=lost": 400,
    "/syncs?state=done&cursor=x": 400,
    "/dead?state=lost": 400,
    "/dead/no-id": 404,
    "/audit?cursor=x": 400,
    "/audit?cursor=2026-01-01T00:00:00_x": 400,
    "/?span=1y": 400,
    "/static/../app.py": 404,
    "/nowhere": 404,
}


def test_bad_addresses_get_an_answer(ada: httpx.Client) -> None:
    """A bad address gets a page with the fitting status, and no traceback."""
    for path, status in BAD_ADDRESSES.items():
        answer = ada.get(f"/console{path}")
        assert answer.status_code == status, path
        assert "Traceback" not in answer.text


def test_a_database_that_is_away(broker_url: str) -> None:
    """Without its database the console answers pages and right passwords with 503 and a sentence."""
    with console_on("postgresql://127.0.0.1:1/nowhere", broker_url) as client:
        assert sign_in(client, "ada", "not-the-password").status_code == 403
        signed_in = sign_in(client, "ada", PASSWORD)
        for answer in (signed_in, client.get("/console/"), press(client, "/sign-out", on="/sign-in")):
            assert (answer.status_code, "database is not responding" in answer.text) == (503, True)


def test_charts_show_what_happened(ada: httpx.Client, pool: Pool) -> None:
    """The charts and their tables show session steps, attempts by outcome and waiting times by queue."""
    session = a_sync(pool)
    SessionStore(pool).mark_synced(session.channel_id, session.thread_ts, "PROJ-1")
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO sync_attempts (session_id, number, step, fence, started_at, finished_at, outcome)"
            " VALUES (%s, 1, 'look', 1, now(), now(), 'found')",
            [session.id],
        )
        connection.execute(
            "INSERT INTO queue_samples (queue, waiting, oldest_seconds) VALUES ('syncs', 3, 77)"
        )
    page = ada.get("/console/?span=1h").text
    assert "the last hour; opened: 1, ready: 1, synced: 1" in page
    assert "created: 0, found: 1, refused: 0" in page
    assert "at most 77 s" in page
    rows = re.findall(r"<tr><td>[^<]*UTC</td>((?:<td>[^<]*</td>)+)</tr>", page)
    assert "<td>1</td><td>1</td><td>1</td>" in rows
    assert "<td>0</td><td>77</td><td>0</td><td>0</td>" in rows


def test_pages_of_many_sessions_read_few(database_url: str) -> None:
    """Searches and charts use indexes: neither scans the whole table."""
    from worker.db.overview import sql as console_queries

    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO thread_sessions (channel_id, thread_ts, user_id, created_at, ready_at, synced_at)"
            " SELECT 'C' || n % 100, '17.' || n, 'U1', at, at + interval '1 min', at + interval '2 min'"
            " FROM generate_series(1, 20000) AS n,"
            " LATERAL (SELECT now() - make_interval(hours => 20000 - n)) AS t (at)"
        )
        connection.execute("VACUUM ANALYZE thread_sessions")
        for sql, params in (
            (console_queries.FIND_BY_KEY, {"jira_key": "PROJ-1", "limit": 50}),
            (console_queries.COUNT_STEPS, {"seconds": 3600, "bucket": 60}),
        ):
            plan = str(connection.execute(f"EXPLAIN {sql}".encode(), params).fetchall())
            assert "Seq Scan on thread_sessions" not in plan, plan


def run_python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_without_a_password_there_is_no_console() -> None:
    """Without a console password the web process has no /console routes and loads no psycopg."""
    code = (
        "import sys, handlers.asgi as web;"
        "print([route.path for route in web.app.routes if 'console' in route.path], 'psycopg' in sys.modules)"
    )
    env = {
        "SLACK_SIGNING_SECRET": "s",
        "SLACK_BOT_TOKEN": "xoxb-1",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgresql://127.0.0.1:1/x",
    }
    assert run_python(code, **env) == "[] False\n"
    assert run_python(code, **env, THREADSYNC_CONSOLE_PASSWORD=PASSWORD) == "['/console', '/console'] True\n"


def test_the_trail_on_the_command_line(database_url: str, pool: Pool) -> None:
    """``threadsync audit list --json`` prints the decisions of the audit trail."""
    letter = a_letter(pool)
    DeadLetterStore(pool).settle(letter.id, "discarded", actor="ada", reason="too old")
    told = output(run_in({"DATABASE_URL": database_url, "PATH": ""}, "audit", "list", "--json"))
    assert '"actor": "ada"' in told
    assert '"action": "discard"' in told


def test_a_thread_a_channel_and_a_person_are_forgotten(
    ada: httpx.Client, pool: Pool, database_url: str
) -> None:
    """A thread, a channel and a person are forgotten from the console; the trail names no person."""
    store = SessionStore(pool)
    first = store.get_or_create_session("C1", "1.1", "U0OCELOT")
    store.request_sync("C1", "1.1", Draft(summary="ocelot"), "1.2")
    second = store.get_or_create_session("C1", "2.2", "U0OCELOT")
    third = store.get_or_create_session("C2", "3.3", "U0OCELOT")
    path = f"/sessions/{first.id}"
    refused = press(ada, f"{path}/forget", path, reason=" ")
    assert refused.status_code == 400
    assert press(ada, f"{path}/forget", path, reason="asked").status_code == 303
    assert "Forgotten: sessions 1" in ada.get(f"/console{path}").text
    nobody = press(ada, "/forget/user", "/forget", user="no id!", names="", reason="asked")
    assert "not a Slack id" in nobody.text
    assert press(ada, "/forget/channel", "/forget", channel="C1", reason="asked").status_code == 303
    asked = {"user": "<@U0OCELOT>", "names": "Maya Ozelot, ", "reason": "U0OCELOT or maya ozelot asked"}
    assert press(ada, "/forget/user", "/forget", **asked).status_code == 303
    assert "backups" in ada.get("/console/forget").text
    assert press(ada, "/forget/everything", "/forget", reason="asked").status_code == 404
    for session in (first, second, third):
        found = store.get_session(session.id)
        assert found is not None
        assert found.user_id == "forgotten"
    assert store.get_or_create_session("C2", "3.3", "U1").outcome == "unchanged"
    assert store.get_or_create_session("C1", "2.2", "U1").outcome == "stale"
    trail = ada.get("/console/audit").text
    for told in ("forget thread", "C1 / 1.1", "forget channel", "forget user", "a person", "forgotten asked"):
        assert told in trail
    assert "ocelot" not in trail.lower().replace("u0ocelot", "ocelot")
    assert "forgotten" in ada.get(f"/console{path}").text
    assert press(ada, f"{path}/link", path, key="PROJ-1", reason="why").status_code == 409


def test_the_steps_after_a_ticket_are_on_its_page(ada: httpx.Client, pool: Pool) -> None:
    """The page of a session lists what follows its ticket, with state and Jira's refusal."""
    session = a_session(pool)
    actor = NamedActor(name="ann", via="api")
    SessionStore(pool).link(session.channel_id, session.thread_ts, "PROJ-77", actor, uuid4())
    steps = SyncStore(pool).steps
    page = ada.get(f"/console/sessions/{session.id}").text
    link = '<a href="https://jira.example.com/browse/PROJ-77" rel="noreferrer">PROJ-77</a>'
    assert f"{link}, permalink of the thread: waiting" in page
    claim = steps.claim(StepKey(session.id, "PROJ-77", "link"), lease=60)
    assert claim is not None
    steps.end(claim, "rejected", http_status=400, fields=["object"])
    page = ada.get(f"/console/sessions/{session.id}").text
    assert "given up: rejected" in page
    assert "(Jira: HTTP 400: object)" in page
