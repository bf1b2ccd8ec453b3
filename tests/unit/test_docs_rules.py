"""Rules of CONTRIBUTING.md that no other tool holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.documents import ROOT

TESTS = ROOT / "tests"
# The waiting itself, a task that takes its time on purpose, and a worker that is slow on purpose.
_MAY_SLEEP = {TESTS / "waiting.py", TESTS / "probe_tasks.py", TESTS / "slack_app.py"}


def sleeps(path: Path) -> Iterator[int]:
    """Lines that wait for a time. `asyncio.sleep(0)` waits for none: it lets others have their turn."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep", "asyncio.sleep"}:
            seconds = [ast.unparse(argument) for argument in node.args]
            if seconds != ["0"]:
                yield node.lineno


def test_no_test_sleeps() -> None:
    """A time that is long enough here is too short elsewhere: `wait_until` waits for a condition."""
    found = [f"{path.name}:{line}" for path in sorted(TESTS.rglob("*.py")) for line in sleeps(path)]
    allowed = {path.name for path in _MAY_SLEEP}
    assert [place for place in found if place.partition(":")[0] not in allowed] == []
