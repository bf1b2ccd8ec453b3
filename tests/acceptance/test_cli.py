"""The `threadsync` command as a person runs it: real processes on a real database and broker."""

from __future__ import annotations

import base64
import getpass
import json
import subprocess
import sys
from typing import Any, get_args
from uuid import uuid4

import pytest
import redis

from tests.support.command_runs import Run, failure, output, run_in
from tests.support.servers import as_owner, ask
from threadsync.dead_letters import DeadLetter
from threadsync.errors import JiraKeyConflict
from threadsync.types import Status
from worker.db import SessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore

ARGUMENTS = {"args": [], "kwargs": {"channel_id": "C1", "thread_ts": "1.1", "jira_key": "PROJ-2"}}


@pytest.fixture
def run(process_env: dict[str, str]) -> Run:
    """Run `threadsync` on this test's servers."""
    return lambda *arguments: run_in(process_env, *arguments)


def bury(dead_letters: DeadLetterStore, task_id: str = "task-1", **changes: Any) -> DeadLetter:
    letter = {
        "task_id": task_id,
        "task_name": "sessions.mark_synced",
        "queue": "sessions",
        "arguments": json.dumps(ARGUMENTS),
        "error": JiraKeyConflict("C1", "1.1", "PROJ-1", "PROJ-2"),
        "attempts": 1,
    }
    return dead_letters.get(dead_letters.bury(Letter(**{**letter, **changes})))


def messages(broker_url: str, queue: str = "sessions") -> list[dict[str, Any]]:
    """Return the waiting messages of a queue: task name, id and arguments."""
    with redis.Redis.from_url(broker_url) as client:
        raw = client.lrange(queue, 0, -1)
    found = [json.loads(item) for item in raw]
    return [
        {
            "task": item["headers"]["task"],
            "id": item["headers"]["id"],
            "body": json.loads(base64.b64decode(item["body"]))[:2],
        }
        for item in found
    ]


def test_help_is_complete_and_quick(run: Run) -> None:
    """The help names every command, and loads neither the driver nor Celery for that."""
    text = output(run("--help"))
    assert {"migrate", "sessions", "dead", "up", "demo"} <= set(text.split())
    code = "import sys, worker.cli; sys.exit(bool({'psycopg', 'celery', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_migrate_says_the_version(empty_database_url: str, process_env: dict[str, str]) -> None:
    """`threadsync migrate` names the schema's version, the first time and every other time."""
    env = {**process_env, "DATABASE_URL": empty_database_url}
    for _ in range(2):
        text = output(run_in(env, "migrate"))
        version = ask(empty_database_url, "SELECT max(version) FROM threadsync_schema")
        assert text == f"The database schema is at version {version}.\n"


def test_migrate_refuses_a_newer_schema(run: Run, database_url: str) -> None:
    """`threadsync migrate` refuses a schema that a newer version migrated."""
    ask(as_owner(database_url), "INSERT INTO threadsync_schema (version, name) VALUES (9999, 'x')")
    assert "migrated by a newer threadsync" in failure(run("migrate"))


@pytest.mark.parametrize("command", [("migrate",), ("sessions", "list"), ("dead", "list")])
def test_without_a_database(process_env: dict[str, str], command: tuple[str, ...]) -> None:
    """A missing, unreachable or refusing database is named as such, and no password is printed."""
    unset = {name: value for name, value in process_env.items() if name != "DATABASE_URL"}
    assert "DATABASE_URL: is not set" in failure(run_in(unset, *command))
    away = {**process_env, "DATABASE_URL": "postgresql://u:topsecret@127.0.0.1:1/d"}
    reason = failure(run_in(away, *command))
    assert "Connection refused" in reason
    assert "topsecret" not in reason
    host = process_env["DATABASE_URL"].rpartition("@")[2]
    wrong = {**process_env, "DATABASE_URL": f"postgresql://threadsync:topsecret@{host}"}
    reason = failure(run_in(wrong, *command))
    assert "password authentication failed" in reason
    assert "topsecret" not in reason


def test_sessions_are_listed(run: Run, store: SessionStore) -> None:
    """Sessions are listed newest first, by channel and status, in whole lines where output is a pipe."""
    for number, channel in enumerate(("C1", "C1", "C2"), start=1):
        store.get_or_create_session(channel, f"{number}.1", f"U{number}")
    store.mark_synced("C1", "2.1", "PROJ-7")
    lines = output(run("sessions", "list")).splitlines()
    assert [line.split()[1:4] for line in lines[1:]] == [
        ["C2", "3.1", "U3"],
        ["C1", "2.1", "U2"],
        ["C1", "1.1", "U1"],
    ]
    assert lines[2].split()[4:6] == ["synced", "PROJ-7"]
    chosen = output(run("sessions", "list", "--channel", "C1", "--status", "collecting", "--json"))
    assert [item["thread_ts"] for item in json.loads(chosen)] == ["1.1"]


