"""docker-compose.yml and Dockerfile without Docker: their names exist, and are enough."""

from __future__ import annotations

import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.support.compose import compose_file, environment, ours, seconds, secret_files
from tests.support.documents import ROOT, fault_of, read
from threadsync.config import Settings, load_settings
from worker.doctor.flower import judge_address
from worker.durable.limits import TIME_LIMIT_SECONDS
from worker.operate.rights.broker_users import NAMES, acl_line, configuration, login_of

SERVICES: Final[dict[str, Any]] = compose_file()["services"]
NEEDED: Final = {
    "migrate": ("database_url",),
    "worker-sessions": ("database_url", "broker_url"),
    "worker-syncs": ("database_url", "broker_url", "slack_bot_token"),
    "worker-lookups": ("database_url", "broker_url", "slack_bot_token"),
    "beat": ("broker_url",),
    "handlers": ("broker_url", "database_url", "slack_signing_secret", "slack_bot_token"),
    "flower": ("broker_url",),
    "metrics": ("broker_url", "database_url"),
}
WORKERS: Final = ("worker-sessions", "worker-syncs", "worker-lookups")
FLOWERS_OWN: Final = {"FLOWER_BASIC_AUTH_FILE", "FLOWER_DB", "FLOWER_PUBLISHED_AT"}
OTELS_OWN: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
UVICORNS_OWN: Final = {"FORWARDED_ALLOW_IPS"}
VALUES: Final = {
    **dict.fromkeys(
        ("database_url", "migrate_database_url", "reader_database_url", "console_database_url"),
        "postgresql://threadsync:p@postgres:5432/threadsync",
    ),
    **{f"{user}_broker_url": "valkey://:p@valkey:6379/0" for user in NAMES},
    "console_password": "of-these-tests-and-42-ostriches",
}
_POOL_STALL_SECONDS: Final = 35
"""Time that Celery's pool may need beyond the command to stop under load: docs/operate/deploy.md."""


def environment_on(folder: Path, service: str) -> dict[str, str]:
    """Return the environment of a service, with its secrets in a folder of the test's."""
    env = environment(SERVICES[service])
    for variable, secret in secret_files(SERVICES[service]).items():
        file = folder / secret
        file.write_text(VALUES.get(secret, f"the-{secret}:x"))
        env[variable] = str(file)
    return env


def test_the_services() -> None:
    """The services are two servers, the commands of one image, and the monitoring."""
    assert set(SERVICES) == {"postgres", "valkey", "prometheus", "grafana", *NEEDED}
    assert set(ours(compose_file())) == set(NEEDED)
    assert re.fullmatch(r"postgres:18\.([6-9]|\d\d+)-trixie", SERVICES["postgres"]["image"])
    # Not a tag that goes on to 9.2 by itself: https://github.com/valkey-io/valkey/releases
    assert re.fullmatch(r"valkey/valkey:9\.1\.([2-9]|\d\d+)", SERVICES["valkey"]["image"])


def test_each_service_says_which_process_it_is() -> None:
    """Each service names its role, which tells `threadsync doctor` where it is."""
    roles = {name: environment(service)["THREADSYNC_ROLE"] for name, service in ours(compose_file()).items()}
    assert roles == {
        "migrate": "migrate",
        "worker-sessions": "sessions",
        "worker-syncs": "syncs",
        "worker-lookups": "lookups",
        "beat": "beat",
        "handlers": "web",
        "flower": "flower",
        "metrics": "metrics",
    }


def test_no_option_that_compose_ignores() -> None:
    """No config has an option that Compose ignores, such as `mode`."""
    for service in SERVICES.values():
        for config in service.get("configs", ()):
            assert set(config) <= {"source", "target"}
    assert (ROOT / "deploy" / "postgres" / "10-logins.sh").stat().st_mode & 0o555 == 0o555


@pytest.mark.parametrize("service", NEEDED)
def test_a_command_line_can_be_run(service: str, tmp_path: Path) -> None:
    """Each command line of a service has an existing program, subcommand and options."""
    env = environment_on(tmp_path, service)
    assert fault_of(SERVICES[service]["command"], env) is None
    check = SERVICES[service].get("healthcheck", {}).get("test", [])
    if check[1:2] == ["threadsync"]:
        assert fault_of(check[1:], env) is None


def test_the_app_can_be_imported(tmp_path: Path) -> None:
    """The web app can be imported in its service's environment, without a connection."""
    assert SERVICES["handlers"]["command"][:3] == ["python", "-m", "handlers.serve"]
    code = "import handlers.asgi; assert callable(handlers.asgi.app)"
    env = environment_on(tmp_path, "handlers")
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=True)


