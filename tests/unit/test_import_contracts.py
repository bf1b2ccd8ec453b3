"""The contracts of ``pyproject.toml``, tried by a wrong import in each package and room."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final[list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "root_packages"
]

MAY_SUBCLASS: Final = ("worker.durable.", "threadsync.broker.")
"""Prefixes of the modules that may subclass Celery's classes."""

# Planted import -> the contract that must report it, from the lowest package up.
UPWARD: Final = "Packages import downward"
NO_BROKER: Final = "Database, Jira and Slack know no broker"
ROOMS: Final = "Rooms of the worker import downward"
PLANTED: Final[dict[tuple[str, str], str]] = {
    ("threadsync", "worker.text"): UPWARD,
    ("worker", "tasks"): UPWARD,
    ("tasks", "console"): UPWARD,
    ("console", "handlers"): UPWARD,
    ("handlers", "sandbox"): UPWARD,
    ("sandbox", "benchmarks"): UPWARD,
    ("worker.text", "worker.observe"): ROOMS,
    ("worker.http_once", "worker.observe"): ROOMS,
    ("worker.observe", "worker.db"): ROOMS,
    ("worker.db", "worker.jira"): ROOMS,
    ("worker.jira", "worker.status_message"): ROOMS,
    ("worker.status_message", "worker.durable"): ROOMS,
    ("worker.durable", "worker.thread"): ROOMS,
    ("worker.thread", "worker.celery"): ROOMS,
    ("worker.celery", "worker.operate"): ROOMS,
    ("worker.operate", "worker.local"): ROOMS,
    ("worker.local", "worker.doctor"): ROOMS,
    ("worker.doctor", "worker.cli"): ROOMS,
    ("worker.durable.limits", "worker.durable.task"): "No circle inside a room",
    ("threadsync", "psycopg"): "The contract loads no driver, no web library and no telemetry",
    ("worker.text", "httpx"): "Texts are pure",
    ("worker.db", "redis"): NO_BROKER,
    ("worker.jira", "kombu"): NO_BROKER,
    ("worker.status_message", "celery"): NO_BROKER,
    ("worker.thread", "celery"): NO_BROKER,
    ("worker.observe", "kombu"): NO_BROKER,
    ("console", "celery"): "The console speaks to no broker by itself",
    ("handlers", "psycopg"): "A Slack process loads no database",
    ("handlers", "worker.jira"): "Handlers see the contract, the texts and the logs",
    ("handlers", "console"): "Handlers see the contract, the texts and the logs",
    ("worker.local", "kombu"): "Rooms above the app know no kombu",
    ("worker.cli", "kombu"): "Rooms above the app know no kombu",
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the reports of lint-imports by contract, from a copy with every wrong import planted."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", tree)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for source, wrong in PLANTED:
        with path_of(tree, source).open("a") as file:
            file.write(f"\nimport {wrong}\n")
    output = lint_imports(tree)
    # Each broken contract has a heading, underlined.
    parts = re.split(r"^(?P<name>.+)\n-+\n", output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("planted", PLANTED, ids=" -> ".join)
def test_a_planted_import_is_named(reported: dict[str, str], planted: tuple[str, str]) -> None:
    contract, (source, wrong) = PLANTED[planted], planted
    said = reported.get(contract, "")
    if contract.startswith("No circle"):
        assert f"No cycles are allowed in {source.rpartition('.')[0]}." in said, said
    else:
        assert re.search(rf"\b{re.escape(source)} -> {re.escape(wrong)} ", said), said


def test_each_package_and_room_has_a_planted_import() -> None:
    """Each package and room has a planted import, except the uppermost, which may import everything."""
    rooms = {
        f"worker.{path.stem}"
        for path in (ROOT / "worker").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"worker.__init__", "worker.cli"}
    assert (rooms | set(PACKAGES)) - {"benchmarks"} <= {source for source, _ in PLANTED}


def test_only_the_durable_room_and_the_producer_subclass_celery_or_kombu() -> None:
    found = {module for package in PACKAGES for module in subclassing(ROOT / package)}
    assert {module for module in found if not module.startswith(MAY_SUBCLASS)} == set()


def subclassing(package: Path) -> Iterator[str]:
    """Yield the modules with a class whose base is imported from Celery, kombu or billiard."""
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        theirs = {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(tree)
            for alias in names_from_celery(node)
        }
        bases = [base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
        if any(ast.unparse(base).partition(".")[0].partition("[")[0] in theirs for base in bases):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def names_from_celery(node: ast.AST) -> list[ast.alias]:
    theirs = ("celery", "kombu", "billiard")
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(theirs):
        return node.names
    if isinstance(node, ast.Import):
        return [alias for alias in node.names if alias.name.startswith(theirs)]
    return []


def path_of(tree: Path, module: str) -> Path:
    folder = tree.joinpath(*module.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def lint_imports(tree: Path) -> str:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=tree,
        env={"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