def test_a_channel_that_moved(run: Run, store: SessionStore) -> None:
    """The sessions of a channel that moved are found by either id."""
    session = store.get_or_create_session("G0OLD", "1.1", "U1")
    assert "G0OLD → C0NEW: applied" in output(run("channels", "moved", "G0OLD", "C0NEW"))
    again = json.loads(output(run("channels", "moved", "G0OLD", "C0NEW", "--json")))
    assert (again["outcome"], again["home_id"], again["newest_id"]) == ("unchanged", "G0OLD", "C0NEW")
    shown = json.loads(output(run("sessions", "show", "C0NEW", "1.1", "--json")))
    assert shown["id"] == str(session.id)
    assert "same" in failure(run("channels", "moved", "C0NEW", "C0NEW"))


def test_pages_of_sessions(run: Run, store: SessionStore) -> None:
    """The hint beside the table leads to the next page; JSON has none, for the last id is the cursor."""
    for number in range(3):
        store.get_or_create_session("C1", f"{number}.1", "U1")
    page = run("sessions", "list", "--limit", "2")
    assert page.returncode == 0
    cursor = page.stderr.split()[-1]
    assert cursor in page.stdout.splitlines()[-1]
    rest = json.loads(output(run("sessions", "list", "--cursor", cursor, "--json")))
    assert [item["thread_ts"] for item in rest] == ["0.1"]


def test_json_is_what_the_tasks_return(run: Run, store: SessionStore) -> None:
    """The JSON has the same names and formats as a result of `sessions.get`."""
    session = store.get_or_create_session("C1", "1.1", "U1").model_dump(mode="json", exclude={"outcome"})
    assert json.loads(output(run("sessions", "list", "--json"))) == [session]
    assert json.loads(output(run("sessions", "show", "C1", "1.1", "--json"))) == session
    assert json.loads(output(run("sessions", "show", session["id"], "--json"))) == session


def test_a_session_is_shown_to_people(run: Run, store: SessionStore) -> None:
    """A session is shown with one field a line."""
    store.get_or_create_session("C1", "1.1", "U1")
    lines = output(run("sessions", "show", "C1", "1.1")).splitlines()
    assert ["status", "collecting"] in [line.split() for line in lines]
    assert ["jira_key", "-"] in [line.split() for line in lines]


def test_what_is_not_there(run: Run) -> None:
    """An unknown or malformed id ends with a sentence and exit code 1; an empty list is no failure."""
    assert "no session for thread 1.1 in channel C1" in failure(run("sessions", "show", "C1", "1.1"))
    assert "no session has the ID" in failure(run("sessions", "show", str(uuid4())))
    assert "must be a UUID" in failure(run("sessions", "show", "C1"))
    assert "cursor: is not one" in failure(run("sessions", "list", "--cursor", "2"))
    assert "no dead letter" in failure(run("dead", "show", str(uuid4())))
    assert "is not the id of a dead letter" in failure(run("dead", "show", "1"))
    assert json.loads(output(run("sessions", "list", "--json"))) == []
    assert json.loads(output(run("dead", "list", "--json"))) == []


def test_a_wrong_option_is_a_usage_error(run: Run) -> None:
    """A wrong option ends with exit code 2."""
    failure(run("sessions", "list", "--limit", "201"), code=2)
    failure(run("sessions", "list", "--status", "done"), code=2)
    failure(run("sessions", "show", "a", "b", "c"), code=2)
    failure(run("dead", "retry", str(uuid4())), code=2)
    failure(run("dead", "retry", str(uuid4()), "--reason", " "), code=2)


def test_the_statuses_to_choose_from_are_all(run: Run) -> None:
    """Every status can be chosen, although the command line has its own list (help loads no models)."""
    for status in get_args(Status):
        assert output(run("sessions", "list", "--status", status, "--json")) == "[]\n"


