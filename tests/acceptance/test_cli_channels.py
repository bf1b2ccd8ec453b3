"""``threadsync channels show | set | reset`` as an operator runs them."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.support.command_runs import Run, failure, output, run_in
from tests.support.servers import ask
from threadsync.channel_settings.values import ChannelSettings
from threadsync.syncs import Draft, MadeWith
from worker.db import SessionStore
from worker.db.channels.store import ChannelSettingsStore
from worker.db.pool import Pool

SIGNED = ("--reason", "asked for", "--actor", "ann")


@pytest.fixture
def run(process_env: dict[str, str]) -> Run:
    """Run `threadsync` on this test's servers."""
    return lambda *arguments: run_in(process_env, *arguments)


def test_settings_are_set_shown_and_reset(run: Run, pool: Pool) -> None:
    """Values are set with actor and reason, shown with who set them, and reset one by one or together."""
    said = output(run("channels", "set", "C0123", "labels=a, b c", "who=U1,S1", "include=text", *SIGNED))
    assert said == "Set: labels = a, b c; include = text; who = U1, S1.\n"
    assert ChannelSettingsStore(pool).get("C0123").settings == ChannelSettings(
        labels=("a", "b c"), include="text", who=("U1", "S1")
    )
    shown = output(run("channels", "show", "C0123"))
    assert "a, b c" in shown
    assert "ann (cli)" in shown
    assert "asked for" in shown
    told = json.loads(output(run("channels", "show", "C0123", "--json")))
    assert told["settings"] == {"labels": ["a", "b c"], "include": "text", "who": ["U1", "S1"]}
    assert told["acts"][0]["settings"] == ["labels", "include", "who"]
    assert output(run("channels", "reset", "C0123", "labels", *SIGNED)) == "Reset: labels.\n"
    left = json.loads(output(run("channels", "reset", "C0123", *SIGNED, "--json")))
    assert left == {"channel_id": "C0123", "settings": {}, "unverified": []}
    audit = json.loads(output(run("audit", "list", "--json")))
    assert [(item["action"], item["actor"], item["task_name"]) for item in audit] == [
        ("reset_channel", "ann", "C0123"),
        ("set_channel", "ann", "C0123: labels"),
        ("set_channel", "ann", "C0123: labels, include, who"),
    ]


def test_what_jira_could_not_be_asked_is_unverified(run: Run, pool: Pool) -> None:
    """A project that nobody was asked about is saved with a mark, and the sentence says so."""
    said = output(run("channels", "set", "C0123", "project=ops", *SIGNED))
    assert "Jira could not be asked about project_key" in said
    assert ChannelSettingsStore(pool).get("C0123").settings == ChannelSettings(
        "OPS", unverified=frozenset({"project_key"})
    )
    assert "not confirmed by Jira yet" in output(run("channels", "show", "C0123"))


def test_faults_are_said_and_change_nothing(run: Run, pool: Pool) -> None:
    """A fault is a sentence on stderr; nothing is set, also not the values beside it."""
    for words, sentence in (
        (("labels=a", "include=all"), "include is not link, text or files"),
        (("colour=red",), "there is no setting 'colour'; settings: project_key, issue_type"),
        (("labels",), "'labels' is not name=value"),
    ):
        assert sentence in failure(run("channels", "set", "C0123", *words, *SIGNED))
    assert "there is no setting 'colour'" in failure(run("channels", "reset", "C0123", "colour", *SIGNED))
    assert "channel_id" in failure(run("channels", "set", "no channel", "labels=a", *SIGNED))
    assert ChannelSettingsStore(pool).configured(10) == []


def test_junk_is_named(run: Run, store: SessionStore) -> None:
    """A value that counts as absent is named on stderr, and not quoted."""
    store.merge_channel_context("C0123", {"threadsync": {"labels": "canary"}}, uuid4())
    done = run("channels", "show", "C0123")
    assert done.stdout.startswith("The channel has no settings of its own.")
    assert done.stderr.startswith("Ignored: threadsync.labels is not 1 to 10 labels")
    assert "canary" not in done.stdout + done.stderr


def test_a_sync_says_what_its_ticket_was_made_with(run: Run, store: SessionStore, database_url: str) -> None:
    """`syncs show` says which project and type it was, and where each comes from."""
    store.get_or_create_session("C0123", "1.1", "U1")
    session = store.request_sync("C0123", "1.1", Draft(summary="x"), "1.2")
    made_with = MadeWith(project_key="OPS", project_from="channel", issue_type_from="draft")
    ask(
        database_url,
        "UPDATE syncs SET made_with = %s::jsonb RETURNING 1",
        made_with.model_dump_json(exclude_none=True),
    )
    said = "project OPS from the channel's settings, type from the draft"
    assert said in " ".join(output(run("syncs", "show", str(session.id))).split())
    told = json.loads(output(run("syncs", "show", str(session.id), "--json")))
    assert "channel" in json.dumps(told)
