"""``threadsync doctor`` on planted mistakes, which it finds with their fixes, and on a sound installation."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from sandbox.jira.faults import NotJson, Redirect, Refuse, Status
from sandbox.jira.server import JiraSandbox
from sandbox.jira.site import ScreenField
from sandbox.slack.server import SlackSandbox
from tests.support.command_runs import run_in
from tests.support.compose import compose_file, environment
from tests.support.servers import as_member
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from threadsync.config import Settings, get_settings
from threadsync.marker import site_of
from worker.db.migrate import migrate, migrations
from worker.db.roles import CONSOLE, READ, RUN, create_login, create_roles
from worker.doctor.examination import examine
from worker.doctor.finding import Finding
from worker.doctor.roles import Role, broker_user
from worker.doctor.slack import NEEDED_SCOPES
from worker.local.child import Child
from worker.local.readiness import answers_http
from worker.local.servers.port import free_port
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey
from worker.operate.rights.broker_users import NAMES

NEWEST = migrations()[-1]
SECRET = "0123456789abcdef0123456789abcdef"
Env = dict[str, str]
Plant = Callable[["Ward"], None]


class Ward:
    """An installation without faults: database, broker, Slack, Jira, and the environment that names them."""

    def __init__(self, postgres: EmbeddedPostgres, valkey: EmbeddedValkey, folder: Path) -> None:
        self.postgres, self.valkey, self.folder = postgres, valkey, folder
        self.slack, self.jira = SlackSandbox(), JiraSandbox()
        self.slack.start()
        self.jira.start()
        self.env: Env = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": as_member(postgres.url, RUN),
            "CELERY_BROKER_URL": valkey.url,
            "SLACK_SIGNING_SECRET": SECRET,
            "SLACK_BOT_TOKEN": self.slack.token,
            "SLACK_API_URL": self.slack.api_url,
            "JIRA_URL": self.jira.url,
            "JIRA_EMAIL": self.jira.email,
            "JIRA_API_TOKEN": self.jira.token,
            "JIRA_PROJECT_KEY": "PROJ",
        }
        self.flower_url = f"http://127.0.0.1:{free_port()}"
        self.undo: list[Callable[[], object]] = []

    def close(self) -> None:
        for undo in reversed(self.undo):
            undo()
        self.slack.stop()
        self.jira.stop()

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def configure(self, name: str, value: str, back: str) -> None:
        """Change a setting of the broker until the end of the test."""
        with redis.Redis.from_url(self.valkey.url) as client:
            client.config_set(name, value)
        self.undo.append(lambda: self._set(name, back))

    def _set(self, name: str, value: str) -> None:
        with redis.Redis.from_url(self.valkey.url) as client:
            client.config_set(name, value)

    def command(self, *words: str) -> Any:
        with redis.Redis.from_url(self.valkey.url) as client:
            return client.execute_command(*words)

    def examine(self, monkeypatch: pytest.MonkeyPatch, env: Env | None = None) -> dict[str, Finding]:
        """Run the doctor's checks in this process, and return the findings by check."""
        env = self.env if env is None else env
        for name in {*os.environ, *env} - {"PATH"}:
            if name in env:
                monkeypatch.setenv(name, env[name])
            elif name.startswith("FLOWER_"):
                monkeypatch.delenv(name)
        get_settings.cache_clear()
        return {found.check: found for _, findings in examine(self.flower_url) for found in findings}

    def doctor(self, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Run the command, and return its exit code and its findings by check."""
        done = self.run("--json", *options)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, {found["check"]: found for found in json.loads(done.stdout)}

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run_in(self.env, "doctor", "--flower-url", self.flower_url, *options)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedPostgres, EmbeddedValkey]]:
    """Start Postgres and Valkey with the same durability as `threadsync up`."""
    folder = tmp_path_factory.mktemp("ward")
    postgres, valkey = EmbeddedPostgres(folder / "postgres"), EmbeddedValkey(folder / "valkey")
    try:
        postgres.start()
        valkey.passwords = dict.fromkeys(NAMES, "of-these-tests")
        valkey.start()
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            create_roles(connection)
            for group in (RUN, CONSOLE, READ):
                # The logins have the names that tests/support/servers.py expects.
                create_login(connection, f"{group}_login", "of-these-tests", group)
            migrate(connection)
        yield postgres, valkey
    finally:
        postgres.stop()
        valkey.stop()


@pytest.fixture
def ward(servers: tuple[EmbeddedPostgres, EmbeddedValkey], tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(*servers, tmp_path)
    try:
        yield ward
    finally:
        ward.close()


def set_env(**env: str) -> Plant:
    return lambda ward: ward.env.update(env)


def unset_env(name: str) -> Plant:
    return lambda ward: ward.env.__delitem__(name)


def with_sql(plant: str, undo: str) -> Plant:
    def planted(ward: Ward) -> None:
        ward.sql(plant)
        ward.undo.append(lambda: ward.sql(undo))

    return planted


def hide_a_reporter(ward: Ward) -> None:
    """Let a worker have met a ticket that its reporter hides from us."""
    ward.env["JIRA_REPORTER"] = "requester"
    site = site_of(ward.jira.url)
    with psycopg.connect(ward.postgres.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO jira_reporters (site, project_key, problem, jira_id, noted_at, looked_at) "
            "VALUES (%s, 'PROJ', 'hidden', '10007', now(), now())",
            (site,),
        )


def wrong_password(name: str) -> Plant:
    def planted(ward: Ward) -> None:
        scheme, _, rest = ward.env[name].partition("://")
        user = rest.partition(":")[0]
        ward.env[name] = f"{scheme}://{user}:wrong@{rest.rpartition('@')[2]}"

    return planted


def limited_user(*rules: str) -> Plant:
    """Make a mistake: a user of the broker with these rights only."""

    def planted(ward: Ward) -> None:
        ward.command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules)
        ward.undo.append(lambda: ward.command("ACL", "DELUSER", "limited"))
        ward.env["CELERY_BROKER_URL"] = ward.valkey.url.replace("://:", "://limited:").replace(
            ward.valkey.url.split(":")[2].split("@")[0], "secret"
        )

    return planted


def foreign_key(ward: Ward) -> None:
    ward.command("SET", "syncs", "of another program")
    ward.undo.append(lambda: ward.command("DEL", "syncs"))


def another_installation(ward: Ward) -> None:
    ward.command("SET", "threadsync.installation", "00000000-0000-0000-0000-000000000001")
    ward.undo.append(lambda: ward.command("DEL", "threadsync.installation"))


def replica(ward: Ward) -> None:
    ward.command("REPLICAOF", "127.0.0.1", "1")
    ward.undo.append(lambda: ward.command("REPLICAOF", "NO", "ONE"))


def queue_that_waits(ward: Ward) -> None:
    """Put an old message into a queue that has no worker."""
    ward.command("LPUSH", "sessions", json.dumps({"headers": {"sent_at": 1.0}, "properties": {}, "body": ""}))
    ward.undo.append(lambda: ward.command("DEL", "sessions"))


def open_secret(ward: Ward) -> None:
    # pytest's own folders are closed to others.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    ward.undo.append(lambda: shutil.rmtree(folder))
    path = folder / "token"
    path.write_text(ward.env.pop("JIRA_API_TOKEN"))
    path.chmod(0o644)
    ward.env["JIRA_API_TOKEN_FILE"] = str(path)


def missing_file(ward: Ward) -> None:
    del ward.env["JIRA_API_TOKEN"]
    ward.env["JIRA_API_TOKEN_FILE"] = "/nowhere"


def no_database(ward: Ward) -> None:
    ward.env["DATABASE_URL"] = f"{ward.env['DATABASE_URL'].rpartition('/')[0]}/nowhere"


def tables_in_front(ward: Ward) -> None:
    """Put a schema with decoy tables before ours, for a connection that cannot set its search_path."""
    ward.env["DATABASE_PREPARED_STATEMENTS"] = "false"
    ward.sql(
        "CREATE SCHEMA decoy; CREATE TABLE decoy.thread_sessions (); GRANT USAGE ON SCHEMA decoy TO public;"
        "ALTER ROLE threadsync_run_login SET search_path = decoy, public"
    )
    ward.undo.append(
        lambda: ward.sql("DROP SCHEMA decoy CASCADE; ALTER ROLE threadsync_run_login RESET search_path")
    )


def open_flower(ward: Ward) -> None:
    """Start Flower without a login."""
    port = ward.flower_url.rpartition(":")[2]
    argv = [sys.executable, "-m", "celery", "-A", "worker", "flower", "--address=0.0.0.0", f"--port={port}"]
    env = {**ward.env, "PYTHONPATH": str(ROOT), "FLOWER_UNAUTHENTICATED_API": "true"}
    child = Child(argv, log_path=ward.folder / "flower.log", env=env, cwd=ward.folder)
    ward.undo.append(child.kill)
    wait_until(lambda: answers_http(f"{ward.flower_url}/api/workers"), "Flower answers", 30)


def jira(change: Callable[[Any], None]) -> Plant:
    return lambda ward: change(ward.jira.site)


def without_labels(site: Any) -> None:
    del site.screen["labels"]


def with_a_field(site: Any) -> None:
    site.screen["customfield_10010"] = ScreenField("Team", required=True)


def a_type_called_2024(ward: Ward) -> None:
    ward.jira.site.issue_types["2024"] = "10007"
    ward.undo.append(lambda: ward.jira.site.issue_types.pop("2024"))
    ward.env["JIRA_ISSUE_TYPE"] = "2024"


NOWHERE = "127.0.0.1:1"
MISTAKES: dict[str, tuple[Plant, str, str, str]] = {
    # What is planted, the check that finds it, its level, and words of the fix.
    "settings: no URL": (set_env(DATABASE_URL="mysql://x"), "settings", "error", "docs/use/settings.md"),
    "settings: no broker": (unset_env("CELERY_BROKER_URL"), "settings", "error", "set it"),
    "settings: missing file": (missing_file, "settings", "error", "docs/use/settings.md"),
    "settings: open secret": (open_secret, "secret files", "warning", "chmod o-r"),
    "console: short password": (
        set_env(THREADSYNC_CONSOLE_PASSWORD="abc"),
        "console password",
        "error",
        "openssl",
    ),
    "console: our name": (
        set_env(THREADSYNC_CONSOLE_PASSWORD="Threadsync2026!"),
        "console password",
        "error",
        "openssl",
    ),
    "broker: away": (
        set_env(CELERY_BROKER_URL=f"redis://{NOWHERE}/0"),
        "broker: reachable",
        "error",
        "start it",
    ),
    "broker: password": (wrong_password("CELERY_BROKER_URL"), "broker: reachable", "error", "password"),
    "broker: eviction": (
        lambda ward: ward.configure("maxmemory-policy", "allkeys-lru", "noeviction"),
        "broker: eviction",
        "error",
        "noeviction",
    ),
    "broker: no file": (
        lambda ward: ward.configure("appendonly", "no", "yes"),
        "broker: append-only file",
        "error",
        "appendonly yes",
    ),
    "broker: every second": (
        lambda ward: ward.configure("appendfsync", "everysec", "always"),
        "broker: append-only file",
        "warning",
        "appendfsync always",
    ),
    "broker: replica": (replica, "broker: role", "error", "master"),
    "broker: foreign key": (foreign_key, "broker: keys", "error", "global_keyprefix"),
    "broker: no scripts": (
        limited_user("~*", "&*", "+@all", "-eval"),
        "broker: permissions",
        "error",
        "docs/operate/brokers.md",
    ),
    "broker: no publish": (
        limited_user("~*", "&*", "+@all", "-blmove"),
        "broker: permissions",
        "error",
        "docs/operate/brokers.md",
    ),
    "broker: no remote control": (
        limited_user("~*", "&another:*", "+@all"),
        "broker: permissions",
        "error",
        "docs/operate/brokers.md",
    ),
    "broker: another's": (another_installation, "installation", "error", "threadsync installation adopt"),
    "installation: told another": (
        set_env(INSTALLATION_ID="00000000-0000-0000-0000-000000000001"),
        "installation",
        "error",
        "threadsync installation show",
    ),
    "broker: no INFO": (limited_user("~*", "&*", "+@all", "-info"), "broker: eviction", "warning", "INFO"),
    "broker: visibility": (
        set_env(CELERY_BROKER_TRANSPORT_OPTIONS='{"visibility_timeout": 5}'),
        "broker: visibility timeout",
        "error",
        "visibility_timeout",
    ),
    "broker: an hour": (
        set_env(CELERY_BROKER_TRANSPORT_OPTIONS='{"visibility_timeout": 3600}'),
        "broker: visibility timeout",
        "warning",
        "visibility_timeout",
    ),
    "database: away": (
        set_env(DATABASE_URL=f"postgresql://u@{NOWHERE}/x"),
        "database: reachable",
        "error",
        "start it",
    ),
    "database: password": (wrong_password("DATABASE_URL"), "database: reachable", "error", "password"),
    "database: no database": (
        no_database,
        "database: reachable",
        "error",
        "create it",
    ),
    "database: no tables": (
        lambda ward: ward.env.update(DATABASE_URL=ward.postgres.url.rpartition("/")[0] + "/postgres"),
        "database: schema",
        "error",
        "threadsync migrate",
    ),
    "database: behind": (
        with_sql(
            "CREATE TABLE known AS SELECT * FROM threadsync_schema;"
            "DELETE FROM threadsync_schema WHERE version = (SELECT max(version) FROM known)",
            "INSERT INTO threadsync_schema SELECT * FROM known ORDER BY version DESC LIMIT 1;"
            "DROP TABLE known",
        ),
        "database: schema",
        "error",
        "threadsync migrate",
    ),
    "database: ahead": (
        with_sql(
            "INSERT INTO threadsync_schema (version, name) VALUES (9999, 'x')",
            "DELETE FROM threadsync_schema WHERE version = 9999",
        ),
        "database: schema",
        "warning",
        "upgrade",
    ),
    "database: a right": (
        with_sql("REVOKE INSERT ON syncs FROM threadsync_run", "GRANT INSERT ON syncs TO threadsync_run"),
        "database: privileges",
        "error",
        "GRANT INSERT ON syncs",
    ),
    "database: reader": (
        lambda ward: ward.env.update(DATABASE_URL=as_member(ward.postgres.url, READ)),
        "database: privileges",
        "error",
        "threadsync_run",
    ),
    "database: schema's use": (
        with_sql(
            "REVOKE USAGE ON SCHEMA public FROM threadsync_run, PUBLIC",
            "GRANT USAGE ON SCHEMA public TO threadsync_run, PUBLIC",
        ),
        "database: schema",
        "error",
        "GRANT USAGE ON SCHEMA public",
    ),
    "database: superuser": (
        lambda ward: ward.env.update(DATABASE_URL=ward.postgres.url),
        "database: role",
        "warning",
        "threadsync_run",
    ),
    "database: read-only": (
        with_sql(
            "ALTER ROLE threadsync_run_login SET default_transaction_read_only = on",
            "ALTER ROLE threadsync_run_login RESET default_transaction_read_only",
        ),
        "database: writable",
        "error",
        "primary",
    ),
    "database: another tool's parameter": (
        lambda ward: ward.env.update(DATABASE_URL=f"{ward.env['DATABASE_URL']}?pgbouncer=true"),
        "settings",
        "error",
        "docs/use/settings.md",
    ),
    "database: no time limits": (
        set_env(DATABASE_PREPARED_STATEMENTS="false"),
        "database: settings",
        "warning",
        "ALTER ROLE threadsync_run_login SET statement_timeout = '5s'",
    ),
    "database: tables in front": (
        tables_in_front,
        "database: settings",
        "error",
        "SET search_path",
    ),
    "database: not durable": (
        with_sql(
            "ALTER ROLE threadsync_run_login SET synchronous_commit = off",
            "ALTER ROLE threadsync_run_login RESET synchronous_commit",
        ),
        "database: durable",
        "error",
        "synchronous_commit = on",
    ),
    "database: rows in its log": (
        with_sql(
            "ALTER ROLE threadsync_run_login SET log_error_verbosity = verbose",
            "ALTER ROLE threadsync_run_login RESET log_error_verbosity",
        ),
        "database: log",
        "warning",
        "log_error_verbosity = terse",
    ),
    "channels: junk": (
        with_sql(
            "INSERT INTO channel_context (channel_id, context_data) "
            """VALUES ('C0JUNK', '{"threadsync": {"labels": "canary"}}')""",
            "DELETE FROM channel_context WHERE channel_id = 'C0JUNK'",
        ),
        "channels: settings",
        "warning",
        "threadsync channels set",
    ),
    "nothing takes messages": (queue_that_waits, "running: queue sessions", "error", "restart a worker"),
    "slack: token": (set_env(SLACK_BOT_TOKEN="xoxb-wrong"), "slack: token", "error", "reinstall"),
    "slack: user's token": (
        set_env(SLACK_BOT_TOKEN="xoxp-1"),
        "slack: token",
        "error",
        "Bot User OAuth Token",
    ),
    "slack: no token": (unset_env("SLACK_BOT_TOKEN"), "slack: token", "error", "Bot User OAuth Token"),
    "slack: away": (set_env(SLACK_API_URL=f"http://{NOWHERE}/"), "slack: token", "error", "SLACK_API_URL"),
    "slack: messages": (
        with_sql(
            "INSERT INTO slack_installation (trouble, trouble_since, next_probe_at) "
            "VALUES ('token_revoked', now(), now())",
            "DELETE FROM slack_installation",
        ),
        "slack: messages",
        "error",
        "reinstall",
    ),
    "slack: scopes": (
        lambda ward: setattr(ward.slack, "scopes", ("chat:write", "commands")),
        "slack: scopes",
        "error",
        "add app_mentions:read, channels:history, groups:history",
    ),
    "slack: optional scopes": (
        lambda ward: setattr(ward.slack, "scopes", NEEDED_SCOPES),
        "slack: optional scopes",
        "warning",
        "add files:read, users:read",
    ),
    "slack: no secret": (
        unset_env("SLACK_SIGNING_SECRET"),
        "slack: signing secret",
        "error",
        "Signing Secret",
    ),
    "slack: token as secret": (
        set_env(SLACK_SIGNING_SECRET="xoxb-1234567890123456"),
        "slack: signing secret",
        "error",
        "Signing Secret",
    ),
    "slack: short secret": (
        set_env(SLACK_SIGNING_SECRET="abc"),
        "slack: signing secret",
        "error",
        "Signing Secret",
    ),
    "slack: app token": (
        set_env(SLACK_APP_TOKEN="xapp-wrong"),
        "slack: app token",
        "error",
        "connections:write",
    ),
    "slack: workspace": (set_env(SLACK_TEAM_ID="T0OTHER"), "slack: workspace", "error", "SLACK_TEAM_ID"),
    "slack: app": (set_env(SLACK_APP_ID="A0OTHER"), "slack: app", "error", "one app's page"),
    "slack: people": (
        lambda ward: setattr(ward.slack, "scopes", NEEDED_SCOPES),
        "slack: people",
        "warning",
        "users:read",
    ),
    "slack: no app": (
        lambda ward: setattr(ward.slack, "scopes", NEEDED_SCOPES),
        "slack: app",
        "warning",
        "SLACK_APP_ID",
    ),
    "jira: away": (set_env(JIRA_URL=f"http://{NOWHERE}"), "jira: login", "error", "JIRA_URL"),
    "jira: token": (set_env(JIRA_API_TOKEN="wrong"), "jira: login", "error", "JIRA_API_TOKEN"),
    "jira: e-mail": (unset_env("JIRA_EMAIL"), "settings", "error", "correct the variable"),
    "jira: two logins": (
        set_env(JIRA_OAUTH_CLIENT_ID="client"),
        "settings",
        "error",
        "correct the variable",
    ),
    "jira: ends": (set_env(JIRA_TOKEN_EXPIRES="2020-01-01"), "jira: expiry", "error", "another token"),
    "jira: reporter": (hide_a_reporter, "jira: reporter", "warning", "browse these projects"),
    "jira: half": (unset_env("JIRA_URL"), "jira: settings", "error", "both"),
    "jira: http": (
        set_env(JIRA_URL="http://jira.invalid", JIRA_ALLOW_HTTP="true"),
        "jira: address",
        "warning",
        "https",
    ),
    "jira: not Jira": (
        lambda ward: ward.jira.site.fail("myself", Status(404)),
        "jira: login",
        "error",
        "JIRA_URL",
    ),
    "jira: login page": (
        lambda ward: ward.jira.site.fail("myself", NotJson()),
        "jira: login",
        "error",
        "without the login page",
    ),
    "jira: redirect": (
        lambda ward: ward.jira.site.fail("myself", Redirect("https://sso.example/login")),
        "jira: login",
        "error",
        "that it redirects to",
    ),
    "jira: search": (
        lambda ward: ward.jira.site.fail("search", Status(410)),
        "jira: search",
        "error",
        "JIRA_DEPLOYMENT",
    ),
    "jira: key probe": (
        lambda ward: ward.jira.site.fail("bulkfetch", Refuse(403, ("no",))),
        "jira: search",
        "error",
        "browse",
    ),
    "jira: spelling": (
        set_env(JIRA_ISSUE_TYPE="task"),
        "jira: project",
        "warning",
        "JIRA_ISSUE_TYPE=Task",
    ),
    "jira: name of digits": (
        a_type_called_2024,
        "jira: project",
        "error",
        "JIRA_ISSUE_TYPE=10007",
    ),
    "jira: project": (set_env(JIRA_PROJECT_KEY="NOPE"), "jira: project", "error", "JIRA_PROJECT_KEY"),
    "jira: issue type": (set_env(JIRA_ISSUE_TYPE="Epos"), "jira: project", "error", "JIRA_ISSUE_TYPE"),
    "jira: required field": (jira(with_a_field), "jira: required fields", "error", "optional"),
    "jira: label": (jira(without_labels), "jira: label", "error", "Labels"),
    "jira: settle": (set_env(JIRA_SETTLE_SECONDS="20"), "jira: settings", "warning", "600"),
    "flower: open API": (set_env(FLOWER_UNAUTHENTICATED_API="true"), "flower: settings", "error", "unset"),
    "flower: open API, by one letter": (
        set_env(FLOWER_UNAUTHENTICATED_API=" T "),
        "flower: settings",
        "error",
        "unset",
    ),
    "flower: no login in the file": (
        set_env(FLOWER_BASIC_AUTH_FILE="/nowhere"),
        "flower: settings",
        "error",
        "user:password",
    ),
    "flower: no password": (
        set_env(FLOWER_BASIC_AUTH="admin:"),
        "flower: settings",
        "error",
        "user:password",
    ),
    "flower: open": (open_flower, "flower: login", "error", "FLOWER_BASIC_AUTH"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(ward: Ward, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted mistake is found by its check, at its level, with a fix that names the change."""
    plant, check, level, words = MISTAKES[mistake]
    plant(ward)
    found = ward.examine(monkeypatch)
    assert check in found, found
    assert (found[check].level, words in found[check].fix) == (level, True), found[check]


def test_an_error_is_an_exit_code(ward: Ward) -> None:
    """An error gives exit code 1, and the JSON output has its level and fix."""
    ward.env["JIRA_API_TOKEN"] = "wrong"
    code, found = ward.doctor()
    assert (code, found["jira: login"]["level"]) == (1, "error")
    assert "JIRA_API_TOKEN" in found["jira: login"]["fix"]


def test_all_is_well(ward: Ward) -> None:
    """An installation without faults gives exit code 0, and no output shows a secret."""
    code, found = ward.doctor()
    assert code == 0
    not_well = {check for check, finding in found.items() if finding["level"] in ("warning", "error")}
    assert not_well <= {check for check in found if check.startswith("running: ")}
    done = ward.run()
    assert done.returncode == 0
    assert "0 errors" in done.stdout
    for name in ("JIRA_API_TOKEN", "JIRA_EMAIL", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"):
        assert ward.env[name] not in done.stdout + done.stderr + json.dumps(found)


ROLES = {
    "sessions": {"CELERY_BROKER_URL", "DATABASE_URL"},
    "syncs": {
        *("CELERY_BROKER_URL", "DATABASE_URL", "SLACK_BOT_TOKEN", "SLACK_API_URL"),
        *("JIRA_URL", "JIRA_EMAIL", "JIRA_API_TOKEN", "JIRA_PROJECT_KEY"),
    },
    "lookups": {
        *("CELERY_BROKER_URL", "DATABASE_URL", "SLACK_BOT_TOKEN", "SLACK_API_URL"),
        *("JIRA_URL", "JIRA_EMAIL", "JIRA_API_TOKEN", "JIRA_PROJECT_KEY"),
    },
    "beat": {"CELERY_BROKER_URL"},
    "web": {
        *("CELERY_BROKER_URL", "DATABASE_URL", "SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "SLACK_API_URL"),
        *("SLACK_TEAM_ID", "SLACK_APP_ID", "WHO_MAY_ACT", "JIRA_URL"),
    },
    "flower": {"CELERY_BROKER_URL"},
    "metrics": {"CELERY_BROKER_URL", "DATABASE_URL"},
    "migrate": {"DATABASE_URL"},
}
"""The settings that each service of docker-compose.yml has, by role."""


OF_NO_MATTER = {
    *("LOG_FORMAT", "METRICS_HOST", "METRICS_PORT", "THREADSYNC_ROLE", "THREADSYNC_CONSOLE_PASSWORD"),
    "PUBLIC_HOSTS",
    *("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "JIRA_DEPLOYMENT", "JIRA_ISSUE_TYPE"),
    *("JIRA_ALLOW_HTTP", "JIRA_CLOUD_ID", "JIRA_TOKEN_EXPIRES"),
    *("JIRA_OAUTH_CLIENT_ID", "JIRA_OAUTH_CLIENT_SECRET", "JIRA_OAUTH_TOKEN_URL", "JIRA_API_GATEWAY"),
    "JIRA_REPORTER",
    *("RETENTION_DRAFTS_DAYS", "RETENTION_LETTERS_DAYS", "RETENTION_SESSIONS_DAYS"),
}
"""Settings that a service may have besides, but that do not affect its health."""


def test_roles_have_what_their_services_have() -> None:
    """Each service of docker-compose.yml with a role has the settings of that role."""
    given: dict[str, set[str]] = {}
    for service in compose_file()["services"].values():
        env = environment(service)
        if role := env.get("THREADSYNC_ROLE"):
            names = {name.removesuffix("_FILE") for name in env}
            given[role] = {name for name in names if name.lower() in Settings.model_fields} - OF_NO_MATTER
    expected = {role: names - {"SLACK_API_URL"} for role, names in ROLES.items()}
    assert given == expected


@pytest.mark.parametrize("role", ROLES)
def test_a_process_with_its_own_settings_alone_is_well(
    ward: Ward, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with only the settings of its role has no warning or error."""
    ward.env = {name: value for name, value in ward.env.items() if name in ROLES[role]}
    if user := broker_user(role):
        ward.env["CELERY_BROKER_URL"] = ward.valkey.url_of(user)
    if role == "web":
        ward.env["DATABASE_URL"] = as_member(ward.postgres.url, CONSOLE)
        ward.env["THREADSYNC_CONSOLE_PASSWORD"] = "of-these-tests-and-42-ostriches"
    if role == "metrics":
        ward.env["DATABASE_URL"] = as_member(ward.postgres.url, READ)
    if role == "migrate":
        ward.env["DATABASE_URL"] = ward.postgres.url
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    found = ward.examine(monkeypatch, {**ward.env, "THREADSYNC_ROLE": role})
    not_well = {check for check, finding in found.items() if finding.level in ("warning", "error")}
    assert not_well <= {check for check in found if check.startswith("running: ")}, found
    looked_at = {check for check, finding in found.items() if finding.level != "skipped"}
    assert {"settings", "secrets of others"} < looked_at


def test_what_a_process_has_of_others_is_said(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process with other processes' secrets or logins with too many rights gets warnings."""
    ward.env["THREADSYNC_CONSOLE_PASSWORD"] = "of-these-tests-and-42-ostriches"
    found = ward.examine(monkeypatch, {**ward.env, "THREADSYNC_ROLE": "web"})
    assert "JIRA_API_TOKEN" in found["secrets of others"].message
    for check in ("secrets of others", "broker: user", "database: role"):
        assert found[check].level == "warning", found[check]
    del ward.env["THREADSYNC_CONSOLE_PASSWORD"]
    monkeypatch.delenv("THREADSYNC_CONSOLE_PASSWORD")
    found = ward.examine(monkeypatch, {**ward.env, "THREADSYNC_ROLE": "web"})
    assert "without the console" in found["database: role"].message
    assert found["database: role"].level == "warning"
    assert found["database: reachable"].level == "skipped"


def test_strict_counts_warnings(ward: Ward) -> None:
    """A warning makes the exit code 1 with `--strict` only."""
    assert ward.run().returncode == 0
    assert ward.run("--strict").returncode == 1


@contextmanager
def silent() -> Iterator[str]:
    """Yield the address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    kept.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


def test_silence_is_not_waited_for(ward: Ward) -> None:
    """The doctor ends with an error for each server that accepts connections and never answers."""
    with silent() as address:
        ward.env |= {
            "DATABASE_URL": f"postgresql://u:p@{address}/x",
            "CELERY_BROKER_URL": f"redis://{address}/0",
            "SLACK_API_URL": f"http://{address}/",
            "JIRA_URL": f"http://{address}",
        }
        code, found = ward.doctor()
    assert code == 1
    for check in ("database: reachable", "broker: reachable", "slack: token", "jira: login"):
        assert found[check]["level"] == "error", found


def test_scopes_are_those_of_the_manifest() -> None:
    """The scopes that the doctor checks are those of the app's manifest."""
    import yaml

    manifest = yaml.safe_load((ROOT / "handlers" / "manifest.yaml").read_text())
    assert manifest["oauth_config"]["scopes"]["bot"] == list(NEEDED_SCOPES)