def test_dead_letters_are_listed_and_shown(run: Run, dead_letters: DeadLetterStore) -> None:
    """Dead letters show error and arguments; unreadable bytes come as base64 in JSON."""
    readable = bury(dead_letters)
    junk = bury(dead_letters, "task-2", arguments=None, body=b"\xff\x00")
    lines = output(run("dead", "list")).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [str(junk.id), str(readable.id)]
    assert "JiraKeyConflict: thread 1.1 in channel C1 is already synced with PROJ-1" in lines[2]
    shown = output(run("dead", "show", str(readable.id)))
    assert json.dumps(ARGUMENTS) in shown
    assert "2 bytes" in output(run("dead", "show", str(junk.id)))
    assert DeadLetter(**json.loads(output(run("dead", "show", str(junk.id), "--json")))) == junk


def test_what_strangers_wrote_is_only_shown(run: Run, dead_letters: DeadLetterStore) -> None:
    """Text in dead letters sends no escape sequence to the terminal, and its markup is not interpreted."""
    letter = bury(dead_letters, error=ValueError("[red]\x1b[2J\x9b31m\nsecond line[/]"), task_name="[bold]x")
    for arguments in (("list",), ("show", str(letter.id)), ("list", "--json")):
        text = output(run("dead", *arguments))
        assert not {"\x1b", "\x9b"} & set(text)
        assert "[red]" in text
        assert "[bold]x" in text


def test_a_letter_is_sent_again(run: Run, dead_letters: DeadLetterStore, broker_url: str) -> None:
    """A replay has the same name, arguments and queue, and a new id; the dead letter says by whom and why."""
    letter = bury(dead_letters)
    text = output(run("dead", "retry", str(letter.id), "--reason", "key was mended", "--actor", "ann"))
    [message] = messages(broker_url)
    assert message["task"] == "sessions.mark_synced"
    assert message["body"] == [ARGUMENTS["args"], ARGUMENTS["kwargs"]]
    assert message["id"] != letter.task_id
    assert message["id"] in text
    settled = dead_letters.get(letter.id)
    assert (settled.state, settled.actor, settled.reason) == ("retried", "ann", "key was mended")
    assert str(letter.id) in output(run("dead", "list", "--state", "retried"))


def test_a_letter_is_sent_again_once(run: Run, dead_letters: DeadLetterStore, broker_url: str) -> None:
    """A second replay is refused before anything is sent, and names the operator of the first."""
    letter = bury(dead_letters)
    dead_letters.settle(letter.id, "retried", actor="ann", reason="mended")
    refusal = failure(run("dead", "retry", str(letter.id), "--reason", "again"))
    assert "already retried by ann: mended" in refusal
    assert messages(broker_url) == []


@pytest.mark.parametrize("arguments", [None, "{", "[]", '{"args": {}, "kwargs": []}', '{"kwargs": {}}'])
def test_a_letter_that_cannot_be_read_is_not_sent(
    run: Run, dead_letters: DeadLetterStore, broker_url: str, arguments: str | None
) -> None:
    """A dead letter that cannot be read stays open, and the refusal says what to do."""
    letter = bury(dead_letters, arguments=arguments, body=b"\xff")
    refusal = failure(run("dead", "retry", str(letter.id), "--reason", "try"))
    assert f"threadsync dead show {letter.id} --json" in refusal
    assert messages(broker_url) == []
    assert dead_letters.get(letter.id).state == "dead"


def test_a_queue_that_nobody_reads_is_not_used(
    run: Run, dead_letters: DeadLetterStore, broker_url: str
) -> None:
    """A dead letter from a queue that is unknown here goes to the default queue."""
    letter = bury(dead_letters, queue="(unknown)")
    answer = json.loads(output(run("dead", "retry", str(letter.id), "--reason", "try", "--json")))
    assert [message["id"] for message in messages(broker_url)] == [answer["new_task_id"]]


def test_without_a_broker_nothing_is_settled(
    process_env: dict[str, str], dead_letters: DeadLetterStore
) -> None:
    """A replay without a broker sends nothing, so the dead letter stays open."""
    letter = bury(dead_letters)
    away = {**process_env, "CELERY_BROKER_URL": "redis://:topsecret@127.0.0.1:1/0"}
    reason = failure(run_in(away, "dead", "retry", str(letter.id), "--reason", "try"))
    assert "the broker did not take the message" in reason
    assert "topsecret" not in reason
    assert dead_letters.get(letter.id).state == "dead"


def test_a_letter_is_discarded(run: Run, dead_letters: DeadLetterStore) -> None:
    """A discarded dead letter is kept, with the operator's login name."""
    letter = bury(dead_letters)
    answer = json.loads(output(run("dead", "discard", str(letter.id), "--reason", "a test", "--json")))
    assert (answer["state"], answer["actor"], answer["reason"]) == ("discarded", getpass.getuser(), "a test")
    assert "already discarded" in failure(run("dead", "discard", str(letter.id), "--reason", "again"))
