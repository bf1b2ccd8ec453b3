"""The images that the files name, and the contents of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from supply.locks import project
from tests.support.compose import OURS, compose_file
from tests.support.dockerfile import stages
from tests.support.documents import read, table
from tests.support.production import python_path_without_sandbox

BUILD, IMAGE = stages()
PACKAGES: Final[list[str]] = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SANDBOX: Final = "sandbox"
IMAGES: Final[list[str]] = [
    *(stage.image for stage in stages()),
    *(service["image"] for service in compose_file()["services"].values() if service["image"] != OURS),
]
EXACT: Final = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.-]+)?(@sha256:[0-9a-f]{64})?")
"""An image with an exact version, which no later release moves."""
POSTGRES: Final = re.compile(r"postgres:\d+\.\d+-\w+(@sha256:[0-9a-f]{64})?")
"""A Postgres image: two numbers, and the Debian whose collations the tables' indexes rest on."""


def test_the_image_has_every_package_but_the_sandbox() -> None:
    """The image has every package but the sandbox, which is not even sent to the engine."""
    copied = {
        source for source, target in (copy.split()[-2:] for copy in BUILD.those("COPY")) if source == target
    }
    assert copied == set(PACKAGES) - {SANDBOX}
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert allowed == copied | {"pyproject.toml", "locks", project()["project"]["readme"], "LICENSE"}


def test_the_wheel_of_users_has_the_sandbox() -> None:
    """The wheel for users has the sandbox, which `threadsync demo` needs."""
    assert SANDBOX in PACKAGES


def test_everything_installed_comes_by_its_hash() -> None:
    """Everything installed is pinned by hash, except our own package, which comes without dependencies."""
    commands = [
        part
        for run in BUILD.those("RUN")
        for part in run.split("&&")
        if " install " in part or " wheel " in part
    ]
    assert len(commands) == 4
    for command in commands:
        if "--requirement" in command:
            assert "--require-hashes --requirement locks/" in command
        else:
            assert "--no-deps" in command
    assert all("--no-build-isolation" in command for command in commands if " wheel " in command)


def test_the_image_takes_the_environment_alone() -> None:
    """The image takes only the environment from the building stage."""
    assert IMAGE.those("COPY") == ["--from=build /opt/threadsync /opt/threadsync"]
    assert not any("pip" in run for run in IMAGE.those("RUN"))
    assert IMAGE.those("USER") == ["threadsync"]


@pytest.mark.parametrize("image", IMAGES)
def test_images_are_pinned(image: str) -> None:
    """Images are pinned to an exact version, so that a later pull brings no other release."""
    assert EXACT.fullmatch(image) or POSTGRES.fullmatch(image)


@pytest.mark.parametrize(
    "image", ["postgres:18", "python:3.13-slim", "grafana/grafana:latest", "valkey/valkey:9.1", "a"]
)
def test_a_tag_that_moves_is_noticed(image: str) -> None:
    """A tag that moves is recognised as not pinned."""
    assert not EXACT.fullmatch(image)
    assert not POSTGRES.fullmatch(image)


def test_the_documented_images_are_these() -> None:
    """The documented images are those of the files, with version and digest."""
    rows = {row[0].strip("`"): row[1] for row in table(read("docs/operate/supply-chain.md"), "Image")}
    pinned = [image.partition("@") for image in IMAGES]
    shown = {
        name.partition(":")[0]: name.partition(":")[2] + (", digest" if at else "") for name, at, _ in pinned
    }
    assert rows == shown


def test_both_stages_have_the_same_python() -> None:
    """Both stages are built on the same image, because the environment needs the Python that made it."""
    assert BUILD.image == IMAGE.image


def test_the_demo_says_where_it_is(tmp_path: Path) -> None:
    """`threadsync demo` without the sandbox says where to get it."""
    env = {"PYTHONPATH": python_path_without_sandbox(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "worker.cli", "demo"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr
