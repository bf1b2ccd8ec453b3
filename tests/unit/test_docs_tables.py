"""The documents' tables and numbers, compared with the code."""

from __future__ import annotations

import os
import pkgutil
import re
import runpy
import subprocess
import sys
from types import NoneType, UnionType
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel

from tests.fundamentals.test_command_table import TABLE
from tests.support.documents import ROOT, blocks, read, table
from threadsync.channels import ChannelContext, ChannelMove, ContextResult
from threadsync.command import Command
from threadsync.config import Settings, load_settings
from threadsync.forms import DraftFound, FormFields, IssueTypeList, JiraPerson, ProjectList
from threadsync.lookup_commands import (
    AccountLookup,
    DraftLookup,
    FormFieldsLookup,
    IssueTypesLookup,
    LinkAnswer,
    LinkLookup,
    ProjectsLookup,
)
from threadsync.reasons import REASONS
from threadsync.sessions import SessionPage, SessionResult, ThreadSession
from threadsync.sync_commands import RetrySync, Sync
from threadsync.syncs import Draft, SyncState, SyncStatus
from threadsync.types import Status
from worker.celery import configuration
from worker.db.pool import connect_arguments
from worker.db.sessions.statements import COMMANDS
from worker.doctor import (
    broker,
    channels,
    database,
    flower,
    installation,
    jira,
    rabbitmq,
    reporter,
    running,
    settings,
    slack,
)
from worker.jira.decide import LOOK_AFTER_SECONDS
from worker.operate.rights.broker_users import USERS

ALL_COMMANDS: Final[tuple[type[Command[Any]], ...]] = (
    *COMMANDS,
    *(LinkLookup, ProjectsLookup, IssueTypesLookup, FormFieldsLookup, AccountLookup, DraftLookup),
    *(Sync, RetrySync),
)
OUR_OWN: Final = {
    "syncs.sweep",
    "syncs.leave",
    "syncs.follow",
    "syncs.announce",
    "maintenance.canary",
    "maintenance.sample",
    "maintenance.settle",
    "maintenance.retain",
    "maintenance.reply",
}
"""Tasks that only we send."""

BROKER: Final = "redis://127.0.0.1:1/0"
RESULTS: Final[dict[Any, str]] = {
    SessionResult: "session + outcome",
    ThreadSession | None: "session or null",
    SessionPage: "page",
    ChannelContext | None: "context or null",
    ContextResult: "context + outcome",
    ChannelMove: "move + outcome",
    SyncState: "sync",
    LinkAnswer: "lookup + outcome",
    ProjectList: "projects + outcome",
    IssueTypeList: "issue types + outcome",
    FormFields: "form + outcome",
    JiraPerson: "account + outcome",
    DraftFound: "own draft + outcome",
}


def test_the_table_of_settings_is_up_to_date() -> None:
    """The page's table of settings is what its script writes, and has every setting."""
    script = runpy.run_path(str(ROOT / "docs/settings_table.py"))
    page = read("docs/use/settings.md")
    assert script["with_table"](page) == page, "out of date; run: python docs/settings_table.py"
    assert all(f"`{name.upper()}`" in script["settings_table"]() for name in Settings.model_fields)


def test_the_tables_of_rights_are_up_to_date() -> None:
    """The tables of the broker's users and of secrets are what their script writes."""
    script = runpy.run_path(str(ROOT / "docs/rights_tables.py"))
    page = read("docs/operate/least-privilege.md")
    assert script["with_tables"](page) == page, "out of date; run: python docs/rights_tables.py"
    assert page.count("\n| `threadsync-") == sum(map(len, USERS.values()))


def test_the_table_of_the_doctor_has_every_check() -> None:
    """The page's table has the doctor's checks in their order, and no other."""
    stored = (settings, broker, rabbitmq, database, installation, channels, running)
    areas = (*stored, slack, jira, reporter, flower)
    checks = [check for area in areas for check in area.CHECKS]
    assert [row[0].strip("`") for row in table(read("docs/operate/doctor.md"), "check")] == checks


def rows_of_tasks() -> dict[str, list[str]]:
    return {row[0].strip("`"): row[1:] for row in table(read("docs/use/commands.md"), "Task")}


def test_the_table_of_tasks_has_every_command() -> None:
    """The table of tasks has every command and no other, and each is on the queue that the page names."""
    assert list(rows_of_tasks()) == [command.name for command in ALL_COMMANDS]
    queues = {command.name: command.queue for command in ALL_COMMANDS}
    kinds = {"syncs": "syncs", "jira": "lookups"}
    by_name = {name: kinds.get(name.partition(".")[0], "sessions") for name in queues}
    assert queues == by_name | {"syncs.draft": "lookups"}


def test_every_task_of_the_table_is_registered() -> None:
    """Every task of the table is registered in a worker's app, and no other task of ours is."""
    code = "from worker.celery import app; app.loader.import_default_modules(); print(*app.tasks)"
    env = {**os.environ, "CELERY_BROKER_URL": BROKER}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if not name.startswith("celery.")}
    assert ours == set(rows_of_tasks()) | OUR_OWN


def test_the_reasons_are_explained() -> None:
    """Each reason that a sync may have is explained in the words that people see elsewhere."""
    rows = {row[0].strip("`"): row[2] for row in table(read("docs/understand/tickets.md"), "reason")}
    assert rows == {reason: f"{words[0].upper()}{words[1:]}" for reason, words in REASONS.items()}


