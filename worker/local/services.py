"""The command lines of a stack: each process's start, its environment, and the check that it is ready."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from threadsync.config import Settings
from worker.local.data_dir import DataDir, make_own
from worker.local.logins import Logins
from worker.local.readiness import answers_http, sends_heartbeats
from worker.local.sandboxed import (
    JIRA_TOKEN_VARIABLE,
    SECRET_VARIABLE,
    SLACK_TOKEN_VARIABLE,
    sandbox_settings,
)
from worker.local.servers.port import free_port, read_port
from worker.local.service import CommandService
from worker.operate.private_folder import write_private
from worker.operate.rights.environment import Process, environment_of, environment_of_a_server

WEB_PORT: Final = 3000
PLAYGROUND_PORT: Final = 3001
FLOWER_PORT: Final = 5555
METRICS_PORT: Final = 9464
SETTINGS: Final = frozenset(name.upper() for name in Settings.model_fields)

Name = Process | Literal["worker"]


class Services:
    """Maker of services. ``env`` is read when a service is made, so the stack may fill it in before."""

    def __init__(
        self, data: DataDir, env: Mapping[str, str], logins: Logins, port: int | None, *, with_metrics: bool
    ) -> None:
        self._dir = data
        self._env = env
        self._logins = logins
        self._port = port
        self._with_metrics = with_metrics
        self.web_url = self.flower_url = self.playground_url = ""
        self.metrics_urls: dict[str, str] = {}
        self._web_port = 0
        self._sandbox: dict[str, str] = {}
        self._sandbox_ports = (0, 0)

    @property
    def start_page(self) -> Path:
        """The file of the page that the web process shows at ``/``."""
        return self._run / "start.html"

    @property
    def _run(self) -> Path:
        return self._dir.path / "run"

    def migration(self) -> CommandService:
        """Make the migration's command, not for the supervisor: a failed migration would fail again."""
        return self._command("migrate", "worker.cli", "migrate")

    def worker(self) -> CommandService:
        return self._celery_worker("worker", "sessions", queues="sessions", concurrency=2)

    def syncs(self) -> CommandService:
        """Make a worker for syncs, so that a slow Jira delays no command; it mostly waits for Jira or Slack.

        What it has no time for stays in the queue, where it delays nothing of the other queue.
        """
        few = ("--prefetch-multiplier", "1")
        return self._celery_worker("syncs", "syncs", *few, queues="syncs,maintenance", concurrency=8)

    def lookups(self) -> CommandService:
        """Make a worker for lookups alone: a user waits for their results, however busy syncs keep Jira."""
        few = ("--prefetch-multiplier", "1")
        return self._celery_worker("lookups", "lookups", *few, queues="lookups", concurrency=2)

    def beat(self) -> CommandService:
        """Make beat's service, without a file for its process id: a stale one would keep it from starting."""
        return self._command("beat", "celery", "-A", "worker", "beat", "--pidfile=", "--loglevel", "INFO")

    def metrics(self) -> CommandService:
        port = self._choose_port("metrics", METRICS_PORT)
        url = self.metrics_urls["all of it"] = f"http://127.0.0.1:{port}/metrics"
        address = ("--host", "127.0.0.1", "--port", str(port))
        return self._command("metrics", "worker.cli", "metrics", *address, ready=lambda _: answers_http(url))

    def web(self) -> CommandService:
        url = self._choose_web()
        address = ("--host", "127.0.0.1", "--port", str(self._web_port))
        env = {"THREADSYNC_START_PAGE": str(self.start_page)}
        return self._command(
            "web", "handlers.serve", *address, ready=lambda _: answers_http(f"{url}/healthz"), env=env
        )

    def _choose_web(self) -> str:
        if not self._web_port:
            self._web_port = self._choose_port("web", self._port, WEB_PORT)
            self.web_url = f"http://127.0.0.1:{self._web_port}"
        return self.web_url

    def sandbox(self) -> dict[str, str]:
        """Choose the ports of the sandbox Slack and Jira, and return the settings that lead to them.

        Call it before any other service is made.
        """
        slack, jira = self._sandbox_ports = (
            self._choose_port("sandbox-slack"),
            self._choose_port("sandbox-jira"),
        )
        make_own(self._playground)
        self._sandbox = sandbox_settings(
            slack_api_url=f"http://127.0.0.1:{slack}/api/",
            slack_token=f"xoxb-{self._dir.secret('sandbox-slack-token')}",
            jira_url=f"http://127.0.0.1:{jira}",
            jira_token=self._dir.secret("sandbox-jira-token"),
        )
        return dict(self._sandbox)

    def playground(self) -> CommandService:
        """Make the playground's service, which has the sandbox Slack and Jira in it."""
        port = self._choose_port("playground", PLAYGROUND_PORT)
        url = self.playground_url = f"http://127.0.0.1:{port}/playground/"
        slack, jira = self._sandbox_ports
        ports = ("--port", str(port), "--slack-port", str(slack), "--jira-port", str(jira))
        places = ("--web-url", self._choose_web(), "--folder", str(self._playground))
        env = {
            **environment_of_a_server(self._env),
            **{name: value for name, value in self._env.items() if name.startswith("PYTHON")},
            "PYTHONSAFEPATH": "1",
            SECRET_VARIABLE: self._env["SLACK_SIGNING_SECRET"],
            SLACK_TOKEN_VARIABLE: self._sandbox["SLACK_BOT_TOKEN"],
            JIRA_TOKEN_VARIABLE: self._sandbox["JIRA_API_TOKEN"],
        }
        return CommandService(
            "playground",
            [sys.executable, "-m", "sandbox.playground", *ports, *places],
            log_path=self._dir.path / "logs" / "playground.log",
            env=env,
            cwd=self._run,
            ready=lambda _: answers_http(url),
        )

    @property
    def _playground(self) -> Path:
        return self._dir.path / "playground"

    def socket_mode(self) -> CommandService:
        """Make Socket Mode's service, with no readiness to wait for: it goes on dialling out by itself."""
        return self._command("socket-mode", "handlers.socket_mode")

    def flower(self) -> CommandService:
        port = self._choose_port("flower", FLOWER_PORT)
        url = self.flower_url = f"http://127.0.0.1:{port}"
        address = ("--address", "127.0.0.1", "--port", str(port))
        # In the environment, because all users can read a command line.
        state = str(self._dir.path / "flower" / "state")
        env = {"FLOWER_BASIC_AUTH": self.flower_login(), "FLOWER_DB": state}
        return self._command(
            "flower", "worker.cli", "flower", *address, ready=lambda _: answers_http(url), env=env
        )

    def flower_login(self) -> str:
        return self._env.get("FLOWER_BASIC_AUTH") or f"admin:{self._dir.secret('flower-password')}"

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
            self.metrics_urls[f"what {name} counts"] = f"http://127.0.0.1:{port}/metrics"
            env = {"METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(port)}
        broker = self._env.get("CELERY_BROKER_URL") or self._env.get("REDIS_URL")
        options = ["-n", f"{node}@%h", "-Q", queues, "--concurrency", str(concurrency), "--loglevel", "INFO"]
        # Workers need not know of each other; asking costs a second at each start.
        options += ["-E", "--without-mingle", "--without-gossip", *more]
        return self._command(
            name,
            *("worker.cli", "worker", *options),
            ready=lambda seconds: sends_heartbeats(node, broker, seconds),
            env=env,
            # A stop that is slow: a running task's time limit, and half a minute that Celery sometimes adds.
            grace=45,
            # The playground has a button that kills it.
            pid_file=self._playground / f"{name}.pid" if self._sandbox else None,
        )

    def _choose_port(self, name: str, *preferred: int | None) -> int:
        note = self._run / f"{name}-port"
        port = free_port(*preferred, read_port(note))
        write_private(note, f"{port}\n")
        return port

    def _command(
        self,
        name: Name,
        module: str,
        *arguments: str,
        ready: Callable[[float], bool] | None = None,
        env: Mapping[str, str] | None = None,
        grace: float = 10,
        pid_file: Path | None = None,
    ) -> CommandService:
        return CommandService(
            name,
            [sys.executable, "-m", module, *arguments],
            log_path=self._dir.path / "logs" / f"{name}.log",
            env=self._environment_of("sessions" if name == "worker" else name, env or {}),
            cwd=self._run,
            ready=ready,
            grace=grace,
            pid_file=pid_file,
        )

    def _environment_of(self, process: Process, more: Mapping[str, str]) -> dict[str, str]:
        """Return the process's own part of the environment, and its logins."""
        allowed = environment_of(process, {**self._env, **more}, SETTINGS)
        # Python is not to look for modules where it is started.
        return {**allowed, **self._logins.of(process), "PYTHONSAFEPATH": "1"}
