"""docker-compose.yml without Docker: a valid Compose file whose services are confined."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter
from typing import Any, Final

import jsonschema
import pytest

from tests.support.compose import OURS, VARIABLE, compose_file, environment, mounted, ours, secret_files
from tests.support.documents import ROOT, read
from worker.doctor.roles import broker_user
from worker.operate.rights.environment import SECRETS

COMPOSE: Final = compose_file()
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
ONE_SHOT: Final = {"migrate"}
LOGINS: Final = {
    **dict.fromkeys(("sessions", "syncs", "lookups"), "database_url"),
    "web": "console_database_url",
    "metrics": "reader_database_url",
}
"""The secret that a process sees as ``database_url``, by its role."""

every_service = pytest.mark.parametrize("name", SERVICES)
every_daemon = pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))


def test_it_is_a_compose_file() -> None:
    """The file satisfies the schema of the Compose specification (its origin: `tests/data/README.md`)."""
    # The schema names draft 7 in a spelling that jsonschema does not know.
    validator = jsonschema.Draft7Validator(json.loads(read("tests/data/compose-spec.json")))
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert not validator.is_valid({"services": {"a": {"imagee": "b"}}})


def test_every_variable_has_a_value() -> None:
    """Every variable has a default or refuses the start, because Compose would fill in an empty text."""
    found = VARIABLE.findall(read("docker-compose.yml"))
    assert found
    assert [name for name, how, _ in found if how not in ("-", "?")] == []


@every_service
def test_it_may_do_little(name: str) -> None:
    """No service has root, capabilities, setuid or a writable root file system."""
    service = SERVICES[name]
    assert str(service["user"]).partition(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert any(mount.partition(":")[0] == "/tmp" for mount in service["tmpfs"])
    assert not service.get("privileged")
    assert "docker.sock" not in json.dumps(service)


@every_daemon
def test_it_comes_back_and_goes_in_good_order(name: str) -> None:
    """Every daemon restarts, has time to stop, and has a health check and bounded logs."""
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["logging"]["options"]["max-size"]


def test_what_ends_is_not_started_again() -> None:
    """Only the services that end by themselves are not started again."""
    assert {name for name in SERVICES if SERVICES[name]["restart"] == "no"} == ONE_SHOT


@every_service
def test_secrets_are_files(name: str) -> None:
    """Every mounted secret is used by the name of its file, and no other secret is named."""
    service = SERVICES[name]
    mounts, used = set(mounted(service).values()), set(secret_files(service).values())
    if name == "valkey":
        # Its configuration includes the files.
        included = {"valkey_auth", "valkey_users"}
        lines = read("deploy/valkey.conf").splitlines()
        assert all(f"include /run/secrets/{file}" in lines for file in included)
        used |= included
    if name == "postgres":
        # The script reads them when it fills the volume.
        script = read("deploy/postgres/10-logins.sh")
        logins = {
            "postgres_worker_password",
            "postgres_console_password",
            "postgres_reader_password",
        }
        assert all(f"$(secret {login})" in script for login in logins)
        used |= logins
    assert mounts == used
    assert mounts <= set(COMPOSE["secrets"])
    assert all(variable.endswith("_FILE") for variable in secret_files(service))
    words = ("PASSWORD", "TOKEN", "SECRET", "AUTH", "DATABASE_URL", "BROKER_URL")
    told = {variable for variable in environment(service) if any(word in variable for word in words)}
    # A day, a name and an address, and no secrets.
    told -= {"JIRA_TOKEN_EXPIRES", "JIRA_OAUTH_CLIENT_ID", "JIRA_OAUTH_TOKEN_URL"}
    assert all(variable.endswith("_FILE") for variable in told)


def test_each_secret_is_somebodys() -> None:
    """Every secret is mounted by some service, and no service of ours has the servers' own."""
    mounts = {secret for service in SERVICES.values() for secret in mounted(service).values()}
    assert mounts == set(COMPOSE["secrets"])
    own = {"postgres_password", "valkey_auth", "valkey_users"}
    assert not any(own & set(mounted(service).values()) for service in ours(COMPOSE).values())


def test_each_process_has_the_secrets_of_its_table() -> None:
    """Each process has the secrets of its role only, and its own logins for broker and database."""
    for service in ours(COMPOSE).values():
        role: Any = environment(service)["THREADSYNC_ROLE"]
        secrets = {name.removesuffix("_FILE") for name in secret_files(service)}
        assert secrets - {"FLOWER_BASIC_AUTH"} <= SECRETS[role], role
        assert not secrets & {"FLOWER_BASIC_AUTH"} or role == "flower"
        user = broker_user(role)
        broker, database = (mounted(service).get(target) for target in ("broker_url", "database_url"))
        assert broker == (f"{user}_broker_url" if user else None)
        assert database == LOGINS.get(role)


@every_service
def test_nothing_listens_to_the_world(name: str) -> None:
    """Published ports are on loopback, and the servers have no port and no way out."""
    service = SERVICES[name]
    ports = service.get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "network_mode" not in service
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert COMPOSE["networks"]["back"] == {"internal": True}
    # A port is published on a network that is not internal only.
    assert not ports or "front" in service["networks"]
    if name in ("postgres", "valkey"):
        assert (ports, service["networks"]) == ([], ["back"])


def test_ports_are_not_taken_twice() -> None:
    """No port of the host is published twice."""
    ports = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))


def test_they_start_in_an_order() -> None:
    """The order of starts has no cycle, and every condition on a service can be fulfilled."""
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert set(TopologicalSorter(needs).static_order()) == set(SERVICES)
    for wants in needs.values():
        for name, how in wants.items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            if how["condition"] == "service_completed_successfully":
                assert name in ONE_SHOT


def test_a_profile_is_needed_by_no_one_outside() -> None:
    """No service without a profile needs one with a profile."""
    profiles = {name: set(service.get("profiles", [])) for name, service in SERVICES.items()}
    assert {name for name in SERVICES if profiles[name]} == {"metrics", "prometheus", "grafana"}
    for name, service in SERVICES.items():
        assert all(profiles[needed] <= profiles[name] for needed in service.get("depends_on", {}))


def test_images_have_a_version() -> None:
    """Every image has at least a major version, because `latest` would migrate unasked."""
    for service in SERVICES.values():
        name, _, tag = service["image"].partition(":")
        assert tag.removeprefix("v")[:1].isdigit(), name
    assert {service["image"] for service in ours(COMPOSE).values()} == {OURS}


def test_mounts_are_declared() -> None:
    """Each mounted volume is declared, and each mounted folder of the host exists."""
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert volume.endswith(":ro")
                assert (ROOT / source).is_dir()
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_data_outlives_its_container() -> None:
    """The data of Postgres (since 18 one folder higher) and of Valkey lie in named volumes."""
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]
    [config] = SERVICES["valkey"]["configs"]
    assert config["target"] == SERVICES["valkey"]["command"][1]
    # Compose copies a `content` into the container, which fails on a read-only file system.
    assert all("file" in config for config in COMPOSE["configs"].values())