def test_the_states_are_drawn_and_explained() -> None:
    """The diagram and the table of states have each state that a sync may be in, and no other."""
    page = read("docs/understand/tickets.md")
    [diagram] = [block.text for block in blocks(page) if block.language == "mermaid"]
    moves = re.findall(r"^ +(\S+) --> (\S+) : ", diagram, re.MULTILINE)
    assert {state for move in moves for state in move} - {"[*]"} == set(get_args(SyncStatus))
    assert [row[0].strip("`") for row in table(page, "state")] == list(get_args(SyncStatus))


def test_looks_are_told_as_they_are() -> None:
    """The page tells the times after which a ticket that was maybe created is looked for."""
    words = re.search(r"looked for after ([\d, ]+) and (\d+) s", read("docs/understand/tickets.md"))
    assert words
    assert [*map(int, words[1].split(", ")), int(words[2])] == list(LOOK_AFTER_SECONDS)


def test_the_tables_of_the_database() -> None:
    """The page lists every table that the migrations create, and the migrations' own."""
    rows = {row[0].strip("`") for row in table(read("docs/understand/architecture.md"), "table")}
    sql = "".join(path.read_text() for path in (ROOT / "worker/db/migrations").glob("*.sql"))
    assert rows == {*re.findall(r"^CREATE TABLE (\w+)", sql, re.MULTILINE), "threadsync_schema"}


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda command: command.name)
def test_a_row_of_the_table_of_tasks(command: type[Command[Any]]) -> None:
    """A row has the command's arguments in order, with a question mark where optional, and its result."""
    arguments, result = rows_of_tasks()[command.name]
    fields = command.model_fields.items()
    assert arguments == ", ".join(f"`{name}`{'' if field.is_required() else '?'}" for name, field in fields)
    assert result == RESULTS[command.result._type]


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("session", ThreadSession),
        ("context", ChannelContext),
        ("page", SessionPage),
        ("move", ChannelMove),
        ("draft", Draft),
        ("sync", SyncState),
        ("lookup", LinkAnswer),
        ("projects", ProjectList),
        ("issue types", IssueTypeList),
        ("form", FormFields),
        ("account", JiraPerson),
        ("own draft", DraftFound),
    ],
)
def test_the_fields_of_results(word: str, model: type[BaseModel]) -> None:
    """The page of commands lists every field of a result."""
    match = re.search(rf"^- \*\*{word}\*\*: (.*?)\.\s", read("docs/use/commands.md"), re.MULTILINE)
    assert match
    assert re.findall(r"`(\w+)`", match[1]) == list(model.model_fields)


def test_statuses_and_outcomes_are_named() -> None:
    """Every status and outcome is named on the page, and results say where they may be null."""
    words = set(re.findall(r"`(\w+)`", read("docs/use/commands.md")))
    outcome = SessionResult.model_fields["outcome"].annotation
    assert {*get_args(Status), *get_args(outcome)} <= words
    for result, form in RESULTS.items():
        parts = get_args(result) if isinstance(result, UnionType) else (result,)
        assert ("null" in form) == (NoneType in parts)
        assert ("outcome" in form) == any("outcome" in getattr(part, "model_fields", ()) for part in parts)


def test_the_command_table_is_the_tested_one() -> None:
    """The documented command table is, cell by cell, the one that tests/fundamentals runs."""
    rows = {row[0].strip("`"): tuple(row[1:]) for row in table(read("docs/use/commands.md"), "command")}
    assert rows == {
        command: tuple(getattr(cell, "__name__", cell) for cell in cells) for command, cells in TABLE.items()
    }


def numbers() -> list[Any]:
    rows = table(read("docs/promises/numbers.md"), "Number")
    return [pytest.param(value, place, id=number) for number, value, place in rows]


@pytest.mark.parametrize(("value", "place"), numbers())
def test_a_number_of_the_page(value: str, place: str) -> None:
    """Each number on the page is that of a constant, a setting's default or Celery's configuration."""
    match = re.match(r"`([\w.]+)`", place)
    assert match
    assert float(value.removesuffix(" s")) == value_of(match[1])


def value_of(name: str) -> float:
    if "." in name:
        return float(pkgutil.resolve_name(name))
    if name.lower() in Settings.model_fields:
        return float(Settings.model_fields[name.lower()].get_default())
    if name.endswith("_timeout") and (match := re.search(rf"{name}=(\d+)s", postgres_options())):
        return int(match[1])
    celery = configuration(load_settings(celery_broker_url=BROKER))
    return float({**celery["broker_transport_options"], **celery}[name])


def postgres_options() -> str:
    return str(connect_arguments("postgresql://h/d")["options"])


def test_the_numbers_depend_on_each_other() -> None:
    """The numbers keep the order that the page explains below them."""
    limits = ("SOFT_TIME_LIMIT_SECONDS", "TIME_LIMIT_SECONDS", "VISIBILITY_TIMEOUT_SECONDS")
    order = ["lock_timeout", "statement_timeout", *(f"worker.celery.{name}" for name in limits)]
    values = [value_of(name) for name in order]
    assert values == sorted(set(values))
    assert value_of("worker.durable.retry_policy.LONGEST_PAUSE_SECONDS") < values[-1] / 2
    connection = "worker.db.connection"
    answer = value_of("statement_timeout") + value_of(f"{connection}.ANSWER_MARGIN_SECONDS")
    assert answer < value_of("worker.durable.limits.SOFT_TIME_LIMIT_SECONDS")
    probe = value_of(f"{connection}.PROBE_SECONDS")
    assert probe < value_of("worker.db.pool._CHECKOUT_TIMEOUT_S")
