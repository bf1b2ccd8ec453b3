"""The wheel: each role starts with its extra alone, and one line names a missing extra."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Final
from zipfile import ZipFile

import pytest

from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from tests.support.wheel import CELERY, install, run
from tests.support.workers import ROOT
from worker.local.child import Child
from worker.local.readiness import answers_http
from worker.local.servers.port import free_port

ROLES: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["threadsync"]["roles"]
_SEND = """
from threadsync import SessionClient
with SessionClient() as client:
    print(client.get_or_create("C1", "1700000000.000001", "U1").get(timeout=20).outcome)
"""

_FOREIGN: Final = ("tasks.py", "worker.py", "handlers/__init__.py")
_LOADED: Final = """
import sys
from threadsync import SessionClient
with SessionClient() as client:
    client.get_or_create("C1", "1700000000.000002", "U1")
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
_NOT_OF_A_CLIENT: Final = {
    *("worker", "tasks", "handlers", "console", "sandbox"),
    *("celery", "psycopg", "slack_sdk", "slack_bolt", "starlette", "httpx", "jinja2"),
}

pytestmark = pytest.mark.timeout(1800)


class Environment:
    """A virtual environment with only the wheel and one extra."""

    def __init__(self, directory: Path, wheel: Path, extra: str) -> None:
        self.directory = directory
        run(sys.executable, "-m", "venv", str(directory))
        install(str(self.python), "install", f"{wheel}[{extra}]" if extra else str(wheel))

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    install(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
    return next(directory.glob("threadsync-*.whl"))


@pytest.fixture(scope="module")
def environment_with(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Environment]:
    """Make one environment for each extra, when it is first asked for."""
    made: dict[str, Environment] = {}

    def environment_with(extra: str) -> Environment:
        if extra not in made:
            directory = tmp_path_factory.mktemp(f"venv-{extra or 'plain'}")
            made[extra] = Environment(directory, wheel, extra)
        return made[extra]

    return environment_with


class Installed:
    """Runner of the installed wheel, far from the checkout."""

    def __init__(
        self, environment_with: Callable[[str], Environment], cwd: Path, env: dict[str, str]
    ) -> None:
        self._environment_with = environment_with
        self._cwd = cwd
        self.env = env

    def directory(self, role: str) -> Path:
        return self._environment_with(ROLES[role]).directory

    def end(self, extra: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with one extra until it ends by itself."""
        return subprocess.run(
            [str(self._environment_with(extra).python), *arguments],
            env=self.env,
            cwd=self._cwd,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def ask(self, role: str, *arguments: str) -> str:
        """Return the output of a command that succeeds."""
        done = self.end(ROLES[role], *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, role: str, *arguments: str) -> Iterator[Path]:
        """Run a role for the length of the block, and return its log."""
        log = self._cwd / f"{role}.log"
        argv = [str(self._environment_with(ROLES[role]).python), *arguments]
        child = Child(argv, log_path=log, env=self.env, cwd=self._cwd)
        try:
            yield log
            assert child.poll() is None, log.read_text()[-3000:]
            # slack_sdk logs each failed try so.
            assert role == "socket-mode" or "Traceback" not in log.read_text()
        finally:
            child.stop(SIGTERM, 20)
            child.kill()


@pytest.fixture
def installed(
    environment_with: Callable[[str], Environment],
    postgres: PostgresForTests,
    valkey: ValkeyForTests,
    tmp_path: Path,
) -> Iterator[Installed]:
    with postgres.database() as url:
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "DATABASE_URL": url,
            "CELERY_BROKER_URL": valkey.broker(),
            "SLACK_SIGNING_SECRET": "secret",
            "SLACK_BOT_TOKEN": "xoxb-none",
            "PYTHONUNBUFFERED": "1",
            "SLACK_APP_TOKEN": "xapp-none",
            "SLACK_API_URL": f"http://127.0.0.1:{free_port()}/api/",
            "THREADSYNC_CONSOLE_PASSWORD": "of-these-tests-and-42-ostriches",
            "FLOWER_BASIC_AUTH": "admin:of-these-tests",
        }
        yield Installed(environment_with, tmp_path, env)


def says(log: Path, words: str) -> bool:
    return log.exists() and words in log.read_text()


THREADSYNC: Final = ("-m", "worker.cli")
LACKING: Final = [
    ("", "worker", (*THREADSYNC, "doctor")),
    ("", "worker", (*THREADSYNC, "worker")),
    ("", "worker", (*THREADSYNC, "metrics")),
    ("", "slack", ("-m", "handlers.serve")),
    ("worker", "slack", ("-m", "handlers.socket_mode")),
    ("slack", "console", ("-m", "handlers.serve", "--port", "0")),
    ("worker", "flower", (*THREADSYNC, "flower")),
    ("worker", "local", (*THREADSYNC, "up")),
    ("worker", "local", (*THREADSYNC, "demo")),
]
"""An installed extra, the missing one, and the command that needs it."""


def test_client_and_worker(installed: Installed) -> None:
    """A web process sends a command by the client alone, and reads its result."""
    with installed.running("worker", *CELERY, "worker", "-c", "1") as log:
        wait_until(lambda: says(log, " ready."), "the worker consumes", 60)
        assert installed.ask("client", "-c", _SEND).strip() == "created"
        assert "C1" in installed.ask("cli", "-m", "worker.cli", "sessions", "list")


def test_a_client_without_an_extra(installed: Installed, tmp_path: Path) -> None:
    """A client without an extra sends beside an application's own `tasks`, `worker` and `handlers`."""
    for name in _FOREIGN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('the application did not ask for this')\n")
    assert not _NOT_OF_A_CLIENT & set(installed.ask("client", "-c", _LOADED).split())


def test_beat(installed: Installed) -> None:
    with installed.running("beat", *CELERY, "beat", "--pidfile=") as log:
        wait_until(lambda: says(log, "is starting"), "beat starts", 60)


@pytest.mark.parametrize(
    ("role", "path"), [("handlers", "/healthz"), ("console", "/console/")], ids=["handlers", "console"]
)
def test_web(installed: Installed, role: str, path: str) -> None:
    port = free_port()
    if role == "handlers":
        del installed.env["THREADSYNC_CONSOLE_PASSWORD"]
    with installed.running(role, "-m", "handlers.serve", "--port", str(port)):
        wait_until(lambda: answers_http(f"http://127.0.0.1:{port}{path}"), "it answers", 60)


def test_socket_mode(installed: Installed) -> None:
    """Socket Mode goes on trying to reach Slack."""
    with installed.running("socket-mode", "-m", "handlers.socket_mode") as log:
        wait_until(lambda: says(log, "Failed to connect"), "it has tried", 60)


def test_metrics(installed: Installed) -> None:
    port = free_port()
    with installed.running("metrics", "-m", "worker.cli", "metrics", "--port", str(port)):
        wait_until(lambda: answers_http(f"http://127.0.0.1:{port}/metrics"), "it answers", 60)


def test_flower(installed: Installed) -> None:
    port = free_port()
    with installed.running("flower", "-m", "worker.cli", "flower", "--port", str(port)):
        wait_until(lambda: answers_http(f"http://127.0.0.1:{port}"), "it answers", 60)


@pytest.mark.parametrize("command", [["--help"], ["dead", "list"], ["syncs", "list"], ["audit", "--help"]])
def test_cli(installed: Installed, command: list[str]) -> None:
    assert installed.ask("cli", "-m", "worker.cli", *command) is not None
    assert (installed.directory("cli") / "bin" / "threadsync").exists()


def test_a_worker_beside_a_foreign_celery_says_what_it_lacks(wheel: Path, tmp_path: Path) -> None:
    """Where the application has a Celery of its own, ``celery -A worker`` names the extra in one line."""
    environment = Environment(tmp_path / "venv", wheel, "")
    install(str(environment.python), "install", "--constraint", str(ROOT / "constraints.txt"), "celery")
    for role in ("worker", "beat"):
        argv = [str(environment.python), *CELERY, role]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        lacks = "threadsync: psycopg is not installed: pip install 'threadsync[worker]'\n"
        assert (done.returncode, done.stderr) == (1, lacks)


@pytest.mark.parametrize(("extra", "needed", "arguments"), LACKING, ids=str)
def test_a_role_without_its_extra_says_which(
    installed: Installed, extra: str, needed: str, arguments: tuple[str, ...]
) -> None:
    """One line names the extra to install, and the role ends."""
    done = installed.end(extra, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        rf"threadsync: \w+ is not installed: pip install 'threadsync\[{needed}\]'\n", done.stderr
    )


def test_the_command_of_a_client_says_what_it_lacks(installed: Installed) -> None:
    """The script ``threadsync`` is installed with every extra, and with none."""
    script = installed.directory("client") / "bin" / "threadsync"
    done = subprocess.run([str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'threadsync[worker]'" in done.stderr


def test_the_playground_is_in_the_wheel(wheel: Path) -> None:
    """The wheel has every file of the playground's page, which `threadsync up` serves."""
    folder = ROOT / "sandbox" / "playground"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    with ZipFile(wheel) as packed:
        assert {str(path.relative_to(ROOT)) for path in files} <= set(packed.namelist())


def test_up_without_settings_has_the_playground(installed: Installed, tmp_path: Path) -> None:
    """From the wheel with its extra alone, `threadsync up` without settings serves the playground."""
    for name in set(installed.env):
        if name.startswith("SLACK_") or name in ("DATABASE_URL", "CELERY_BROKER_URL"):
            del installed.env[name]
    command = ("-m", "worker.cli", "up", "--data-dir", str(tmp_path / "data"), "--without-flower")
    with installed.running("up", *command) as log:
        wait_until(lambda: says(log, "Ctrl-C stops everything"), "`up` says that it is up", 120)
        found = re.search(r"Try it in a browser: (http://\S+/playground/)", log.read_text())
        assert found, log.read_text()
        assert answers_http(found[1])


def test_the_table_names_extras_that_there_are() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {extra for extra in ROLES.values() if extra} <= set(extras)
