"""Settings, read from the environment here and nowhere else."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from threadsync.address import AMQP, REDIS, read_broker, read_results
from threadsync.dsn import read_database
from threadsync.errors import InvalidSettings
from threadsync.hosts import read_host
from threadsync.jira_login import GATEWAY, TOKEN_URL, LoginSettings, faults_of, missing_secrets, read_cloud_id
from threadsync.marker import canonical

_OF_KUBERNETES: Final = re.compile(r"(tcp|udp|sctp)://")
"""The value that Kubernetes gives NAME_PORT in pods beside a service called `name`; not meant for us."""

_OF_APP_TOKEN: Final = re.compile(r"xapp-[0-9]+-(A[A-Z0-9]{2,63})-", re.ASCII)

_Days = Annotated[int, Field(ge=1, le=36_500)] | None
_Role = Literal["sessions", "syncs", "lookups", "beat", "web", "flower", "metrics", "migrate"]


@dataclass(frozen=True)
class _Unreadable:
    """A stand-in for the value of an unreadable file, so that the fault is reported with the others."""

    fault: str


class _FileSecrets(PydanticBaseSettingsSource):
    """Read ``NAME`` from the file that ``NAME_FILE`` names, as container platforms hand over secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        return (_read(variable, path) if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def _read(variable: str, path: str) -> str | _Unreadable:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        return _Unreadable(f"{variable}: cannot read {path}: {exc.strerror}")
    except UnicodeDecodeError:
        return _Unreadable(f"{variable}: cannot read {path}: it is not UTF-8 text")


LOCAL_TOKEN: Final = "xoxb-local"  # noqa: S105 - no token, and says so
"""The ``SLACK_BOT_TOKEN`` that ``threadsync up`` sets where there is none."""


class Settings(BaseSettings):
    """Settings of every process. Each name may also be given as ``NAME_FILE``, a path to read it from."""

    model_config = SettingsConfigDict(
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,  # compose files hand over `NAME=` for what is not set
        hide_input_in_errors=True,  # values are secrets
    )

    database_url: SecretStr | None = Field(None, description="Postgres 18 or newer: `postgresql://…`")
    database_prepared_statements: bool = Field(
        True, description="`false` behind PgBouncer in transaction mode: no server-side prepares"
    )
    celery_broker_url: SecretStr | None = Field(
        None, description="Valkey or Redis (`valkey://`, `redis://`, `rediss://`, `sentinel://`) or RabbitMQ"
    )
    celery_broker_transport_options: Annotated[dict[str, Any], NoDecode] = Field(
        {},
        description='JSON, for Valkey and Redis, used for results too: `{"global_keyprefix": "ts:"}`; '
        '`{"master_name": "main"}` with `sentinel://`',
    )
    broker_wait_replicas: int = Field(
        0,
        ge=0,
        le=100,
        description="how many replicas of Valkey or Redis must have a message before it counts as sent",
    )
    installation_id: UUID | None = Field(
        None,
        description="what `threadsync installation show` says: clients and beat then refuse the broker of "
        "another installation, and workers the database of another",
    )
    redis_url: SecretStr | None = Field(None, description="used when `CELERY_BROKER_URL` is not set")
    celery_result_backend: SecretStr | None = Field(
        None,
        validate_default=True,
        description="where results are kept; the broker, if that is Valkey or Redis",
    )
    result_ttl_seconds: int = Field(
        3600, ge=60, le=31_536_000, description="how long a result can be fetched, in seconds"
    )
    session_wait_seconds: float = Field(
        30,
        ge=0,
        le=3600,
        description="how long a command waits for its session before `SessionNotFound`, in seconds",
    )
    max_deliveries: int = Field(
        5,
        ge=1,
        le=100,
        description="how often a command may end its worker before it is parked as a dead letter",
    )
    fast_lane: bool = Field(
        True,
        description="`false`: each plain command takes Celery's whole road, which is slower; with Valkey and "
        "Redis, where results are kept there too",
    )
    remote_control_changes: bool = Field(
        False,
        description="`true`: Celery's remote control may also change a worker (`terminate`, pool, rates, "
        "limits, queues, `shutdown`), not only ask and revoke",
    )
    slack_signing_secret: SecretStr | None = Field(None, description="verifies that a request is Slack's")
    slack_bot_token: SecretStr | None = Field(None, description="`xoxb-…`, for replies in the thread")
    slack_app_token: SecretStr | None = Field(
        None, description="`xapp-…`: Socket Mode instead of an HTTP endpoint"
    )
    slack_team_id: str | None = Field(
        None,
        pattern=r"^[TE][A-Z0-9_]{1,63}$",
        description="the one workspace that is served (`T…`); unset: the one that Slack says the token is of",
    )
    slack_app_id: str | None = Field(
        None,
        pattern=r"^A[A-Z0-9_]{1,63}$",
        description="the one app that is served (`A…`); unset: of `SLACK_APP_TOKEN`, or as Slack says",
    )
    who_may_act: Literal["workspace", "everyone"] = Field(
        "workspace",
        description="`workspace`: its members, but no guests and no people of partners; or `everyone`",
    )
    slack_silence_seconds: float = Field(
        120,
        ge=5,
        le=86_400,
        description="Socket Mode: seconds of Slack's silence after which the process ends, to be restarted",
    )
    slack_api_url: str = Field("https://slack.com/api/", description="Slack's Web API; a sandbox in tests")
    jira_url: str | None = Field(
        None, description="such as `https://example.atlassian.net`; without one no tickets are made"
    )
    jira_allow_http: bool = Field(
        False,
        description="`true`: Jira's addresses may be `http://` elsewhere than on this machine, and show the "
        "token",
    )
    jira_deployment: Literal["cloud", "datacenter"] = Field(
        "cloud", description="`cloud` (REST v3) or `datacenter` (REST v2)"
    )
    jira_email: str | None = Field(
        None, description="the account's; a Data Center access token goes without one"
    )
    jira_api_token: SecretStr | None = Field(None, description="the account's API token")
    jira_cloud_id: str | None = Field(
        None,
        description="the site's id, for a scoped token or OAuth, whose requests go to the gateway; `auto`: "
        "the site is asked for it",
    )
    jira_api_gateway: str = Field(GATEWAY, description="Atlassian's gateway; a sandbox in tests")
    jira_oauth_client_id: str | None = Field(
        None, description="of OAuth 2 client credentials, in place of e-mail and token"
    )
    jira_oauth_client_secret: SecretStr | None = Field(None, description="the secret of that client")
    jira_oauth_token_url: str = Field(
        TOKEN_URL, validate_default=True, description="where access tokens are had for it"
    )
    jira_token_expires: date | None = Field(
        None,
        description="the day on which the token or the client secret ends, such as `2027-03-31`: doctor and "
        "alerts warn before",
    )
    jira_project_key: str | None = Field(
        None, pattern=r"^[A-Z][A-Z0-9_]{0,49}$", description="of tickets whose draft names none"
    )
    jira_issue_type: str = Field(
        "Task", max_length=255, description="of tickets whose draft names none: its name, or its id in digits"
    )
    jira_reporter: Literal["account", "requester"] = Field(
        "account",
        description="the reporter of tickets: `account`, that of the login, or `requester`, the person who "
        "asked",
    )
    jira_settle_seconds: float = Field(
        600,
        ge=1,
        le=86_400,
        description="how long a ticket that Jira gave no answer about may take to come to light, in seconds",
    )
    jira_timeout_seconds: float = Field(10, ge=1, le=60, description="for one call to Jira, in seconds")
    jira_creates_at_once: int = Field(
        1, ge=1, le=20, description="how many tickets of a project may be in creation at once"
    )
    retention_drafts_days: _Days = Field(
        None,
        description="days after which a draft goes whose ticket is made or has failed; unset: it is kept",
    )
    retention_letters_days: _Days = Field(
        None, description="days after which a dead letter goes, also an open one; unset: it is kept"
    )
    retention_sessions_days: _Days = Field(
        None, description="days after its last change after which a thread is forgotten; unset: it is kept"
    )
    threadsync_console_password: SecretStr | None = Field(
        None, description="for `/console/` at the Slack endpoint's address; without one there is no console"
    )
    public_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="names under which `/console/` is reached, such as `threadsync.example.com`, by commas; "
        "loopback's always are",
    )
    threadsync_start_page: Path | None = Field(
        None, description="a file with HTML for `/`, such as the one that `threadsync up` writes"
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65_535, description="where a worker shows its counters to Prometheus; unset: nowhere"
    )
    metrics_host: str = Field(
        "127.0.0.1", description="the address of `METRICS_PORT` and of `threadsync metrics`"
    )
    otel_traces_exporter: Literal["none", "otlp", "console"] = Field(
        "none",
        description="`otlp` sends traces where `OTEL_EXPORTER_OTLP_ENDPOINT` says; needs `threadsync[otel]`",
    )
    threadsync_role: _Role | None = Field(
        None,
        description="which process has these settings, where each has only its own: what `threadsync doctor` "
        "looks at; unset: all of it",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least severe level logged"
    )
    log_format: Literal["text", "json"] = Field("text", description="`text` for people, `json` for machines")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FileSecrets(settings_cls)

    @field_validator("celery_broker_transport_options", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as exc:
            raise ValueError(f"it is no JSON: {exc}") from exc

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, _Unreadable):
            raise ValueError(value.fault)  # noqa: TRY004 - pydantic reports a ValueError as a fault
        if isinstance(value, str):
            if str(info.field_name).endswith("_port") and _OF_KUBERNETES.match(value):
                value = ""
            return value.strip() or cls.model_fields[str(info.field_name)].get_default()
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        return SecretStr(read_database(value.get_secret_value())) if value else None

    @field_validator("jira_cloud_id")
    @classmethod
    def _is_a_cloud_id(cls, value: str | None) -> str | None:
        return value and read_cloud_id(value)

    @field_validator("jira_url", "jira_api_gateway", "jira_oauth_token_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://none")
        except ValueError:
            raise ValueError("must be a URL, such as https://example.atlassian.net") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be a URL, such as https://example.atlassian.net")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must be an address alone; credentials have settings of their own")
        try:
            return value and canonical(value)
        except ValueError:
            raise ValueError("must be a URL, such as https://example.atlassian.net") from None

    @field_validator("jira_oauth_token_url")
    @classmethod
    def _login_is_one(cls, value: str, info: ValidationInfo) -> str:
        """Judge the login at its last setting, so that its faults are reported beside all others."""
        given = _login_in({**info.data, "jira_oauth_token_url": value})
        if given and (faults := faults_of(given)):
            raise ValueError("\n".join(faults))
        return value

    @field_validator("public_hosts", mode="before")
    @classmethod
    def _are_hosts(cls, value: Any) -> Any:
        hosts = value.split(",") if isinstance(value, str) else value or ()
        names = tuple(host.strip() for host in hosts if host.strip())
        for name in names:
            try:
                read_host(name)
            except ValueError as exc:
                raise ValueError(f"{exc}; write names alone, such as threadsync.example.com") from None
        return names

    @field_validator("jira_project_key", mode="before")
    @classmethod
    def _is_a_key(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().isdigit():
            raise ValueError("must be the project's key, such as PROJ, and not its id")
        return value.upper() if isinstance(value, str) else value

    @field_validator("celery_broker_url", "redis_url", "celery_result_backend")
    @classmethod
    def _as_kombu_spells_it(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Encode everything, and write ``redis://`` for ``valkey://``, which kombu 5.7 does not know."""
        if value is None:
            return None
        read = read_results if info.field_name == "celery_result_backend" else read_broker
        address = read(value.get_secret_value())
        if address.tls:
            _refuse_unreadable(address.tls.files)
        return SecretStr(address.text)

    @field_validator("celery_result_backend")
    @classmethod
    def _results_have_a_home(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        broker = info.data.get("celery_broker_url") or info.data.get("redis_url")
        if broker and not value and _scheme(broker) not in REDIS:
            raise ValueError(f"must be set, because a {_scheme(broker)}:// broker keeps no results")
        if broker and not value and _scheme(broker) != "sentinel" and ";" in broker.get_secret_value():
            raise ValueError("must be set, because results are kept in one place, not in a list of brokers")
        if value and _scheme(value) in REDIS - {"sentinel"} and ";" in value.get_secret_value():
            raise ValueError("must be one address, because results are kept in one place")
        if value and _scheme(value) in {"rpc", *AMQP}:
            raise ValueError(
                f"{_scheme(value)}:// sends a result to a connection of its asker, which may have gone; "
                "name a Valkey or Redis, where it can be looked up"
            )
        return value

    @model_validator(mode="after")
    def _replicas_are_of_redis(self) -> Settings:
        if self.broker_wait_replicas and self.broker_url and not self.broker_is_redis:
            raise ValueError(
                "BROKER_WAIT_REPLICAS is of Valkey and Redis alone; take it out: on RabbitMQ each message is "
                "confirmed, by all of a quorum queue's replicas that count"
            )
        return self

    @property
    def is_in_slack(self) -> bool:
        """True with a real token to post with; ``threadsync up`` sets a placeholder."""
        return self.slack_bot_token is not None and self.slack_bot_token.get_secret_value() != LOCAL_TOKEN

    @property
    def app_of_token(self) -> str | None:
        """The id of the Slack app in the app-level token."""
        token = self.slack_app_token.get_secret_value() if self.slack_app_token else ""
        found = _OF_APP_TOKEN.match(token)
        return found[1] if found else None

    @property
    def broker_url(self) -> str | None:
        """The broker's URL as kombu spells it: ``CELERY_BROKER_URL``, else ``REDIS_URL``."""
        url = self.celery_broker_url or self.redis_url
        return url.get_secret_value() if url else None

    @property
    def broker_is_redis(self) -> bool:
        """True for Valkey and Redis, which share kombu's Redis transport."""
        return (self.broker_url or "").partition("://")[0] in REDIS

    @property
    def result_backend_url(self) -> str | None:
        """The URL of the result backend."""
        if self.celery_result_backend:
            return self.celery_result_backend.get_secret_value()
        return self.broker_url

    @property
    def jira_login(self) -> LoginSettings:
        """The settings by which we log in to Jira, without its secrets."""
        given = _login_in({name: getattr(self, name) for name in _OF_THE_LOGIN})
        assert given is not None  # noqa: S101 - all of them are there
        return given

    def require_jira_login(self) -> None:
        """Raise ``InvalidSettings`` if half a login is set: for the processes that call Jira."""
        if faults := missing_secrets(self.jira_login):
            raise InvalidSettings(_report(faults))

    def require(self, *names: str) -> None:
        """Raise ``InvalidSettings`` that names every missing setting of ``names``."""
        missing = [_as_variable(name) for name in names if not getattr(self, name)]
        if missing:
            raise InvalidSettings(_report(f"{variable}: is not set" for variable in missing))


def load_settings(**given: Any) -> Settings:
    """Read the environment now; ``given`` values take precedence.

    Raises ``InvalidSettings`` with every fault, and no secret's value.
    """
    try:
        return Settings(**given)
    except ValidationError as exc:
        errors = exc.errors(include_input=False, include_url=False)
        faults = [fault for error in errors for fault in _as_faults(error)]
        # Not `from exc`: nothing that has seen the values goes on.
        raise InvalidSettings(_report(faults)) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read once."""
    return load_settings()


def _refuse_unreadable(files: Mapping[str, str]) -> None:
    """Name an unreadable file now; a connection would only say "Error 2 connecting to …" at each try."""
    for parameter, path in files.items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as exc:
            raise ValueError(f"{parameter}: cannot read {path}: {exc.strerror}") from None


def _scheme(url: SecretStr) -> str:
    return url.get_secret_value().partition("://")[0]


def _as_variable(name: str) -> str:
    return "CELERY_BROKER_URL (or REDIS_URL)" if name in {"celery_broker_url", "broker_url"} else name.upper()


_OF_THE_LOGIN: Final = (
    *("jira_url", "jira_deployment", "jira_email", "jira_api_token", "jira_cloud_id", "jira_api_gateway"),
    *("jira_oauth_client_id", "jira_oauth_client_secret", "jira_oauth_token_url", "jira_allow_http"),
)


def _login_in(values: Mapping[str, Any]) -> LoginSettings | None:
    """Read the login; None if one of its settings is missing, because it has a fault of its own."""
    if any(name not in values for name in _OF_THE_LOGIN):
        return None
    return LoginSettings(
        url=values["jira_url"],
        deployment=values["jira_deployment"],
        email=bool(values["jira_email"]),
        api_token=bool(values["jira_api_token"]),
        cloud_id=values["jira_cloud_id"],
        client_id=bool(values["jira_oauth_client_id"]),
        client_secret=bool(values["jira_oauth_client_secret"]),
        gateway=values["jira_api_gateway"],
        token_url=values["jira_oauth_token_url"],
        allow_http=values["jira_allow_http"],
    )


def _as_faults(error: ErrorDetails) -> list[str]:
    """Return the faults of an error; one may name several, each with its variable."""
    message = error["msg"].removeprefix("Value error, ")
    variable = str(error["loc"][0]).upper() if error["loc"] else ""
    lines = message.splitlines()
    if not variable or (variable == "JIRA_OAUTH_TOKEN_URL" and message.startswith("JIRA_")):
        return lines
    return [message if message.startswith(f"{variable}_FILE") else f"{variable}: {message}"]


def _report(faults: Iterable[str]) -> str:
    return "the settings are not usable:\n" + "\n".join(f"  - {fault}" for fault in faults)
