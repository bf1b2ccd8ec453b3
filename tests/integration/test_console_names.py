"""Names of Slack's channels and people in the console: shown when they come, waited for only briefly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

from console import names as console_names
from console.names import MOST_WAITING, SlackNames
from sandbox.faults import Hangs, RateLimited
from sandbox.slack.server import SlackSandbox
from tests.support.console_client import PASSWORD, console_on, sign_in, token
from tests.support.waiting import wait_until
from threadsync.actors import SlackActor
from threadsync.config import Settings
from threadsync.sessions import ThreadSession
from worker.db import SessionStore
from worker.db.pool import Pool

TS = "1700000000.000100"
ADA = SlackActor(user_id="U0ADA", team_id="T0001")
HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 200


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        slack.workspace.channel_facts["C0OPS"] = {"name": "ops"}
        slack.workspace.people["U0ADA"] = {"profile": {"display_name": "Ada Lovelace"}}
        slack.workspace.people["U0EVE"] = {"profile": {"display_name": HOSTILE}}
        yield slack


@contextmanager
def signed_in(database_url: str, broker_url: str, slack: SlackSandbox) -> Iterator[httpx.Client]:
    given = {"slack_bot_token": slack.token, "slack_api_url": slack.api_url}
    with console_on(database_url, broker_url, **given) as client:
        assert sign_in(client, "ada", PASSWORD).status_code == 303
        yield client


@pytest.fixture
def ada(database_url: str, broker_url: str, slack: SlackSandbox) -> Iterator[httpx.Client]:
    with signed_in(database_url, broker_url, slack) as client:
        yield client


@pytest.fixture
def session(pool: Pool) -> ThreadSession:
    store = SessionStore(pool)
    session = store.get_or_create_session("C0OPS", TS, "U0ADA", ADA)
    store.update_status("C0OPS", TS, "ready_to_sync", ADA)
    return session


def page(client: httpx.Client, path: str) -> str:
    answer = client.get(f"/console{path}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_channels_and_people_have_their_names(ada: httpx.Client, session: ThreadSession) -> None:
    """Lists and a session's page name channel and people, and keep the ids within reach."""
    listed = page(ada, "/sessions")
    assert '<bdi title="U0ADA">Ada Lovelace</bdi>' in listed
    assert f'<span title="C0OPS / {TS}"><bdi>#ops</bdi>, 14 Nov 2023, 22:13 UTC</span>' in listed
    assert f"https://slack.com/app_redirect?channel=C0OPS&amp;message_ts={TS}" in listed
    shown = page(ada, f"/sessions/{session.id}")
    assert "<title>#ops, 14 Nov 2023, 22:13 UTC" in shown
    assert '<bdi title="U0ADA of T0001 in Slack">Ada Lovelace</bdi> in Slack' in shown
    assert f"C0OPS / {TS}" in shown
    assert '<h1><bdi title="C0OPS">#ops</bdi></h1>' in page(ada, "/channels/C0OPS")


def test_names_are_asked_for_once(ada: httpx.Client, session: ThreadSession, slack: SlackSandbox) -> None:
    """A name that is known is not asked for again by the next pages."""
    for _ in range(3):
        page(ada, "/sessions")
    assert len(slack.calls("users.info")) == len(slack.calls("conversations.info")) == 1


def test_a_channel_is_found_by_a_name_that_was_shown(ada: httpx.Client, session: ThreadSession) -> None:
    """The filter takes the name of a channel that was shown, and says so of one that was not."""
    refused = ada.get("/console/sessions", params={"channel": "#ops"})
    assert (refused.status_code, "give the channel&#39;s ID" in refused.text) == (400, True)
    page(ada, "/sessions")
    assert "#ops</bdi>" in ada.get("/console/sessions", params={"channel": "#ops"}).text
    found = ada.get("/console/channels", params={"channel": "#ops"})
    assert found.headers["location"] == "/console/channels/C0OPS"


def test_a_hostile_name_is_a_text(ada: httpx.Client, pool: Pool, slack: SlackSandbox) -> None:
    """A name with markup, marks of direction and 200 characters is escaped, stripped and cut."""
    SessionStore(pool).get_or_create_session("C0OPS", TS, "U0EVE")
    shown = page(ada, "/sessions")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;xxx" in shown
    assert "<script>alert" not in shown
    assert "\u202e" not in shown
    assert "x" * 61 not in shown


def test_strangers_cause_no_lookup(
    database_url: str, broker_url: str, slack: SlackSandbox, session: ThreadSession
) -> None:
    """A visitor who has not signed in sees no name, and causes none to be looked up."""
    given = {"slack_bot_token": slack.token, "slack_api_url": slack.api_url}
    with console_on(database_url, broker_url, **given) as client:
        for path in ("/", "/sessions", f"/sessions/{session.id}", "/sign-in", "/channels/C0OPS"):
            assert "#ops" not in client.get(f"/console{path}", follow_redirects=True).text
    assert slack.calls("conversations.info") == slack.calls("users.info") == ()


