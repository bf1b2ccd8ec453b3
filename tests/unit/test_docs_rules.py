"""Rules of CONTRIBUTING.md that no other tool holds."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.conftest import SLOW
from tests.support.documents import ROOT

TESTS: Final = ROOT / "tests"

MAY_SLEEP: Final = {
    "support/waiting.py:wait_until": "polls a condition",
    "support/waiting.py:wait_until_async": "polls a condition",
    "support/slack_app.py:eventually": "polls a condition",
    "support/raw_server.py:gone": "waits for the end of a connection; a test fails without it",
    "support/raw_server.py:raw_server": "asserts that its thread has ended",
    "support/senders.py:__exit__": "asserts that its threads have ended",
    "support/senders.py:_run": "a client that tries again, as people would: not at once",
    "long/test_postgres_failover.py:_send": "the rate of a client's commands",
    "unit/test_jira_connection.py:drips": "a server that sends a byte now and then",
    "unit/test_jira_connection.py:interrupts": "repeats a signal until the connection ends",
    # Slow on purpose: their tests are about the time that passes.
    "support/waiting.py:let_pass": "lets a fault last",
    "support/frozen.py:freeze": "a peer that stands still",
    "support/relay.py:_trickle": "a peer that sends a byte now and then",
    "support/slack_app.py:get": "a result that never comes",
    "support/probe_tasks.py:hang": "a task that never ends",
    "support/probe_tasks.py:take": "a task that takes a while",
    "integration/test_direct_sending.py:open_late": "a thread that wakes late",
    "integration/test_prefork.py:hang": "a task that never ends",
    "integration/test_prefork.py:end_slowly": "a process that ends slowly",
    "integration/test_db_hosts.py:resolver": "a resolver that hangs",
    "integration/test_worker_kills.py:test_a_stopped_database_fails_no_command": "Postgres is away",
    "long/test_frozen.py:test_a_frozen_database_loses_nothing": "Postgres stands still for 25 s",
    "long/test_brokers.py:freeze": "a broker that stands still",
    "unit/test_deadline.py:hold": "an extension that holds the interpreter",
    "unit/test_deadline.py:wait_in_vain": "waits as long as the code under test says",
}
"""Each function that may let time pass, by file and name, with the reason."""

_SLEEPS: Final = {"sleep", "usleep", "pause", "let_pass", "wait_for_timeout"}
_BLOCKS: Final = {"wait", "wait_for", "join", "acquire"}
_RAISES: Final = ("process.wait", "worker.wait", "senders.join", "wait_for(asyncio.gather")
"""Waits that raise when the time is over: of ``subprocess.Popen``, ``Senders``, ``wait_for``."""


def sleeps(source: str) -> set[str]:
    """Return ``function:line`` of each call that does nothing but let time pass."""
    return set(_inside(ast.parse(source), ""))


def _inside(parent: ast.AST, function: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(parent):
        if _lets_time_pass(node):
            yield f"{function}:{getattr(node, 'lineno', 0)}"
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _inside(node, getattr(node, "name", "") if is_function else function)


def _lets_time_pass(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(name.name in _SLEEPS and name.asname for name in node.names)
    if isinstance(node, ast.Expr):
        return _ignores_its_timeout(node.value.value if isinstance(node.value, ast.Await) else node.value)
    return isinstance(node, ast.Call) and (_is_a_sleep(node) or _waits_for_nothing(node))


def _is_a_sleep(call: ast.Call) -> bool:
    """Return True for a call that sleeps; ``asyncio.sleep(0)`` passes no time, and is none."""
    arguments = [ast.unparse(argument) for argument in call.args]
    if _name(call) in {"run", "call", "check_call"}:
        return bool(arguments) and arguments[0].startswith("['sleep'")
    return _name(call) in _SLEEPS and arguments != ["0"]


def _waits_for_nothing(call: ast.Call) -> bool:
    """Return True for ``Event().wait(20)``: no other code has this event, so no other code can set it."""
    if _name(call) == "select":
        return [ast.unparse(files) for files in call.args[:3]] == ["[]"] * 3
    target = call.func.value if isinstance(call.func, ast.Attribute) else None
    has_a_time = bool(call.args or call.keywords)
    return _name(call) in _BLOCKS and has_a_time and isinstance(target, ast.Call) and not target.args


def _ignores_its_timeout(call: ast.expr) -> bool:
    """Return True for ``event.wait(5)`` as a statement: the test goes on when the time is over.

    A name or attribute alone, as in ``wait(futures)``, is what is waited for.
    """
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    times = [word.value for word in call.keywords if word.arg == "timeout"]
    times += [argument for argument in call.args if isinstance(argument, ast.Constant)]
    times += call.args[1:] if _name(call) == "wait_for" else []
    return (
        _name(call) in _BLOCKS and bool(times) and not any(raises in ast.unparse(call) for raises in _RAISES)
    )


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_no_test_sleeps() -> None:
    """No test sleeps: a time that is long enough on one machine is too short on another."""
    found = [
        f"{path.relative_to(TESTS)}:{place}"
        for path in sorted(TESTS.rglob("*.py"))
        for place in sleeps(path.read_text(encoding="utf-8"))
    ]
    assert [place for place in found if place.rpartition(":")[0] not in MAY_SLEEP] == []
    assert {place.rpartition(":")[0] for place in found} == set(MAY_SLEEP)


@pytest.mark.parametrize(
    "evasion",
    [
        "time.sleep(1)",
        "await asyncio.sleep(0.1)",
        "from time import sleep as rest",
        "threading.Event().wait(20)",
        "assert not Event().wait(timeout=1)",
        "Condition().wait(1)",
        "event.wait(5)",
        "event.wait(timeout=seconds)",
        "thread.join(0.5)",
        "thread.join(timeout=2)",
        "await asyncio.wait([gone], timeout=2)",
        "await asyncio.wait_for(gone, 5)",
        "await asyncio.wait_for(gone, seconds)",
        "select.select([], [], [], 0.5)",
        "page.wait_for_timeout(500)",
        "subprocess.run(['sleep', '1'])",
    ],
)
def test_an_evasion_is_found(evasion: str) -> None:
    """A wait for a time is found as a sleep, however it is written."""
    assert sleeps(f"async def test_it():\n    {evasion}\n") == {"test_it:2"}


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(0)",
        "assert event.wait(5)",
        "event.wait()",
        "asyncio.Event().wait()",
        "semaphore.acquire(served.append, name)",
        "thread.join()",
        "while not over.wait(0.5): ask()",
        "process.wait(30)",
        "', '.join(words)",
        "select.select([connection], [], [], 5)",
        "wait(futures)",
        "handle.get(timeout=10).outcome",
    ],
)
def test_a_wait_for_a_condition_is_allowed(line: str) -> None:
    """A wait for a condition may have a timeout, because the test notices when it is over."""
    assert sleeps(f"async def test_it():\n    {line}\n") == set()


def test_no_test_file_imports_another() -> None:
    """No test file imports another, but for the table of commands and to run tests on another road."""
    found = {
        (path.name, node.module)
        for path in TESTS.rglob("*.py")
        if path.name != "test_ordinary_road.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and ".test_" in node.module
    }
    assert found == {("test_docs_tables.py", "tests.fundamentals.test_command_table")}


def test_what_is_bounded_is_run_whole() -> None:
    """A file whose tests have few numbers in ``make test`` has marked those that ``make test-all`` runs."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    line = re.compile(r"^from tests\.support\.scale import bounded", re.MULTILINE)
    bounded = {name for name, text in texts.items() if line.search(text)}
    marked = {
        name for name, text in texts.items() if re.search(r"^@pytest\.mark\.bounded$", text, re.MULTILINE)
    }
    assert bounded == marked != set()


def test_the_slow_files_are_there() -> None:
    """Each file that the tests begin with is there, once."""
    stems = Counter(path.stem for path in TESTS.rglob("test_*.py"))
    assert {name: stems[name] for name in SLOW} == dict.fromkeys(SLOW, 1)
