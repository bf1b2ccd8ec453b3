"""docker-compose.yml as the tests read it: YAML, with the variables replaced as Compose would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.documents import read

VARIABLE: Final = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")
OURS: Final = "threadsync:0.1.0"
SECRETS: Final = "/run/secrets/"


def compose_file(given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file for a shell that has the variables of ``given`` and none besides."""
    values = given or {}
    text = VARIABLE.sub(lambda match: values.get(match[1]) or match[3] or "", read("docker-compose.yml"))
    parsed: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))
    return parsed


def ours(compose: Mapping[str, Any]) -> dict[str, Any]:
    """The services that run our image."""
    return {name: service for name, service in compose["services"].items() if service["image"] == OURS}


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """Return a service's environment, its empty variables included."""
    return {
        name: "" if value is None else str(value) for name, value in service.get("environment", {}).items()
    }


def secret_files(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables that lead to a secret's file, and the secret's name."""
    secrets = mounted(service)
    return {
        name: secrets[value.removeprefix(SECRETS)]
        for name, value in environment(service).items()
        if value.startswith(SECRETS)
    }


def mounted(service: Mapping[str, Any]) -> dict[str, str]:
    """The secrets of a service, by the name of the file that it sees."""
    given = service.get("secrets", [])
    named = [{"source": one, "target": one} if isinstance(one, str) else one for one in given]
    return {one["target"]: one["source"] for one in named}


def seconds(duration: str) -> int:
    """Return the seconds of a duration as Compose writes it."""
    return int(duration.removesuffix("s"))


def valkey_settings(secrets: Path) -> dict[str, str]:
    """The lines of Valkey's configuration, with the secrets that it includes in ``secrets``."""
    settings: dict[str, str] = {}
    for line in read("deploy/valkey.conf").replace(SECRETS, f"{secrets}/").splitlines():
        name, value = line.split(" ", 1)
        settings[name] = f"{settings[name]}\n{name} {value}" if name in settings else value
    return settings
