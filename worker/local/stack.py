"""The whole of threadsync on this machine: servers, worker, Slack endpoint, Flower."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from threadsync.config import LOCAL_TOKEN, Settings
from worker.local.data_dir import DataDir, make_own
from worker.local.failure import LocalServiceFailed
from worker.local.logins import Logins
from worker.local.readiness import answers_http, sends_heartbeats
from worker.local.servers.port import free_port, read_port
from worker.local.service import CommandService
from worker.local.start_page import Address, start_page, without_password
from worker.local.supervisor import Supervisor
from worker.operate.private_folder import write_private
from worker.operate.rights.environment import Process, environment_of, spelt

WEB_PORT = 3000
FLOWER_PORT = 5555
METRICS_PORT = 9464
_OURS_TO_RUN = re.compile(r"(\.?([a-z-]+-port|start\.html)|core)(\.\d+)?")
_SETTINGS = frozenset(name.upper() for name in Settings.model_fields)
_FOR_THE_SHELL = (
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "REDIS_URL",
    "SLACK_SIGNING_SECRET",
    "SLACK_BOT_TOKEN",
    "THREADSYNC_CONSOLE_PASSWORD",
)


@dataclass(frozen=True)
class LocalUrls:
    """Where to reach what. ``database`` and ``broker`` hold passwords. ``metrics``: by what they show.

    Those two are a worker's logins; ``broker_of_all`` is that of the broker's administrator.
    """

    web: str
    console: str
    flower: str | None
    metrics: Mapping[str, str]
    database: str
    broker: str
    broker_of_all: str


class LocalStack:
    """Everything in one data directory; what ``up`` runs.

    Servers that the environment names (``DATABASE_URL``, ``CELERY_BROKER_URL`` or ``REDIS_URL``) are used,
    missing ones are started. ``env`` is what the services see, for instance a sandbox's ``SLACK_API_URL``.

    Args:
        port: of the Slack endpoint; a taken one is replaced by a free one.
        server_settings: for the embedded servers by name, such as ``{"postgres": {"fsync": "off"}}``.
        report: told in a sentence what happens.
        hurried: see ``Supervisor``.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        with_flower: bool = True,
        with_metrics: bool = True,
        env: Mapping[str, str] | None = None,
        server_settings: Mapping[str, Mapping[str, str]] | None = None,
        report: Callable[[str], None] = lambda sentence: None,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self._dir = DataDir(data_dir)
        self._port = port
        self._with_flower = with_flower
        self._with_metrics = with_metrics
        self._server_settings = server_settings or {}
        self._report = report
        self.env = spelt(os.environ if env is None else env, _SETTINGS)
        self.supervisor = Supervisor(report=report, hurried=hurried)
        self.web_url = self.flower_url = ""
        self._metrics_urls: dict[str, str] = {}
        self._logins = Logins(self._dir.secret)

    @property
    def path(self) -> Path:
        return self._dir.path

    @property
    def logs(self) -> Path:
        """One ``<service>.log`` each."""
        return self.path / "logs"

    @property
    def env_file(self) -> Path:
        """What a shell sources to work with this stack. Mode 0600: passwords are in it."""
        return self.path / "env"

    @property
    def urls(self) -> LocalUrls:
        """Known from ``start`` on."""
        broker = self.env.get("CELERY_BROKER_URL") or self.env.get("REDIS_URL", "")
        return LocalUrls(
            web=self.web_url,
            console=f"{self.web_url}/console/",
            flower=self.flower_url or None,
            metrics=dict(sorted(self._metrics_urls.items())),
            database=self.env.get("DATABASE_URL", ""),
            broker=broker,
            broker_of_all=self._logins.broker_of_all or broker,
        )

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Return when everything answers; what started before an error runs until ``stop``.

        Raises ``DataDirInUse`` or ``LocalServiceFailed``.
        """
        self._dir.acquire()
        # No service's working directory may hold modules: `python -m` looks there first.
        self._prepare_run()
        self._start_servers(cancelled)
        self._fill_in_slack()
        if not self.is_given("THREADSYNC_CONSOLE_PASSWORD"):
            self.env["THREADSYNC_CONSOLE_PASSWORD"] = self._dir.secret("console-password")
        self._write_env_file()
        self._migrate(cancelled)
        services = [self._worker(), self._syncs(), self._lookups(), self._beat(), self._web()]
        if self._with_metrics:
            services.append(self._metrics())
        if self.is_given("SLACK_APP_TOKEN"):
            services.append(self._socket_mode())
        if self._with_flower:
            services.append(self._flower())
        self.supervisor.start(*services, cancelled=cancelled)
        write_private(self._start_page, start_page(self.addresses()))

    def _prepare_run(self) -> None:
        run = self.path / "run"
        make_own(run)
        foreign = sorted(path.name for path in run.iterdir() if not _OURS_TO_RUN.fullmatch(path.name))
        if foreign:
            raise LocalServiceFailed(
                f"{run} has what we did not put there, and Python looks for modules in it: take out "
                f"{', '.join(foreign[:5])}"
            )

    def addresses(self) -> list[Address]:
        """What answers where, for people; without passwords."""
        urls = self.urls
        metrics = [Address("Metrics", url, f"for Prometheus: {what}") for what, url in urls.metrics.items()]
        flower = [Address("Flower", urls.flower, "the live view; user admin")] if urls.flower else []
        return [
            Address("Start page", f"{urls.web}/"),
            Address("Slack endpoint", f"{urls.web}/slack/events", "for signed requests of Slack's alone"),
            Address("Readiness", f"{urls.web}/readyz"),
            Address("Console", urls.console, "sessions, syncs, dead letters, and what to do about them"),
            *flower,
            *metrics,
            Address("Postgres", without_password(urls.database)),
            Address("Valkey", without_password(urls.broker)),
            Address("Passwords", str(self.env_file), f"in a shell: . {self.env_file}"),
            Address("Logs", str(self.logs)),
        ]

    @property
    def _start_page(self) -> Path:
        return self.path / "run" / "start.html"

    def stop(self) -> None:
        """Stop everything; the data stays."""
        self.supervisor.stop()
        self._dir.release()

    def __enter__(self) -> LocalStack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def is_given(self, *names: str) -> bool:
        """Whether the environment has one of them, also as ``NAME_FILE``."""
        return any(self.env.get(name) or self.env.get(f"{name}_FILE") for name in names)

    def _start_servers(self, cancelled: Callable[[], bool]) -> None:
        # Imported here, so that a stack on servers of its own needs no wheel of ours.
        if not self.is_given("DATABASE_URL"):
            from worker.local.servers.postgres import EmbeddedPostgres

            postgres = EmbeddedPostgres(
                self.path / "postgres",
                settings=self._server_settings.get("postgres"),
                log_path=self.logs / "postgres.log",
            )
            self.supervisor.start(postgres, cancelled=cancelled)
            self._logins.use_database(postgres.url)
            self.env["DATABASE_URL"] = self._logins.of("sessions")["DATABASE_URL"]
        if not self.is_given("CELERY_BROKER_URL", "REDIS_URL"):
            from worker.local.servers.valkey import EmbeddedValkey

            valkey = EmbeddedValkey(
                self.path / "valkey",
                settings=self._server_settings.get("valkey"),
                log_path=self.logs / "valkey.log",
            )
            self._logins.prepare_broker(valkey)
            self.supervisor.start(valkey, cancelled=cancelled)
            self._logins.use_broker(valkey)
            self.env["CELERY_BROKER_URL"] = self._logins.of("sessions")["CELERY_BROKER_URL"]

    def _fill_in_slack(self) -> None:
        if not self.is_given("SLACK_SIGNING_SECRET"):
            self.env["SLACK_SIGNING_SECRET"] = self._dir.secret("slack-signing-secret")
        if not self.is_given("SLACK_BOT_TOKEN"):
            self.env["SLACK_BOT_TOKEN"] = LOCAL_TOKEN

    def _write_env_file(self) -> None:
        names = [name for name in _FOR_THE_SHELL if self.env.get(name)]
        lines = [f"export {name}={shlex.quote(self.env[name])}\n" for name in names]
        if self._with_flower:
            lines.append(f"export FLOWER_BASIC_AUTH={shlex.quote(self._flower_login())}\n")
        write_private(self.env_file, "".join(lines))

    def _migrate(self, cancelled: Callable[[], bool]) -> None:
        """Once, so not the supervisor's: a migration that fails would fail again."""
        migration = self._command("migrate", [sys.executable, "-m", "worker.cli", "migrate"])
        migration.run(cancelled)

    def _worker(self) -> CommandService:
        return self._celery_worker("worker", "sessions", queues="sessions", concurrency=2)

    def _syncs(self) -> CommandService:
        """Of its own, so that a slow Jira delays no command. Its processes mostly wait for Jira or Slack.

        What they have no time for stays in the queue, where it delays nothing of the other queue.
        """
        few = ("--prefetch-multiplier", "1")
        return self._celery_worker("syncs", "syncs", *few, queues="syncs,maintenance", concurrency=8)

    def _lookups(self) -> CommandService:
        """Of its own, because a person waits for the answers, whatever else Jira is asked meanwhile."""
        few = ("--prefetch-multiplier", "1")
        return self._celery_worker("lookups", "lookups", *few, queues="lookups", concurrency=2)

    def _beat(self) -> CommandService:
        """Without a file for its process id: a stale one would keep it from starting."""
        return self._celery("beat", ["beat", "--pidfile=", "--loglevel", "INFO"])

    def _metrics(self) -> CommandService:
        port = self._choose_port("metrics", METRICS_PORT)
        url = f"http://127.0.0.1:{port}/metrics"
        self._metrics_urls["all of it"] = url
        argv = [sys.executable, "-m", "worker.cli", "metrics", "--host", "127.0.0.1", "--port", str(port)]
        return self._command("metrics", argv, ready=lambda _: answers_http(url))

    def _celery_worker(
        self,
        name: Literal["worker", "syncs", "lookups"],
        node: str,
        *more: str,
        queues: str,
        concurrency: int,
    ) -> CommandService:
        env: dict[str, str] = {}
        if self._with_metrics:
            port = self._choose_port(f"{name}-metrics")
            self._metrics_urls[f"what {name} counts"] = f"http://127.0.0.1:{port}/metrics"
            env = {"METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(port)}
        options = [
            *more,
            "-n",
            f"{node}@%h",
            "-Q",
            queues,
            "--concurrency",
            str(concurrency),
            "--loglevel",
            "INFO",
        ]
        # Workers need not know of each other; asking costs a second at each start.
        options += ["-E", "--without-mingle", "--without-gossip", *more]
        # A stop that is slow: a running task's time limit, and half a minute that Celery sometimes adds.
        return self._celery(
            name,
            ["worker", *options],
            ready=lambda seconds: sends_heartbeats(node, self.urls.broker or None, seconds),
            env=env,
            grace=45,
        )

    def _web(self) -> CommandService:
        port = self._choose_port("web", self._port, WEB_PORT)
        self.web_url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "handlers.serve", "--host", "127.0.0.1", "--port", str(port)]
        return self._command(
            "web",
            argv,
            ready=lambda _: answers_http(f"{self.web_url}/healthz"),
            env={"THREADSYNC_START_PAGE": str(self._start_page)},
        )

    def _socket_mode(self) -> CommandService:
        """It dials out, and goes on trying by itself: there is no readiness to wait for."""
        return self._command("socket-mode", [sys.executable, "-m", "handlers.socket_mode"])

    def _flower(self) -> CommandService:
        port = self._choose_port("flower", FLOWER_PORT)
        self.flower_url = f"http://127.0.0.1:{port}"
        return self._command(
            "flower",
            [sys.executable, "-m", "worker.cli", "flower", "--address", "127.0.0.1", "--port", str(port)],
            ready=lambda _: answers_http(self.flower_url),
            # In the environment, because everybody can read a command line.
            env={"FLOWER_BASIC_AUTH": self._flower_login(), "FLOWER_DB": str(self.path / "flower" / "state")},
        )

    def _flower_login(self) -> str:
        return self.env.get("FLOWER_BASIC_AUTH") or f"admin:{self._dir.secret('flower-password')}"

    def _choose_port(self, name: str, *preferred: int | None) -> int:
        note = self.path / "run" / f"{name}-port"
        port = free_port(*preferred, read_port(note))
        write_private(note, f"{port}\n")
        return port

    def _celery(
        self,
        name: Process | Literal["worker"],
        arguments: Sequence[str],
        *,
        ready: Callable[[float], bool] | None = None,
        env: Mapping[str, str] | None = None,
        grace: float = 10,
    ) -> CommandService:
        argv = [sys.executable, "-m", "celery", "-A", "worker", *arguments]
        return self._command(name, argv, ready=ready, env=env, grace=grace)

    def environment_of(self, process: Process, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process: its own part of ours, and its logins."""
        allowed = environment_of(process, {**self.env, **more}, _SETTINGS)
        # Python is not to look for modules where it is started.
        return {**allowed, **self._logins.of(process), "PYTHONSAFEPATH": "1"}

    def _command(
        self,
        name: Process | Literal["worker"],
        argv: Sequence[str],
        *,
        ready: Callable[[float], bool] | None = None,
        env: Mapping[str, str] | None = None,
        grace: float = 10,
    ) -> CommandService:
        return CommandService(
            name,
            argv,
            log_path=self.logs / f"{name}.log",
            env=self.environment_of("sessions" if name == "worker" else name, env or {}),
            cwd=self.path / "run",
            ready=ready,
            grace=grace,
        )
