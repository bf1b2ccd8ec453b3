"""docker-compose.yml as the tests read it: YAML, with the variables replaced as Compose would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.documents import read

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
    """Of a service, with its variables that are empty."""
    return {
        name: "" if value is None else str(value) for name, value in service.get("environment", {}).items()
    }


def secret_files(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables that lead to a secret's file, and the secret's name."""
    return {
        name: value.removeprefix(SECRETS)
        for name, value in environment(service).items()
        if value.startswith(SECRETS)
    }


def seconds(duration: str) -> int:
    """Of a duration as Compose writes it."""
    return int(duration.removesuffix("s"))


def valkey_settings(secrets: Path) -> dict[str, str]:
    """The lines of Valkey's configuration, with the secret that it includes in ``secrets``."""
    lines = read("deploy/valkey.conf").replace(SECRETS, f"{secrets}/").splitlines()
    return dict(line.split(" ", 1) for line in lines)
