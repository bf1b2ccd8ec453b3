"""Single messages, good and bad, sent to a running worker by a stock Celery client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError

from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync.errors import CommandFailed, InvalidCommand, JiraKeyConflict, PoisonCommand, SessionNotFound

SESSION = {"channel_id": "C1", "thread_ts": "1700000000.000100"}
FIELDS = {
    "id",
    "channel_id",
    "thread_ts",
    "user_id",
    "status",
    "jira_key",
    "created_at",
    "updated_at",
    "outcome",
}


def thread(number: int) -> dict[str, str]:
    return {"channel_id": "C1", "thread_ts": f"{number}.000100"}


def test_a_session_goes_its_way(shared: Installation) -> None:
    """Each command on a session has its effect and returns it as flat JSON."""
    created = shared.send("sessions.get_or_create", **SESSION, user_id="U1").get(timeout=10)
    assert set(created) == FIELDS
    assert created["outcome"] == "created"
    assert created["status"] == "collecting"
    ready = shared.send("sessions.update_status", **SESSION, status="ready_to_sync").get(timeout=10)
    assert (ready["outcome"], ready["status"]) == ("applied", "ready_to_sync")
    synced = shared.send("sessions.mark_synced", **SESSION, jira_key="PROJ-1").get(timeout=10)
    assert (synced["outcome"], synced["jira_key"]) == ("applied", "PROJ-1")
    stale = shared.send("sessions.update_status", **SESSION, status="collecting").get(timeout=10)
    assert (stale["outcome"], stale["status"]) == ("stale", "synced")
    seen = shared.send("sessions.get", **SESSION).get(timeout=10)
    assert seen == {name: value for name, value in stale.items() if name != "outcome"}
    page = shared.send("sessions.list_by_channel", channel_id="C1").get(timeout=10)
    assert page == {"sessions": [seen], "next_cursor": None}


def test_another_key_is_a_conflict(shared: Installation) -> None:
    """A second ticket raises our JiraKeyConflict with both keys and leaves the row unchanged."""
    shared.send("sessions.get_or_create", **thread(2), user_id="U1").get(timeout=10)
    before = shared.send("sessions.mark_synced", **thread(2), jira_key="PROJ-2").get(timeout=10)
    with pytest.raises(JiraKeyConflict) as conflict:
        shared.send("sessions.mark_synced", **thread(2), jira_key="PROJ-3").get(timeout=10)
    assert (conflict.value.jira_key, conflict.value.refused_key) == ("PROJ-2", "PROJ-3")
    after = shared.send("sessions.get", **thread(2)).get(timeout=10)
    assert after["updated_at"] == before["updated_at"]


def test_channel_context(shared: Installation) -> None:
    """A context patch is applied once per command_id, and a channel without a context returns None."""
    assert shared.send("channels.get_context", channel_id="C7").get(timeout=10) is None
    patch = {
        "channel_id": "C7",
        "patch": {"lang": "de", "old": None},
        "command_id": "0190cb6e-0000-7000-8000-000000000001",
    }
    first = shared.send("channels.merge_context", **patch).get(timeout=10)
    assert (first["outcome"], first["context_data"], first["version"]) == ("created", {"lang": "de"}, 1)
    again = shared.send("channels.merge_context", **patch).get(timeout=10)
    assert (again["outcome"], again["version"]) == ("unchanged", 1)


def test_a_command_waits_for_its_session(shared: Installation) -> None:
    """A command that overtook its get_or_create is applied once that is there."""
    early = shared.send("sessions.update_status", **thread(3), status="ready_to_sync")
    with pytest.raises(CeleryTimeoutError):
        early.get(timeout=0.2)
    shared.send("sessions.get_or_create", **thread(3), user_id="U1").get(timeout=10)
    assert early.get(timeout=10)["outcome"] == "applied"


def test_without_a_session_it_fails_after_its_patience(shared: Installation) -> None:
    """A command whose session does not come within SESSION_WAIT_SECONDS becomes a dead letter."""
    result = shared.send("sessions.mark_synced", **thread(4), jira_key="PROJ-4")
    with pytest.raises(SessionNotFound, match=r"no session for thread 4\.000100"):
        result.get(timeout=10)
    letter = shared.dead_letter(lambda letter: letter.task_id == result.id)
    assert letter.error_type == "SessionNotFound"
    assert letter.attempts > 1
    assert letter.first_attempt_at is not None
    assert 0.5 < (letter.died_at - letter.first_attempt_at).total_seconds() < 8
    assert json.loads(letter.arguments or "") == {"args": [], "kwargs": {**thread(4), "jira_key": "PROJ-4"}}


def test_fields_of_a_newer_producer_are_ignored(shared: Installation) -> None:
    """A command with an unknown argument of a newer producer is carried out without it."""
    result = shared.send("sessions.get_or_create", **thread(5), user_id="U1", priority="high")
    assert result.get(timeout=10)["outcome"] == "created"


@pytest.mark.parametrize(
    ("task", "arguments", "fault"),
    [
        ("sessions.get_or_create", {"channel_id": "C1", "thread_ts": 1700.1, "user_id": "U1"}, "thread_ts"),
        ("sessions.get_or_create", {"channel_id": "C1", "thread_ts": "1700.1"}, "user_id"),
        (
            "sessions.get_or_create",
            {"channel_id": "C\x00", "thread_ts": "1.1", "user_id": "U1"},
            "channel_id",
        ),
        (
            "sessions.get_or_create",
            {"channel_id": "C", "thread_ts": "1.1", "user_id": "U" * 2**20},
            "user_id",
        ),
        ("sessions.get_or_create", {"channel_id": None, "thread_ts": [], "user_id": {}}, "channel_id"),
        ("sessions.update_status", {**SESSION, "status": "done"}, "status"),
        ("sessions.update_status", {**SESSION, "status": "synced"}, "mark_synced"),
        ("sessions.mark_synced", {**SESSION, "jira_key": "proj-1"}, "jira_key"),
        ("sessions.list_by_channel", {"channel_id": "C1", "limit": 201}, "limit"),
        ("sessions.list_by_channel", {"channel_id": "C1", "cursor": "x"}, "cursor"),
        ("channels.merge_context", {"channel_id": "C1", "patch": [], "command_id": "x"}, "patch"),
        (
            "channels.merge_context",
            {
                "channel_id": "C1",
                "patch": {"a": "\x00"},
                "command_id": "0190cb6e-0000-7000-8000-000000000002",
            },
            "NUL",
        ),
    ],
)
def test_wrong_arguments_fail_for_good(
    shared: Installation, task: str, arguments: dict[str, Any], fault: str
) -> None:
    """A wrong argument raises InvalidCommand that names it, and makes a dead letter at the first attempt."""
    rows = shared.sessions()
    result = shared.send(task, **arguments)
    with pytest.raises(InvalidCommand, match=fault):
        result.get(timeout=10)
    letter = shared.dead_letter(lambda letter: letter.task_id == result.id)
    assert letter.attempts == 1
    assert json.loads(letter.arguments or "")["kwargs"] == arguments
    assert shared.sessions() == rows


def test_positional_arguments_are_refused(shared: Installation) -> None:
    """A command with positional arguments is refused."""
    with pytest.raises(InvalidCommand, match="send them as keyword arguments"):
        shared.send("sessions.get_or_create", "C1", "1.1", "U1").get(timeout=10)


@pytest.mark.parametrize(
    ("body", "headers", "error", "arguments"),
    [
        (b"\xff\xfe junk", {"id": "a1", "task": "sessions.get"}, "DecodeError", None),
        (b"{{{", {}, "DecodeError", None),
        (b'{"no": "task"}', {}, "not a Celery task message", None),
        (b"[1, 2]", {"id": "a2", "task": "sessions.get"}, "unpack", None),
        (b"[[], [], {}]", {"id": "a3", "task": "sessions.get"}, "JSON object", None),
        (b'[[], {"x": 1}, {}]', {"id": "a4", "task": "sessions.vanished"}, "no task of this name", {"x": 1}),
        (b'[[], {"x": 2}, {}]', {"id": "a5", "task": "sessions.get", "eta": "soon"}, "ETA", {"x": 2}),
        (b"[[]," + b"[" * 100_000, {"id": "a6", "task": "sessions.get"}, "recursion|Recursion", None),
    ],
    ids=["no UTF-8", "no JSON", "no task", "too short", "no object", "unknown task", "bad eta", "too deep"],
)
def test_what_cannot_be_read_is_kept(
    shared: Installation, body: bytes, headers: dict[str, str], error: str, arguments: dict[str, int] | None
) -> None:
    """An unreadable message becomes a dead letter with its bytes, and the worker goes on."""
    shared.publish(body, **headers)
    letter = shared.dead_letter(lambda letter: letter.body == body)
    assert pytest.approx(1) == letter.attempts
    assert any(word in letter.error for word in error.split("|")), letter.error
    if arguments is not None:
        assert json.loads(letter.arguments or "") == {"args": [], "kwargs": arguments}
    assert shared.send("sessions.get", **SESSION).get(timeout=10) is not False
    wait_until(lambda: shared.waiting() == 0, "nothing is left in the broker")


def test_a_worker_without_a_database_does_not_start(installation: Installation) -> None:
    """A worker without DATABASE_URL ends at its start and names the setting."""
    worker = installation.worker(DATABASE_URL="")
    worker.launch()
    wait_until(lambda: not worker.is_alive, "it ends", timeout=20)
    assert "DATABASE_URL: is not set" in worker.log


def test_an_unknown_task_is_answered(shared: Installation) -> None:
    """A command with an unknown task name fails with a hint at a newer release."""
    with pytest.raises(CommandFailed, match="newer release"):
        shared.send("sessions.of_tomorrow", x=1).get(timeout=10)


def test_any_other_error_is_a_dead_letter(shared: Installation) -> None:
    """A foreign error raises CommandFailed with its name and makes a dead letter."""
    result = shared.send("probe.raise")
    with pytest.raises(CommandFailed, match="ValueError: probe"):
        result.get(timeout=10)
    assert shared.dead_letter(lambda letter: letter.task_id == result.id).error == "ValueError: probe"


def test_an_answer_that_is_no_json_leaves_the_effect(shared: Installation) -> None:
    """A task whose result cannot be stored raises CommandFailed, keeps its effect, and is no dead letter."""
    result = shared.send("probe.unserializable")
    with pytest.raises(CommandFailed, match="carried out, its result is lost: EncodeError"):
        result.get(timeout=10)
    wait_until(lambda: shared.waiting() == 0, "the message has ended")
    assert [letter for letter in shared.dead_letters() if letter.task_id == result.id] == []


def test_an_unavailable_database_is_waited_for(shared: Installation, tmp_path: Path) -> None:
    """A task waits for an absent database any number of times without a dead letter."""
    result = shared.send("probe.database_away", str(tmp_path / "diary"), 7)
    assert result.get(timeout=20) == "there again"
    assert [letter for letter in shared.dead_letters() if letter.task_id == result.id] == []


def test_a_task_that_kills_its_process_is_stopped(shared: Installation, tmp_path: Path) -> None:
    """A task that kills its process is stopped after five counted deaths, as a dead letter."""
    diary = tmp_path / "diary"
    result = shared.send("probe.kill_child", str(diary))
    wait_until(lambda: diary.exists(), "it runs")
    assert shared.send("sessions.get", **SESSION).get(timeout=10) is not False
    with pytest.raises(PoisonCommand, match="5 times"):
        result.get(timeout=60)
    assert diary.read_text().count("run") == 2 + 5
    letter = shared.dead_letter(lambda letter: letter.task_id == result.id)
    assert (letter.error_type, letter.attempts) == ("PoisonCommand", 5)
    assert json.loads(letter.arguments or "") == {"args": [str(diary)], "kwargs": {}}


def test_a_task_that_recovers_is_no_poison(shared: Installation, tmp_path: Path) -> None:
    """A task that kills its process twice and then succeeds makes no dead letter."""
    result = shared.send("probe.kill_child", str(tmp_path / "diary"), 2)
    assert result.get(timeout=60) == "survived"
    assert [letter for letter in shared.dead_letters() if letter.task_id == result.id] == []
