"""Settings: the only reader of the environment."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.errors import InvalidSettings

_REDIS_SCHEMES = {"redis", "rediss", "redis+socket", "sentinel"}
_VALKEY_TO_REDIS = {"valkey": "redis", "valkeys": "rediss", "valkey+socket": "redis+socket"}


class _FileSecrets(PydanticBaseSettingsSource):
    """``NAME_FILE`` gives the value of ``NAME``: how container platforms hand over secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
            raise InvalidSettings(f"{field_name.upper()}_FILE: cannot read {path}: {reason}") from exc

    def __call__(self) -> dict[str, Any]:
        values, faults = {}, []
        for name, field in self.settings_cls.model_fields.items():
            try:
                value, key, _ = self.get_field_value(field, name)
            except InvalidSettings as exc:
                faults.append(str(exc))
                continue
            if value is not None:
                values[key] = value
        if faults:
            values["file_faults"] = faults
        return values


class Settings(BaseSettings):
    """What the environment says. Every name may also be given as ``NAME_FILE``, a path to read it from."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, description="Postgres 18 or newer: `postgresql://…`")
    database_prepared_statements: bool = Field(
        True, description="`false` behind PgBouncer in transaction mode: no server-side prepares"
    )
    celery_broker_url: SecretStr | None = Field(
        None, description="Valkey or Redis (`valkey://`, `redis://`, `rediss://`, `sentinel://`) or RabbitMQ"
    )
    redis_url: SecretStr | None = Field(None, description="used when `CELERY_BROKER_URL` is not set")
    celery_result_backend: SecretStr | None = Field(
        None, description="where results are kept; the broker, if that is Valkey or Redis"
    )
    result_ttl_seconds: int = Field(3600, ge=60, description="how long a result can be fetched, in seconds")
    session_wait_seconds: float = Field(
        30, ge=0, le=3600, description="how long a command waits for its session before `SessionNotFound`, in seconds"
    )
    max_deliveries: int = Field(
        5, ge=1, le=100, description="how often a command may end its worker before it is parked as a dead letter"
    )
    slack_signing_secret: SecretStr | None = Field(None, description="verifies that a request is Slack's")
    slack_bot_token: SecretStr | None = Field(None, description="`xoxb-…`, for replies in the thread")
    slack_app_token: SecretStr | None = Field(None, description="`xapp-…`: Socket Mode instead of an HTTP endpoint")
    slack_api_url: str = Field("https://slack.com/api/", description="Slack's Web API; a sandbox in tests")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severe level logged")
    log_format: Literal["text", "json"] = Field("text", description="`text` for people, `json` for machines")
    file_faults: list[str] = Field(default_factory=list, exclude=True, repr=False)

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

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: Any) -> Any:
        """Compose files hand over ``NAME=`` for what is not set."""
        if isinstance(value, str) and not value.strip():
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("celery_broker_url", "redis_url", "celery_result_backend")
    @classmethod
    def _as_kombu_spells_it(cls, value: SecretStr | None) -> SecretStr | None:
        """kombu 5.7 has no ``valkey://``; the protocol is the same."""
        if value is None:
            return None
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator:
            raise ValueError("must be a URL, such as redis://127.0.0.1:6379/0")
        return SecretStr(f"{_VALKEY_TO_REDIS.get(scheme, scheme)}://{rest}")

    @model_validator(mode="after")
    def _results_have_a_home(self) -> Settings:
        if self.file_faults:
            raise ValueError("\n".join(self.file_faults))
        broker = self.celery_broker_url or self.redis_url
        if broker and not self.celery_result_backend:
            scheme = broker.get_secret_value().partition("://")[0]
            if scheme not in _REDIS_SCHEMES:
                raise ValueError(
                    f"CELERY_RESULT_BACKEND: must be set, because a {scheme}:// broker keeps no results"
                )
        return self

    @property
    def broker_url(self) -> str | None:
        """The broker as kombu spells it, ``CELERY_BROKER_URL`` before ``REDIS_URL``."""
        url = self.celery_broker_url or self.redis_url
        return url.get_secret_value() if url else None

    @property
    def broker_is_redis(self) -> bool:
        """Whether kombu's Redis transport (Valkey's too) carries the messages."""
        return (self.broker_url or "").partition("://")[0] in _REDIS_SCHEMES

    @property
    def result_backend_url(self) -> str | None:
        """Where results are kept."""
        if self.celery_result_backend:
            return self.celery_result_backend.get_secret_value()
        return self.broker_url

    def require(self, *names: str) -> None:
        """Raise ``InvalidSettings`` that names every setting of ``names`` that is not there."""
        missing = [name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise InvalidSettings(_report(f"{_as_variable(name)}: is not set" for name in missing))


def _as_variable(name: str) -> str:
    return "CELERY_BROKER_URL (or REDIS_URL)" if name == "BROKER_URL" else name


def _report(lines: Any) -> str:
    return "the settings are not usable:\n" + "\n".join(f"  - {line}" for line in lines)


def load_settings() -> Settings:
    """Read the environment now. Raises ``InvalidSettings`` with every fault, and no secret's value."""
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as exc:
        faults = []
        for error in exc.errors(include_input=False, include_url=False):
            name = ".".join(str(part).upper() for part in error["loc"])
            message = error["msg"].removeprefix("Value error, ")
            faults += [f"{name}: {message}"] if name else message.splitlines()
        raise InvalidSettings(_report(faults)) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return load_settings()
