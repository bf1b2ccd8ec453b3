"""The environment of each process: its own secrets, and no others."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from threadsync.config import Settings
from worker.operate.rights.environment import (
    PROCESSES,
    SECRETS,
    Process,
    environment_of,
    environment_of_a_server,
    spelt,
)

SETTINGS = frozenset(name.upper() for name in Settings.model_fields)
SECRET_SETTINGS = {
    name.upper()
    for name, field in Settings.model_fields.items()
    if SecretStr.__name__ in str(field.annotation)
}
OTHERS = {
    "AWS_SECRET_ACCESS_KEY": "x",
    "GITHUB_TOKEN": "x",
    "POSTGRES_PASSWORD": "x",
    "GF_SECURITY_ADMIN_PASSWORD": "x",
    "SSH_AUTH_SOCK": "x",
    "MY_SLACK_BOT_TOKEN": "x",
}
GIVEN = {
    **dict.fromkeys(SETTINGS, "x"),
    **{f"{name}_FILE": "/x" for name in SECRET_SETTINGS},
    **OTHERS,
    "CELERY_BROKER_URL": "valkey://h/0",
    "PATH": "/bin",
    "HOME": "/home/x",
    "LC_ALL": "C",
    "https_proxy": "http://proxy",
    "OTEL_SERVICE_NAME": "x",
    "FLOWER_BASIC_AUTH": "x:y",
    "PGPASSWORD": "x",
}


def test_every_secret_is_some_processs() -> None:
    """Every setting that is a secret is listed for some process."""
    assert frozenset().union(*SECRETS.values()) == SECRET_SETTINGS


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_has_its_secrets_and_no_others(process: Process) -> None:
    got = environment_of(process, GIVEN, SETTINGS)
    secrets = {name.removesuffix("_FILE") for name in got if name.removesuffix("_FILE") in SECRET_SETTINGS}
    assert secrets == SECRETS[process]
    assert {name.removesuffix("_FILE") for name in got if name.endswith("_FILE")} - SETTINGS <= {"SSL_CERT"}
    assert not set(got) & set(OTHERS)
    assert set(got) >= {"PATH", "HOME", "LC_ALL", "OTEL_SERVICE_NAME"}
    assert ("https_proxy" in got) == bool({"SLACK_BOT_TOKEN", "JIRA_API_TOKEN"} & SECRETS[process])
    # Settings that are no secrets go to every process.
    assert set(got) >= SETTINGS - SECRET_SETTINGS
    assert ("FLOWER_BASIC_AUTH" in got) == (process == "flower")
    assert ("PGPASSWORD" in got) == ("DATABASE_URL" in SECRETS[process])


def test_jiras_token_is_with_those_who_ask_jira() -> None:
    """Chosen secrets are with the right processes, written here by hand to check the table itself."""
    having = {
        name: {process for process in PROCESSES if name in SECRETS[process]}
        for name in ("JIRA_API_TOKEN", "SLACK_SIGNING_SECRET", "THREADSYNC_CONSOLE_PASSWORD", "DATABASE_URL")
    }
    assert having["JIRA_API_TOKEN"] == {"syncs", "lookups"}
    assert having["SLACK_SIGNING_SECRET"] == having["THREADSYNC_CONSOLE_PASSWORD"] == {"web"}
    assert not having["DATABASE_URL"] & {"beat", "flower", "socket-mode"}


@pytest.mark.parametrize("broker", ["amqp://h", "pyamqp://h", "amqps://h", ""])
def test_beside_a_rabbitmq_all_must_name_where_results_are(broker: str) -> None:
    """A process that gets a broker also gets the place of results if the broker may be a RabbitMQ."""
    given = {**GIVEN, "CELERY_BROKER_URL": broker, "REDIS_URL": ""}
    for process in PROCESSES:
        got = environment_of(process, given, SETTINGS)
        assert ("CELERY_RESULT_BACKEND" in got) == ("CELERY_BROKER_URL" in got)


def test_what_a_collector_knows_us_by_is_with_those_who_send_it_traces() -> None:
    """Headers for traces and a proxy's password go only to the processes that use them."""
    given = {
        **GIVEN,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-key=secret",
    }
    for process in PROCESSES:
        got = environment_of(process, given, SETTINGS)
        for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "https_proxy"):
            assert (name in got) == (process not in ("beat", "flower", "metrics", "migrate")), (process, name)


def test_settings_in_small_letters_are_settings() -> None:
    """Settings in lower case are recognised, so their secrets go only to the processes that use them."""
    given = {
        "jira_api_token": "x",
        "Log_Level": "DEBUG",
        "DATABASE_URL": "a",
        "database_url": "b",
        "https_proxy": "p",
    }
    assert spelt(given, SETTINGS) == {
        "JIRA_API_TOKEN": "x",
        "LOG_LEVEL": "DEBUG",
        "DATABASE_URL": "a",
        "https_proxy": "p",
    }


def test_a_server_has_no_secrets() -> None:
    assert environment_of_a_server({**GIVEN, "TMPDIR": "/t"}) == {
        "PATH": "/bin",
        "HOME": "/home/x",
        "TMPDIR": "/t",
    }
