"""The whole of threadsync on this machine: servers, worker, Slack endpoint, Flower."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from threadsync.config import LOCAL_TOKEN
from worker.local.data_dir import DataDir, make_own
from worker.local.failure import LocalServiceFailed
from worker.local.logins import Logins
from worker.local.services import SETTINGS, Services
from worker.local.start_page import Address, start_page, without_password
from worker.local.supervisor import Supervisor
from worker.operate.private_folder import write_private
from worker.operate.rights.environment import spelt

_OURS_TO_RUN = re.compile(r"(\.?([a-z-]+-port|start\.html)|core)(\.\d+)?")
_FOR_THE_SHELL = (
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "REDIS_URL",
    "SLACK_SIGNING_SECRET",
    "SLACK_BOT_TOKEN",
    "THREADSYNC_CONSOLE_PASSWORD",
)
_TRY = "try it with a Slack and a Jira of this machine; no account is needed"


@dataclass(frozen=True)
class LocalUrls:
    """Addresses of a stack. ``database`` and ``broker`` hold passwords. ``metrics``: by what they show.

    Those two are a worker's logins; ``broker_of_all`` is that of the broker's administrator.
    """

    web: str
    console: str
    flower: str | None
    metrics: Mapping[str, str]
    database: str
    broker: str
    broker_of_all: str
    playground: str | None = None


class LocalStack:
    """The stack of ``threadsync up``, in one data directory.

    Servers that the environment names (``DATABASE_URL``, ``CELERY_BROKER_URL`` or ``REDIS_URL``) are used,
    missing ones are started. ``env`` is what the services see, for instance a sandbox's ``SLACK_API_URL``.

    Args:
        with_playground: use a Slack and a Jira of this stack's own, with a page to try them.
        kind: what the data directory is for from now on; None leaves it as it is.
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
        with_playground: bool = False,
        kind: Literal["sandbox", "connected"] | None = None,
        env: Mapping[str, str] | None = None,
        server_settings: Mapping[str, Mapping[str, str]] | None = None,
        report: Callable[[str], None] = lambda sentence: None,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self._dir = DataDir(data_dir)
        self._with_flower = with_flower
        self._with_metrics = with_metrics
        self._with_playground = with_playground
        self._kind = kind
        self._sandbox: dict[str, str] = {}
        self._server_settings = server_settings or {}
        self._report = report
        self.env = spelt(os.environ if env is None else env, SETTINGS)
        self.supervisor = Supervisor(report=report, hurried=hurried)
        self._logins = Logins(self._dir.secret)
        self._services = Services(self._dir, self.env, self._logins, port, with_metrics=with_metrics)

    @property
    def path(self) -> Path:
        return self._dir.path

    @property
    def logs(self) -> Path:
        """Folder with a ``<service>.log`` for each service."""
        return self.path / "logs"

    @property
    def env_file(self) -> Path:
        """File for a shell to source, to work with this stack. It has mode 0600, as it holds passwords."""
        return self.path / "env"

    @property
    def urls(self) -> LocalUrls:
        """The stack's addresses, known from ``start`` on."""
        services = self._services
        broker = self.env.get("CELERY_BROKER_URL") or self.env.get("REDIS_URL", "")
        return LocalUrls(
            web=services.web_url,
            console=f"{services.web_url}/console/",
            flower=services.flower_url or None,
            playground=services.playground_url or None,
            metrics=dict(sorted(services.metrics_urls.items())),
            database=self.env.get("DATABASE_URL", ""),
            broker=broker,
            broker_of_all=self._logins.broker_of_all or broker,
        )

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Start all services, and return when they answer; after an error the others run until ``stop``.

        Raises ``DataDirInUse`` or ``LocalServiceFailed``.
        """
        self._dir.acquire()
        if self._kind:
            self._dir.mark(self._kind)
        # No service's working directory may hold modules: `python -m` looks there first.
        self._prepare_run()
        self._start_servers(cancelled)
        if self._with_playground:
            self._sandbox = self._services.sandbox()
            self.env.update(self._sandbox)
        self._fill_in_slack()
        if not self.is_given("THREADSYNC_CONSOLE_PASSWORD"):
            self.env["THREADSYNC_CONSOLE_PASSWORD"] = self._dir.secret("console-password")
        self._write_env_file()
        make = self._services
        make.migration().run(cancelled)
        if self._with_playground:
            # The others ask its Slack and Jira when they start.
            self.supervisor.start(make.playground(), cancelled=cancelled)
        services = [make.worker(), make.syncs(), make.lookups(), make.beat(), make.web()]
        if self._with_metrics:
            services.append(make.metrics())
        if self.is_given("SLACK_APP_TOKEN"):
            services.append(make.socket_mode())
        if self._with_flower:
            services.append(make.flower())
        self.supervisor.start(*services, cancelled=cancelled)
        write_private(make.start_page, start_page(self.addresses()))

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
        """Return the addresses to show, without passwords."""
        urls = self.urls
        metrics = [Address("Metrics", url, f"for Prometheus: {what}") for what, url in urls.metrics.items()]
        flower = [Address("Flower", urls.flower, "the live view; user admin")] if urls.flower else []
        playground = [Address("Playground", urls.playground, _TRY)] if urls.playground else []
        return [
            Address("Start page", f"{urls.web}/"),
            *playground,
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
        """Return True if the environment has one of these names, also as ``NAME_FILE``."""
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
        # All of the sandbox's: a shell with its tokens alone would send them to a real Slack.
        names = [name for name in dict.fromkeys((*_FOR_THE_SHELL, *self._sandbox)) if self.env.get(name)]
        lines = [f"export {name}={shlex.quote(self.env[name])}\n" for name in names]
        if self._with_flower:
            lines.append(f"export FLOWER_BASIC_AUTH={shlex.quote(self._services.flower_login())}\n")
        write_private(self.env_file, "".join(lines))