@pytest.mark.parametrize("service", NEEDED)
def test_the_environment_is_enough(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of a service is a setting of ours or Flower's, and no needed one is missing."""
    given = environment_on(tmp_path, service)
    settings = {name.upper() for name in Settings.model_fields}
    unknown = {name for name in given if name.removesuffix("_FILE") not in settings}
    assert unknown <= OTELS_OWN | {"flower": FLOWERS_OWN, "handlers": UVICORNS_OWN}.get(service, set())
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    load_settings().require(*NEEDED[service])


@pytest.mark.parametrize("given", [{}, {"FRONT_SUBNET": "10.9.8.0/28", "FRONT_GATEWAY": "10.9.8.1"}])
def test_the_proxy_of_the_host_is_believed_alone(given: dict[str, str]) -> None:
    """Forwarded headers are believed from the gateway alone, which no container has as its address."""
    compose = compose_file(given)
    [network] = compose["networks"]["front"]["ipam"]["config"]
    assert ip_address(network["gateway"]) in ip_network(network["subnet"])
    handlers = compose["services"]["handlers"]
    assert environment(handlers)["FORWARDED_ALLOW_IPS"] == network["gateway"]
    # The other network has no way in.
    assert (handlers["networks"], compose["networks"]["back"]) == (["back", "front"], {"internal": True})


def test_a_stop_lets_commands_end() -> None:
    """A worker's grace covers a command's time limit and the longest stall seen in Celery's pool."""
    for name in WORKERS:
        grace = seconds(SERVICES[name]["stop_grace_period"])
        assert grace >= max(45, TIME_LIMIT_SECONDS + _POOL_STALL_SECONDS)


def test_workers_wait_for_tables() -> None:
    """Workers wait for the migration, which waits for Postgres; the handlers wait for Valkey alone."""
    needs = {
        name: {n: how["condition"] for n, how in s.get("depends_on", {}).items()}
        for name, s in SERVICES.items()
    }
    for name in WORKERS:
        assert needs[name] == {"migrate": "service_completed_successfully", "valkey": "service_healthy"}
    assert needs["migrate"] == {"postgres": "service_healthy"}
    assert needs["handlers"] == {"valkey": "service_healthy"}


def test_every_queue_has_a_worker() -> None:
    """Every queue has exactly one worker."""
    from threadsync.queues import QUEUES

    workers = [SERVICES[name]["command"] for name in WORKERS]
    taken = [queue for line in workers for queue in line[line.index("--queues") + 1].split(",")]
    assert sorted(taken) == sorted(QUEUES)


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """Each secret gets a file in a private folder, and an existing secret is never overwritten."""
    folder = tmp_path / "secrets"
    script = ROOT / "deploy" / "make-secrets"
    first = subprocess.run([script, folder], check=True, capture_output=True, text=True)
    assert {file.name for file in folder.iterdir()} == set(compose_file()["secrets"])
    assert folder.stat().st_mode & 0o777 == 0o700
    made = {file.name: file.read_text() for file in folder.iterdir()}
    # Users of several images read them, none of them their owner.
    assert all(file.stat().st_mode & 0o777 in (0o444, 0o644) for file in folder.iterdir())
    for password, url in {
        "postgres_password": "migrate_database_url",
        "postgres_worker_password": "database_url",
        "postgres_console_password": "console_database_url",
        "postgres_reader_password": "reader_database_url",
    }.items():
        assert f":{made[password]}@" in made[url]
    for user in NAMES:
        address = urlsplit(made[f"{user}_broker_url"].strip())
        assert f"{acl_line(user, str(address.password))}\n" in made["valkey_users"]
        assert address.username == login_of(user)
        assert str(address.password) not in made["valkey_users"]
    assert not any(text.strip() and text.strip() in first.stdout for text in made.values())
    # One secret is filled in by an operator, and another is lost.
    (folder / "slack_bot_token").write_text("xoxb-mine")
    (folder / "database_url").unlink()
    subprocess.run([script, folder], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        **made,
        "slack_bot_token": "xoxb-mine",
    }


def test_users_of_the_broker_follow_the_release(tmp_path: Path) -> None:
    """The users of the broker are rewritten at each run, for the existing passwords."""
    folder = tmp_path / "secrets"
    script = ROOT / "deploy" / "make-secrets"
    subprocess.run([script, folder], check=True, capture_output=True)
    made = (folder / "valkey_users").read_text()
    (folder / "valkey_users").chmod(0o644)
    (folder / "valkey_users").write_text("user threadsync-web of an older release\n")
    subprocess.run([script, folder], check=True, capture_output=True)
    assert (folder / "valkey_users").read_text() == made


@pytest.mark.parametrize("url", ["valkey://:secret@valkey:6379/0", "valkey://threadsync-web:a%2Fb@h/0", ""])
def test_a_user_never_gets_an_empty_password(url: str, tmp_path: Path) -> None:
    """A broker address without the user's password, or with an encoded one, is an error."""
    folder = tmp_path / "secrets"
    script = ROOT / "deploy" / "make-secrets"
    subprocess.run([script, folder], check=True, capture_output=True)
    before = (folder / "valkey_users").read_text()
    (folder / "web_broker_url").chmod(0o644)
    (folder / "web_broker_url").write_text(f"{url}\n")
    again = subprocess.run([script, folder], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "web_broker_url: has no threadsync-web" in again.stderr
    assert (folder / "valkey_users").read_text() == before


def test_the_shipped_users_are_those_of_the_table() -> None:
    """The shipped users are those of the table: `threadsync broker-users > deploy/valkey-users.conf`."""
    assert read("deploy/valkey-users.conf") == configuration()


def test_secrets_are_not_for_others() -> None:
    """Secrets are kept out of git and of the image."""
    assert "secrets/" in read("deploy/.gitignore").splitlines()
    assert "!deploy" not in read(".dockerignore").splitlines()
    assert read(".dockerignore").splitlines()[1] == "*"


def test_the_user_is_the_images() -> None:
    """Compose runs the image's user, by number."""
    number = re.search(r"--uid (\d+)", read("Dockerfile"))
    assert number
    assert {service["user"] for service in ours(compose_file()).values()} == {f"{number[1]}:{number[1]}"}


def test_flowers_doctor_is_told_where_it_is_published() -> None:
    """Flower's doctor is told where the port is published, which it cannot see inside the container."""
    flower = SERVICES["flower"]
    published_at = environment(flower)["FLOWER_PUBLISHED_AT"]
    assert [port.rpartition(":")[0] for port in flower["ports"]] == [published_at]
    assert judge_address(["172.20.0.3"], published_at).level == "ok"


def test_a_volume_can_be_written_with_any_uid() -> None:
    """The data folder of the image can be written with any uid, as platforms choose it."""
    assert "--mode 1777 /var/lib/threadsync" in read("Dockerfile")