def test_a_missing_scope_leaves_ids(ada: httpx.Client, session: ThreadSession, slack: SlackSandbox) -> None:
    """Without ``users:read`` people stay ids, and channels have their names."""
    slack.scopes = tuple(scope for scope in slack.scopes if scope != "users:read")
    listed = page(ada, "/sessions")
    assert "#ops" in listed
    assert ">U0ADA</td>" in listed


@pytest.mark.parametrize("trouble", ["down", "hangs", "throttles", "refuses"])
def test_a_slack_in_trouble_costs_pages_little(
    ada: httpx.Client, session: ThreadSession, slack: SlackSandbox, trouble: str
) -> None:
    """With a Slack that gives nothing the pages are there within a second or so, with ids."""
    match trouble:
        case "down":
            slack.is_down = True
        case "hangs":
            for method in ("users.info", "conversations.info"):
                slack.fail(method, *[Hangs(30)] * 10)
        case "throttles":
            for method in ("users.info", "conversations.info"):
                slack.fail(method, *[RateLimited(30)] * 10)
        case "refuses":
            slack.refuses = "token_revoked"
    begun = time.monotonic()
    listed = page(ada, "/sessions")
    took = time.monotonic() - begun
    assert "<bdi>C0OPS</bdi>" in listed
    assert ">U0ADA</td>" in listed
    # A page's own time is within it.
    assert took < console_names.WAIT_SECONDS + 1.5


def test_no_page_waits_while_slack_is_away(slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one lookup that failed none is begun for a while; then names come again."""
    now = [1000.0]
    settings = Settings(slack_bot_token=slack.token, slack_api_url=slack.api_url)
    names = SlackNames.of_settings(settings)
    names._monotonic = lambda: now[0]
    names._names.monotonic = names._monotonic
    slack.is_down = True
    assert names.look_up(["U0ADA"], seconds=10)
    calls = len(slack.calls("users.info"))
    slack.is_down = False
    assert not names.look_up(["U0ADA", "U0EVE"], seconds=10)
    assert (names.shown("U0ADA"), len(slack.calls("users.info"))) == (None, calls)
    now[0] += 31
    assert names.look_up(["U0ADA"], seconds=10)
    assert names.shown("U0ADA") == "Ada Lovelace"


def test_what_waits_is_bounded(slack: SlackSandbox) -> None:
    """Thousands of ids wait in a bounded queue, by a few threads, and all callers go on."""
    slack.fail("users.info", *[Hangs(2)] * 50)
    names = SlackNames.of_settings(Settings(slack_bot_token=slack.token, slack_api_url=slack.api_url))
    before = threading.active_count()
    begun = time.monotonic()
    for batch in range(20):
        names.look_up([f"U{batch:03}{number:04}" for number in range(500)], seconds=0.01)
    assert time.monotonic() - begun < 5
    assert len(names._waiting) <= MOST_WAITING
    assert threading.active_count() - before <= 4
    assert not names.look_up(["not an id", "", "U" * 200, "B1", "Ü1", "C0/../x"])


def test_the_threads_end_and_begin_again(slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads without work end; the next page begins new ones."""
    monkeypatch.setattr(console_names, "_IDLE_SECONDS", 0.05)
    names = SlackNames.of_settings(Settings(slack_bot_token=slack.token, slack_api_url=slack.api_url))
    for slack_id in ("U0ADA", "U0EVE"):
        assert names.look_up([slack_id], seconds=10)
        assert names.shown(slack_id)
        wait_until(lambda: names._lookers == 0, "the threads have ended")


def test_a_name_that_is_claimed_is_no_slack_id(
    ada: httpx.Client, session: ThreadSession, pool: Pool, slack: SlackSandbox
) -> None:
    """In the trail an actor from Slack has a name, and who signed in under an id of Slack's keeps the id."""
    SessionStore(pool).link("C0OPS", TS, "PROJ-1", ADA, uuid4())
    assert sign_in(ada, "U0EVE", PASSWORD).status_code == 303
    csrf = token(ada, f"/sessions/{session.id}")
    form = {"csrf": csrf, "key": "PROJ-1", "reason": "made twice"}
    assert ada.post(f"/console/sessions/{session.id}/unlink", data=form).status_code == 303
    for path in ("/audit", f"/sessions/{session.id}"):
        shown = page(ada, path)
        assert '<bdi title="U0ADA of T0001 in Slack">Ada Lovelace</bdi> in Slack' in shown
        assert "U0EVE (console, 127.0.0.1)" in shown
    assert [call.arguments["user"] for call in slack.calls("users.info")] == ["U0ADA"]
