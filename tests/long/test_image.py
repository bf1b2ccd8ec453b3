"""The image without an engine: the Dockerfile's building stage, run here, and its result.

In place of the base image: an environment of this machine's Python. Folders are replaced, and nothing else.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Final

import pytest

from supply.locks import LOCKS, pins, without_other_platforms
from tests.support.dockerfile import stages
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from tests.support.wheel import CELERY, install
from tests.support.workers import ROOT
from worker.local.child import Child
from worker.local.readiness import answers_http
from worker.local.servers.port import free_port

_PLACES: Final = re.compile(r"/opt/threadsync|/wheels")
pytestmark = pytest.mark.timeout(1800)


class BuildingStage:
    """Runner of the building stage's instructions below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources = folder / "src"
        self._sources.mkdir()
        self.environment = folder / "opt" / "threadsync"
        base = folder / "base"
        subprocess.run([sys.executable, "-m", "venv", str(base)], check=True, timeout=120)
        self._base = base / "bin"

    def run(self) -> None:
        for name, rest in stages()[0].instructions:
            match name:
                case "COPY":
                    self._copy(*rest.split())
                case "RUN":
                    for command in rest.split("&&"):
                        self._execute(command.strip())
                case _:
                    assert name == "WORKDIR"

    def _copy(self, *words: str) -> None:
        *sources, target = words
        for source in sources:
            to = (
                self._sources / target
                if (ROOT / source).is_dir()
                else self._sources / target / Path(source).name
            )
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)

    def _execute(self, command: str) -> None:
        program, *words = _PLACES.sub(lambda match: str(self._folder) + match[0], command).split()
        words = [found for word in words for found in self._globbed(word)]
        if program == "pip":
            # By the test of the wheel: it skips where pip reaches no index.
            install(str(self._base / "python"), *words, cwd=self._sources)
        else:
            subprocess.run([str(self._base / program), *words], cwd=self._sources, check=True, timeout=120)

    def _globbed(self, word: str) -> list[str]:
        return [str(path) for path in Path("/").glob(word[1:])] if "*" in word else [word]


@dataclass(frozen=True)
class Image:
    """The Python environment that the image takes."""

    directory: Path

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    def ask(self, code: str) -> str:
        done = subprocess.run(
            [self.python, "-c", code],
            cwd=self.directory,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    stage = BuildingStage(tmp_path_factory.mktemp("image"))
    stage.run()
    return Image(stage.environment)


def test_it_has_what_is_locked_and_ourselves(image: Image) -> None:
    """The image has exactly the locked versions and threadsync: no pip, no embedded server, no sandbox."""
    found = image.ask(
        "from importlib.metadata import distributions\n"
        "for d in distributions(): print(d.name.lower().replace('_', '-').replace('.', '-'), d.version)"
    )
    lines = without_other_platforms((LOCKS / "image.txt").read_text(encoding="utf-8"))
    locked = {f"{pin.name} {pin.version}" for pin in pins(lines)}
    assert {line for line in found.splitlines() if not line.startswith("threadsync ")} >= locked
    names = {line.split()[0] for line in found.splitlines()}
    # This machine's Python needs one package that the image's does not.
    assert names - {"async-timeout"} == {line.split()[0] for line in locked} | {"threadsync"}
    assert (
        image.ask("from importlib.util import find_spec as f; print(f('sandbox'), f('pip'))") == "None None\n"
    )


@pytest.fixture
def env(postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path) -> Iterator[dict[str, str]]:
    with postgres.database() as url:
        yield {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "DATABASE_URL": url,
            "CELERY_BROKER_URL": valkey.broker(),
            "SLACK_SIGNING_SECRET": "secret",
            "SLACK_BOT_TOKEN": "xoxb-none",
            "SLACK_APP_TOKEN": "xapp-none",
            "SLACK_API_URL": f"http://127.0.0.1:{free_port()}/api/",
            "PYTHONUNBUFFERED": "1",
            "FLOWER_BASIC_AUTH": "admin:of-these-tests",
            "THREADSYNC_CONSOLE_PASSWORD": "of-these-tests-and-42-ostriches",
        }


def test_each_role_runs(image: Image, env: dict[str, str], tmp_path: Path) -> None:
    """Each role of the image runs, all at the same time, without the sandbox."""
    web, flower, metrics = (free_port() for _ in range(3))
    roles = {
        "worker": (*CELERY, "worker", "-c", "1"),
        "beat": (*CELERY, "beat", "--pidfile="),
        "web": ("-m", "handlers.serve", "--port", str(web)),
        "socket-mode": ("-m", "handlers.socket_mode"),
        "flower": ("-m", "worker.cli", "flower", "--port", str(flower)),
        "metrics": ("-m", "worker.cli", "metrics", "--port", str(metrics)),
    }
    words = {"worker": " ready.", "beat": "is starting", "socket-mode": "Failed to connect"}
    paths = {"web": f"{web}/console/", "flower": f"{flower}/", "metrics": f"{metrics}/metrics"}
    with ExitStack() as stack:
        children = {}
        for role, argv in roles.items():
            child = Child([image.python, *argv], log_path=tmp_path / f"{role}.log", env=env, cwd=tmp_path)
            stack.callback(child.kill)
            children[role] = child

        def is_up(role: str) -> bool:
            log = (tmp_path / f"{role}.log").read_text()
            assert children[role].poll() is None, log[-3000:]
            return words[role] in log if role in words else answers_http(f"http://127.0.0.1:{paths[role]}")

        for role in roles:
            wait_until(lambda role=role: is_up(role), f"{role} runs", 90)  # type: ignore[misc]
        for child in children.values():
            child.stop(SIGTERM, 20)
