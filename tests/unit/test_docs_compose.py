"""docker-compose.yml and Dockerfile without Docker: what they name exists, and what must hold holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import Any, Final

import pytest
import yaml

from tests.documents import ROOT, fault_of, read
from worker.celery import TIME_LIMIT_SECONDS
from worker.config import Settings, load_settings

VARIABLE: Final = re.compile(r"\$\{(\w+)(:\?[^}]*)?\}")
OPTIONAL: Final = re.compile(r"\$\{(\w+):-\}")
NEEDED: Final = {
    "migrate": ("database_url",),
    "worker": ("database_url", "broker_url"),
    "worker-syncs": ("database_url", "broker_url"),
    "beat": ("broker_url",),
    "handlers": ("broker_url", "slack_signing_secret", "slack_bot_token"),
    "flower": ("broker_url",),
}
_POOL_STALL_SECONDS: Final = 35
"""How long Celery's pool may take beyond the command when it stops under load: docs/delivery.md."""


@pytest.fixture(scope="module")
def compose() -> Any:
    """With a word of its own for each variable that must be set, and none of the others."""
    text = OPTIONAL.sub("", read("docker-compose.yml"))
    return yaml.safe_load(VARIABLE.sub(lambda match: f"the-{match[1].lower()}", text))


def environment(compose: Any, service: str) -> dict[str, str]:
    given = compose["services"][service]["environment"].items()
    return {name: "" if value is None else str(value) for name, value in given}


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_the_services(compose: Any) -> None:
    """Two servers, and the commands of one image."""
    assert set(compose["services"]) == {"postgres", "valkey", *NEEDED}
    assert {compose["services"][name]["image"] for name in NEEDED} == {"threadsync:0.1.0"}
    assert compose["services"]["postgres"]["image"] == "postgres:18"
    assert compose["services"]["valkey"]["image"] == "valkey/valkey:9"


@pytest.mark.parametrize("service", NEEDED)
def test_a_command_line_can_be_run(compose: Any, service: str) -> None:
    """Program, subcommand and options exist, with the service's own environment."""
    fault = fault_of(compose["services"][service]["command"], environment(compose, service))
    assert fault is None


def test_the_target_of_uvicorn_can_be_imported(compose: Any) -> None:
    """With the service's environment, and without connecting to anything."""
    target = compose["services"]["handlers"]["command"][1]
    module, _, name = target.partition(":")
    code = f"import {module}; assert callable({module}.{name})"
    subprocess.run([sys.executable, "-c", code], env=environment(compose, "handlers"), cwd=ROOT, check=True)


@pytest.mark.parametrize("service", NEEDED)
def test_the_environment_is_enough(compose: Any, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is a setting of ours or Flower's, and none that the process needs is missing."""
    given = environment(compose, service)
    assert {name for name in given if name.lower() not in Settings.model_fields} <= {"FLOWER_BASIC_AUTH"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    load_settings().require(*NEEDED[service])


def test_a_missing_secret_stops_everything() -> None:
    """Compose would put an empty text in its place, and the broker would have no password."""
    found = VARIABLE.findall(read("docker-compose.yml"))
    assert found
    assert [name for name, needed in found if not needed] == []


def test_nothing_listens_to_the_world(compose: Any) -> None:
    """Published ports are loopback's; the servers have none."""
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert ports["postgres"] == ports["valkey"] == []
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
    assert environment(compose, "flower")["FLOWER_BASIC_AUTH"] == "the-flower_basic_auth"


def test_a_stop_lets_commands_end(compose: Any) -> None:
    """The worker's grace is a command's time limit and what Celery's pool was seen to need."""
    grace = seconds(compose["services"]["worker"]["stop_grace_period"])
    assert grace >= max(45, TIME_LIMIT_SECONDS + _POOL_STALL_SECONDS)


def test_everything_waits_for_what_it_needs(compose: Any) -> None:
    """Tables before workers, servers before tables; and what is waited for has a health check."""
    services = compose["services"]
    conditions = {
        (name, needed): how["condition"]
        for name, service in services.items()
        for needed, how in service.get("depends_on", {}).items()
    }
    assert conditions["worker", "migrate"] == "service_completed_successfully"
    assert conditions["migrate", "postgres"] == conditions["worker", "valkey"] == "service_healthy"
    healthy = {needed for (_, needed), condition in conditions.items() if condition == "service_healthy"}
    assert all("healthcheck" in services[name] for name in healthy)
    assert services["migrate"]["restart"] == "no"


def test_volumes_and_configs_are_declared(compose: Any) -> None:
    """Data of both servers outlives its container; Postgres 18 keeps it one folder higher than 17 did."""
    mounts = {
        name: dict(volume.split(":") for volume in compose["services"][name]["volumes"])
        for name in ("postgres", "valkey")
    }
    assert mounts == {"postgres": {"postgres": "/var/lib/postgresql"}, "valkey": {"valkey": "/data"}}
    assert set(compose["volumes"]) == {"postgres", "valkey"}
    [config] = compose["services"]["valkey"]["configs"]
    assert config["source"] in compose["configs"]
    assert config["target"] == compose["services"]["valkey"]["command"][1]


def test_the_image_has_every_package() -> None:
    """What the wheel is made of is copied, and not ignored; the user is not root."""
    project = tomllib.loads(read("pyproject.toml"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    dockerfile, ignored = read("Dockerfile"), read(".dockerignore").splitlines()
    for package in packages:
        assert f"COPY {package} {package}\n" in dockerfile
        assert f"!{package}" in ignored
    for file in ("pyproject.toml", "constraints.txt", project["project"]["readme"], "LICENSE"):
        assert re.search(rf"^COPY .*\b{re.escape(file)}\b", dockerfile, re.MULTILINE)
        assert f"!{file}" in ignored
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert re.search(r"^USER threadsync$", last_stage, re.MULTILINE)
