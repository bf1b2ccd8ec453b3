"""Services of docker-compose.yml, each run as a process by the very words of the file.

In place of the images: a Postgres and a Valkey of the test's, Valkey by the configuration of the file. Hosts,
ports and folders are replaced, and nothing else; programs are those of the installed environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from sandbox.slack.requests import TEAM_ID, app_mention, signed_request
from tests.support import forked
from tests.support.compose import compose_file, environment, mounted, ours, seconds, valkey_settings
from tests.support.documents import ROOT
from tests.support.monitoring import metrics_of_workers, metrics_used
from tests.support.production import python_path_without_sandbox
from tests.support.servers import POSTGRES_SETTINGS
from tests.support.waiting import wait_until
from worker.local.child import Child
from worker.local.servers.cluster import postgres_program
from worker.local.servers.port import free_port
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey
from worker.operate.rights.broker_users import NAMES

# Set here, because no Slack is there to tell the workspace of the token.
SERVICES: Final = ours(compose_file({"SLACK_TEAM_ID": TEAM_ID}))
# Beat is the last to be healthy: its first canary takes a while, and each look at it is a process.
LONG_RUNNING: Final = sorted(set(SERVICES) - {"migrate"}, reverse=True)
SIGNING_SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"
_PLACES: Final = re.compile(r"^/run/secrets|^/var/lib/threadsync|^/tmp|\b(?:3000|5555|9464)\b")
DATABASE_URLS: Final = ("database_url", "console_database_url", "reader_database_url")
_ENDS_WITH: Final = {"handlers": {0, -signal.SIGTERM}}
"""Exit codes after TERM. uvicorn ends in good order and then sends itself the signal that it got."""


class ComposeService:
    """One service as a process, with its command, environment, health check and time to stop."""

    def __init__(self, name: str, folder: Path, secrets: Path) -> None:
        self._service = SERVICES[name]
        self.folder = folder / name
        self.folder.mkdir()
        self.port = free_port()
        self._places = {
            "/run/secrets": str(self._mount(secrets)),
            "/var/lib/threadsync": str(self.folder),
            "/tmp": str(self.folder),
            **dict.fromkeys(("3000", "5555", "9464"), str(self.port)),
        }
        self.env = {
            # Variables that the container has besides; there is no Slack, and a folder for temporary files.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": python_path_without_sandbox(self.folder, ROOT),
            "SLACK_API_URL": "http://127.0.0.1:1/api/",
            "TMPDIR": str(self.folder),
            **{variable: self._here(value) for variable, value in environment(self._service).items()},
        }
        self.log_path = self.folder / "output.log"
        self.child: Child | None = None
        self._was_healthy = False

    def _mount(self, secrets: Path) -> Path:
        """Make a folder with this service's secrets, and no others."""
        folder = self.folder / "secrets"
        folder.mkdir()
        for target, source in mounted(self._service).items():
            shutil.copy(secrets / source, folder / target)
        return folder

    def _here(self, word: str) -> str:
        # One pass over all places, because the replacements themselves begin with /tmp.
        return _PLACES.sub(lambda match: self._places[match[0]], word)

    def argv(self, words: list[str]) -> list[str]:
        """Return a command line of the file, adapted to this place."""
        return [self._here(word) for word in words]

    def start(self) -> None:
        argv = self.argv(self._service["command"])
        self.child = Child(argv, log_path=self.log_path, env=self.env, cwd=self.folder)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run a service that ends by itself."""
        return self.run_words(self._service["command"])

    def wait_until_healthy(self) -> None:
        """Return when the service's health check has succeeded once."""
        if not self._was_healthy:
            wait_until(self._is_healthy, f"{self.folder.name} is healthy", 60)
        self._was_healthy = True

    def _is_healthy(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, self.log_path.read_text()[-3000:]
        kind, *words = self._service["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run_words(words).returncode == 0

    def stop(self) -> int | None:
        """Return the exit code after TERM, or None if the stop took longer than Docker would wait."""
        assert self.child is not None
        in_time = self.child.stop(signal.SIGTERM, seconds(self._service["stop_grace_period"]))
        return self.child.poll() if in_time else None

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()

    def run_words(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command line in the service's environment, to its end."""
        argv = self.argv(words)
        return subprocess.run(
            argv, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60
        )


@dataclass(frozen=True)
class Servers:
    """An empty Postgres and an empty Valkey, with the secrets that lead to them."""

    database_url: str
    secrets: Path


def _fill_volume(postgres: EmbeddedPostgres, secrets: Path) -> None:
    """Run the file's script on Postgres, as the image does for an empty volume."""
    owner = urlsplit(postgres.url)
    env = {
        "PATH": f"{Path(postgres_program('psql')).parent}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": str(owner.hostname),
        "PGPORT": str(owner.port),
        "PGPASSWORD": str(owner.password),
        "POSTGRES_USER": str(owner.username),
        "POSTGRES_DB": "threadsync",
        "SECRETS": str(secrets),
        "ROLES_SQL": str(ROOT / "worker" / "db" / "roles.sql"),
    }
    script = ROOT / "deploy" / "postgres" / "10-logins.sh"
    done = subprocess.run([script], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def _here(secret: Path, server_url: str) -> str:
    """Return the URL in a secret, for the test's own server."""
    place = urlsplit(server_url).netloc.rpartition("@")[2]
    return re.sub(r"@(postgres:5432|valkey:6379)/", f"@{place}/", secret.read_text().strip())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Make secrets by `deploy/make-secrets`, with the test's servers and values in place of Slack's."""
    folder = tmp_path_factory.mktemp("compose")
    secrets = folder / "secrets"
    subprocess.run([ROOT / "deploy" / "make-secrets", secrets], check=True, capture_output=True)
    postgres = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
    valkey = EmbeddedValkey(folder / "valkey", settings=valkey_settings(secrets))
    try:
        postgres.start()
        valkey.start()
        _fill_volume(postgres, secrets)
        filled_in = {
            **{name: _here(secrets / name, postgres.url) for name in DATABASE_URLS},
            "migrate_database_url": postgres.url,
            **{f"{user}_broker_url": _here(secrets / f"{user}_broker_url", valkey.url) for user in NAMES},
            "slack_signing_secret": SIGNING_SECRET,
            "slack_bot_token": "xoxb-test",
        }
        for name, value in filled_in.items():
            (secrets / name).chmod(0o644)
            (secrets / name).write_text(f"{value}\n")
        yield Servers(postgres.url, secrets)
    finally:
        valkey.stop()
        postgres.stop()


@pytest.fixture(scope="module")
def running(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ComposeService]]:
    """Run the migration, then every service that does not end by itself."""
    folder = tmp_path_factory.mktemp("services")
    migration = ComposeService("migrate", folder, servers.secrets).run()
    assert migration.returncode == 0, migration.stderr
    services = {name: ComposeService(name, folder, servers.secrets) for name in LONG_RUNNING}
    try:
        for service in services.values():
            service.start()
        yield services
    finally:
        for service in services.values():
            service.kill()


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_it_becomes_healthy(running: dict[str, ComposeService], name: str) -> None:
    """Each service becomes healthy by its own health check, run in its own environment."""
    running[name].wait_until_healthy()


def test_no_service_has_the_sandbox(running: dict[str, ComposeService]) -> None:
    """Where the sandbox is missing, as in the services' one image, `threadsync demo` says where to get it."""
    done = running["handlers"].run_words(["threadsync", "demo"])
    assert done.returncode == 2
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_request_of_slacks_becomes_a_row(running: dict[str, ComposeService], servers: Servers) -> None:
    """A request from Slack goes through handlers, Valkey and worker, and becomes a row in Postgres."""
    request = signed_request(
        SIGNING_SECRET, app_mention("C0123", "U0456", "<@U0> hello", ts="1700000000.000100")
    )
    answer = httpx.post(
        f"http://127.0.0.1:{running['handlers'].port}/slack/events",
        content=request.body,
        headers=dict(request.headers),
    )
    assert answer.status_code == 200

    def rows() -> list[Any]:
        with psycopg.connect(servers.database_url) as connection:
            return connection.execute("SELECT channel_id, thread_ts, user_id FROM thread_sessions").fetchall()

    wait_until(lambda: rows() == [("C0123", "1700000000.000100", "U0456")], "the row is there", 15)


def test_nobody_may_more_than_its_work_needs(running: dict[str, ComposeService], servers: Servers) -> None:
    """Each login of the database is refused what its work does not need."""
    worker, console, reader = ((servers.secrets / name).read_text().strip() for name in DATABASE_URLS)
    for url, statement in (
        (worker, "DROP TABLE syncs"),
        (console, "UPDATE syncs SET state = 'done'"),
        (reader, "SELECT draft FROM syncs"),
    ):
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_doctor_finds_each_login_right(running: dict[str, ComposeService]) -> None:
    """The doctor approves each service's logins for broker and database, by the file's words alone."""
    for name, service in running.items():
        service.wait_until_healthy()
        done = forked.run("worker.cli", "doctor", "--json", env=service.env, folder=service.folder)
        found = {one["check"]: one for one in json.loads(done.stdout)}
        for check in ("broker: permissions", "broker: user", "database: privileges", "database: role"):
            assert found.get(check, {"level": "skipped"})["level"] in ("ok", "skipped"), (name, found[check])
        assert found["broker: user"]["level"] == "ok", (name, found["broker: user"])


def test_what_prometheus_is_to_read_is_there(running: dict[str, ComposeService]) -> None:
    """Each metric of an alert or dashboard is shown by the exporter or counted by workers."""

    def shown_at(name: str) -> set[str]:
        text = httpx.get(f"http://127.0.0.1:{running[name].port}/metrics", timeout=10).text
        return set(re.findall(r"^(threadsync_\w+)", text, re.MULTILINE))

    # Compose takes Slack's requests by HTTP; a socket is Socket Mode's.
    wanted = metrics_used() - metrics_of_workers() - {"threadsync_socket_silence_seconds"}
    wait_until(lambda: wanted <= shown_at("metrics"), f"the exporter shows {sorted(wanted)}", 30)
    wait_until(
        lambda: "threadsync_commands_total" in shown_at("worker-sessions"), "the worker shows its own", 15
    )
    wait_until(lambda: shown_at("worker-syncs"), "the worker for syncs shows its own", 15)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_it_ends_in_time(running: dict[str, ComposeService], name: str) -> None:
    """Each service ends after TERM before Docker would kill it, with the exit code of a requested stop."""
    service = running[name]
    assert service.stop() in _ENDS_WITH.get(name, {0}), service.log_path.read_text()[-3000:]
