"""The console's pages on channels, with the console's own rights."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.support.console_client import PASSWORD, console_on, sign_in, token
from tests.support.servers import ask
from threadsync.channel_settings.values import ChannelSettings
from threadsync.syncs import Draft, MadeWith
from worker.db import SessionStore
from worker.db.channels.store import ChannelSettingsStore
from worker.db.pool import Pool

HOSTILE = "<script>alert(1)</script>"
PAGE = "/channels/C0123"


@pytest.fixture
def ada(database_url: str, broker_url: str) -> Iterator[httpx.Client]:
    """Yield a client that is signed in as Ada."""
    with console_on(database_url, broker_url) as client:
        sign_in(client, "ada", PASSWORD)
        yield client


def press(client: httpx.Client, action: str, **form: str) -> httpx.Response:
    return client.post(f"/console{PAGE}/{action}", data={"csrf": token(client, PAGE), **form})


def test_a_setting_is_set_and_reset(ada: httpx.Client, pool: Pool, database_url: str) -> None:
    """A setting is set and reset with name and reason, and the page and the audit trail say who did."""
    store = ChannelSettingsStore(pool)
    set_it = press(ada, "set", name="labels", value="a, b", reason="asked for")
    assert (set_it.status_code, set_it.headers["location"]) == (303, f"/console{PAGE}")
    assert store.get("C0123").settings == ChannelSettings(labels=("a", "b"))
    page = ada.get(f"/console{PAGE}").text
    assert "Set: labels = a, b." in page
    assert "ada (console" in page
    assert "Asked for" in page
    assert ">C0123</a>: labels" in ada.get("/console/audit").text
    assert "labels = a, b" in ada.get("/console/channels").text
    assert press(ada, "reset", name="labels", reason="no more").status_code == 303
    assert store.get("C0123").settings == ChannelSettings()
    assert ask(database_url, "SELECT string_agg(DISTINCT via, ',') FROM channel_acts") == "console"


def test_a_refused_form_keeps_its_input(ada: httpx.Client, pool: Pool) -> None:
    """A value that is none is refused with a sentence; its form keeps what was written."""
    answer = press(ada, "set", name="include", value=HOSTILE, reason="why not")
    assert answer.status_code == 400
    assert "Include is not link, text or files" in answer.text
    assert HOSTILE not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert press(ada, "set", name="include", value="text", reason=" ").status_code == 400
    assert press(ada, "set", name="colour", value="red", reason="x").status_code == 400
    assert press(ada, "paint", name="labels", value="red", reason="x").status_code == 404
    assert ChannelSettingsStore(pool).configured(10) == []


def test_other_programs_members_are_neither_shown_nor_touched(ada: httpx.Client, store: SessionStore) -> None:
    """The console sees and changes our own member alone."""
    store.merge_channel_context("C0123", {"topic": "canary", "threadsync": {"labels": 7}}, uuid4())
    page = ada.get(f"/console{PAGE}").text
    assert "canary" not in page
    assert "Ignored: threadsync.labels is not 1 to 10 labels" in page
    press(ada, "set", name="include", value="files", reason="x")
    context = store.get_channel_context("C0123")
    assert context is not None
    ours = {"labels": 7, "include": "files", "unverified": {}}
    assert context.context_data == {"topic": "canary", "threadsync": ours}


def test_a_channel_is_found_by_its_id(ada: httpx.Client) -> None:
    """A channel without settings is found by its ID; what is no ID is refused."""
    found = ada.get("/console/channels", params={"channel": "C0NEW"})
    assert (found.status_code, found.headers["location"]) == (303, "/console/channels/C0NEW")
    assert ada.get("/console/channels/C0NEW").status_code == 200
    assert ada.get("/console/channels/no%20channel").status_code == 400


def test_a_session_says_what_its_ticket_was_made_with(
    ada: httpx.Client, store: SessionStore, database_url: str
) -> None:
    """A session's page says which project and type it was, and where each comes from."""
    store.get_or_create_session("C0123", "1.1", "U1")
    session = store.request_sync("C0123", "1.1", Draft(summary="x"), "1.2")
    page = f"/console/sessions/{session.id}"
    assert "tried with" not in ada.get(page).text
    made_with = MadeWith(
        project_key="OPS", project_from="channel", issue_type="Task", issue_type_from="settings"
    )
    ask(database_url, "UPDATE syncs SET made_with = %s::jsonb RETURNING 1", made_with.model_dump_json())
    said = "Last tried with project OPS from the channel&#39;s settings, type Task from the settings of the"
    assert said in ada.get(page).text
