"""Settings: every fault is reported at once, and no secret is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from pydantic import ValidationError

from threadsync.config import Settings, get_settings, load_settings
from threadsync.errors import InvalidSettings

SECRET: Final = "topsecret"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return the monkeypatch; `tests/conftest.py` has emptied the environment."""
    return monkeypatch


def set_all(environment: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


def faults(refusal: pytest.ExceptionInfo[InvalidSettings]) -> list[str]:
    """Return the names that the lines of the report begin with."""
    return [line.split(":")[0].removeprefix("  - ") for line in str(refusal.value).splitlines()[1:]]


def test_nothing_is_needed_to_load() -> None:
    """Settings load without any variable, with their defaults."""
    settings = load_settings()
    assert (settings.broker_url, settings.result_backend_url, settings.database_url) == (None, None, None)
    assert (settings.log_level, settings.log_format, settings.max_deliveries) == ("INFO", "text", 5)
    assert settings.database_prepared_statements is True


def test_all_faults_are_reported_at_once(environment: pytest.MonkeyPatch) -> None:
    """All faults are reported at once: wrong values, unreadable files and contradictions."""
    set_all(
        environment,
        DATABASE_URL=f"mysql://u:{SECRET}@h/d",
        CELERY_BROKER_URL=f"amqp://u:{SECRET}@h//",
        REDIS_URL=SECRET,
        SLACK_BOT_TOKEN_FILE="/does/not/exist",
        MAX_DELIVERIES=SECRET,
        SESSION_WAIT_SECONDS="-1",
        LOG_LEVEL=SECRET,
        LOG_FORMAT="xml",
        DATABASE_PREPARED_STATEMENTS="perhaps",
    )
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    assert set(faults(refusal)) == {
        "DATABASE_URL",
        "CELERY_RESULT_BACKEND",
        "REDIS_URL",
        "SLACK_BOT_TOKEN_FILE",
        "MAX_DELIVERIES",
        "SESSION_WAIT_SECONDS",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "DATABASE_PREPARED_STATEMENTS",
    }
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_no_secret_is_printed(environment: pytest.MonkeyPatch) -> None:
    """No secret is in the settings' text or in pydantic's own error."""
    set_all(
        environment,
        DATABASE_URL=f"postgresql://u:{SECRET}@h/d",
        REDIS_URL=f"redis://:{SECRET}@h/0",
        CELERY_RESULT_BACKEND=f"redis://:{SECRET}@h/1",
        SLACK_SIGNING_SECRET=SECRET,
        SLACK_BOT_TOKEN=SECRET,
        SLACK_APP_TOKEN=SECRET,
    )
    settings = load_settings()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    environment.setenv("DATABASE_URL", f"mysql://u:{SECRET}@h/d")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert SECRET not in str(refusal.value)


def test_a_secret_comes_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret is read from the path in `NAME_FILE`, without the blank space around it."""
    file = tmp_path / "token"
    file.write_text("xoxb-1\n")
    environment.setenv("SLACK_BOT_TOKEN_FILE", str(file))
    token = load_settings().slack_bot_token
    assert token is not None
    assert token.get_secret_value() == "xoxb-1"


def test_the_variable_itself_goes_first(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable goes before its file unless it is empty, as compose files hand over unset ones."""
    file = tmp_path / "level"
    file.write_text("DEBUG")
    set_all(environment, LOG_LEVEL="ERROR", LOG_LEVEL_FILE=str(file))
    assert load_settings().log_level == "ERROR"
    environment.setenv("LOG_LEVEL", "")
    assert load_settings().log_level == "DEBUG"


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_an_unreadable_file_is_a_fault(
    environment: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    """An unreadable file is a fault that names the path, not an unset setting."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    environment.setenv("SLACK_SIGNING_SECRET_FILE", str(file))
    with pytest.raises(InvalidSettings, match=f"SLACK_SIGNING_SECRET_FILE: cannot read {file}: "):
        load_settings()


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_is_unset(environment: pytest.MonkeyPatch, blank: str) -> None:
    """A blank value means that the setting is unset, for every setting."""
    for name in Settings.model_fields:
        environment.setenv(name.upper(), blank)
    assert load_settings() == Settings.model_construct(**Settings().model_dump())
    assert load_settings().broker_url is None


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("valkey://h:1/2", "redis://h:1/2"),
        ("valkeys://:p@h", "rediss://:p@h"),
        ("valkey+socket:///run/v.sock", "redis+socket:///run/v.sock"),
        ("redis://h", "redis://h"),
        ("rediss://h", "rediss://h"),
        ("sentinel://a;sentinel://b:1", "sentinel://a:26379;sentinel://b:1"),
        ("valkey://:valkey@valkey/0", "redis://:valkey@valkey/0"),
        (" redis://h\n", "redis://h"),
    ],
)
def test_valkey_is_rewritten(environment: pytest.MonkeyPatch, given: str, understood: str) -> None:
    """A `valkey://` address, which kombu does not know, is rewritten for broker and results."""
    environment.setenv("CELERY_BROKER_URL", given)
    settings = load_settings()
    assert (settings.broker_url, settings.result_backend_url) == (understood, understood)
    assert settings.broker_is_redis


def test_redis_url_stands_in_for_the_broker(environment: pytest.MonkeyPatch) -> None:
    """`REDIS_URL`, the name on hosting platforms, stands in for an unset `CELERY_BROKER_URL`."""
    environment.setenv("REDIS_URL", "redis://one")
    assert load_settings().broker_url == "redis://one"
    environment.setenv("CELERY_BROKER_URL", "redis://two")
    assert load_settings().broker_url == "redis://two"


def test_rabbitmq_needs_a_place_for_results(environment: pytest.MonkeyPatch) -> None:
    """RabbitMQ needs a Valkey or Redis for results, where clients can look them up."""
    environment.setenv("CELERY_BROKER_URL", "amqp://guest:guest@h//")
    with pytest.raises(InvalidSettings, match="CELERY_RESULT_BACKEND: must be set, because a amqp:// broker"):
        load_settings()
    environment.setenv("CELERY_RESULT_BACKEND", "valkey://h/1")
    settings = load_settings()
    assert settings.result_backend_url == "redis://h/1"
    assert not settings.broker_is_redis
    for nowhere in ("rpc://", "amqp://guest:guest@h//"):
        environment.setenv("CELERY_RESULT_BACKEND", nowhere)
        with pytest.raises(InvalidSettings, match="name a Valkey or Redis, where it can be looked up"):
            load_settings()


def test_each_url_of_a_list_is_rewritten(environment: pytest.MonkeyPatch) -> None:
    """Each URL of a list is rewritten, and a list of brokers needs a separate place for results."""
    environment.setenv("CELERY_BROKER_URL", "valkeys://:p@a:1/0;valkeys://:p@b:2/0")
    with pytest.raises(
        InvalidSettings, match="CELERY_RESULT_BACKEND: must be set, because results are kept in one"
    ):
        load_settings()
    environment.setenv("CELERY_RESULT_BACKEND", "valkey://a:1/1")
    settings = load_settings()
    assert settings.broker_url == "rediss://:p@a:1/0;rediss://:p@b:2/0"
    assert settings.broker_is_redis


def test_what_is_given_goes_first(environment: pytest.MonkeyPatch) -> None:
    """A value that is given in code goes before the environment."""
    environment.setenv("CELERY_BROKER_URL", "redis://environment")
    assert load_settings(celery_broker_url="valkey://given").broker_url == "redis://given"


def test_require_names_all_that_is_missing() -> None:
    """`require` names every missing setting, in the spelling of the environment."""
    with pytest.raises(InvalidSettings) as refusal:
        load_settings().require("database_url", "celery_broker_url", "slack_bot_token", "log_level")
    assert str(refusal.value).count("is not set") == 3
    assert "CELERY_BROKER_URL (or REDIS_URL): is not set" in str(refusal.value)


def test_log_level_in_any_case(environment: pytest.MonkeyPatch) -> None:
    """The log level may be written in any case."""
    environment.setenv("LOG_LEVEL", "debug")
    assert load_settings().log_level == "DEBUG"


def test_a_process_reads_them_once(environment: pytest.MonkeyPatch) -> None:
    """A process reads its settings once, and does not remember faulty ones."""
    environment.setenv("LOG_LEVEL", "loud")
    with pytest.raises(InvalidSettings):
        get_settings()
    environment.setenv("LOG_LEVEL", "ERROR")
    assert get_settings().log_level == "ERROR"
    environment.setenv("LOG_LEVEL", "DEBUG")
    assert get_settings().log_level == "ERROR"


def test_every_setting_is_described() -> None:
    """Every setting has a description, from which its table in the documents is made."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("given", "options"),
    [('{"global_keyprefix": "ts:"}', {"global_keyprefix": "ts:"}), ("", {}), ("  ", {})],
)
def test_transport_options_are_json(
    monkeypatch: pytest.MonkeyPatch, given: str, options: dict[str, str]
) -> None:
    """Transport options are a JSON object, and blank means none."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", given)
    assert load_settings().celery_broker_transport_options == options


@pytest.mark.parametrize("given", ["[1]", "{bad", "5", "ts:"])
def test_transport_options_that_are_no_object_are_named(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Transport options that are no object are refused by the variable's name."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", given)
    with pytest.raises(InvalidSettings, match="CELERY_BROKER_TRANSPORT_OPTIONS"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.atlassian.net", "https://example.atlassian.net"),
        ("https://example.atlassian.net/", "https://example.atlassian.net"),
        (" HTTPS://Example.Atlassian.net:443/ ", "https://example.atlassian.net"),
        ("https://jira.example.com//jira/", "https://jira.example.com/jira"),
        ("https://jira.bücher.example/", "https://jira.xn--bcher-kva.example"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_a_jira_has_one_address(environment: pytest.MonkeyPatch, url: str, canonical: str) -> None:
    """Every spelling of a Jira's address leads to one canonical address."""
    set_all(environment, JIRA_URL=url)
    assert load_settings().jira_url == canonical


@pytest.mark.parametrize(
    "values",
    [
        {"JIRA_URL": "example.atlassian.net"},
        {"JIRA_URL": "https://exa mple.net"},
        {"JIRA_URL": "https://example.net:99999"},
        {"JIRA_URL": "https://[::1"},
        {"JIRA_URL": "https://me:secret@example.net"},
        {"JIRA_URL": "https://example.net/?a=b"},
        {"JIRA_URL": "ftp://example.net"},
        {"JIRA_PROJECT_KEY": "10000"},
        {"JIRA_PROJECT_KEY": "PROJ-1"},
        {"JIRA_ISSUE_TYPE": "x" * 256},
        {"JIRA_SETTLE_SECONDS": "nan"},
        {"JIRA_SETTLE_SECONDS": "inf"},
        {"JIRA_TIMEOUT_SECONDS": "1e300"},
        {"JIRA_CREATES_AT_ONCE": "9" * 5_000},
        {"RESULT_TTL_SECONDS": "9" * 30},
    ],
    ids=lambda values: str(values)[:60],
)
def test_what_makes_no_sense_is_reported_by_name(
    environment: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    """A senseless value is reported by its name when the settings load."""
    set_all(environment, **values)
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    assert faults(refusal) == list(values)


def test_a_projects_key_may_be_in_lower_case(environment: pytest.MonkeyPatch) -> None:
    """A project's key in lower case is converted to upper case."""
    set_all(environment, JIRA_PROJECT_KEY=" proj ")
    assert load_settings().jira_project_key == "PROJ"


@pytest.mark.parametrize(
    "url",
    [
        "http://jira.example.com",
        "HTTP://jira.example.com/jira",
        "http://10.0.0.1:8080",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://[::2]:8080",
    ],
)
def test_a_token_does_not_travel_in_the_clear(environment: pytest.MonkeyPatch, url: str) -> None:
    """A Jira without TLS is refused unless JIRA_ALLOW_HTTP is true."""
    set_all(environment, JIRA_URL=url)
    with pytest.raises(InvalidSettings, match=r"JIRA_URL: http://.*JIRA_ALLOW_HTTP=true"):
        load_settings()
    set_all(environment, JIRA_ALLOW_HTTP="true")
    assert (load_settings().jira_url or "").startswith("http://")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_a_jira_of_this_machine_needs_no_tls(environment: pytest.MonkeyPatch, url: str) -> None:
    """A Jira on this machine, such as the demo's, needs no TLS."""
    set_all(environment, JIRA_URL=url, JIRA_ALLOW_HTTP="false")
    assert load_settings().jira_url == url
