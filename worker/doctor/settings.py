"""Check that the environment can be read, and that secrets are private."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from threadsync.config import Settings
from threadsync.errors import InvalidSettings
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.doctor.roles import Role
from worker.operate.password_strength import MAKE_ONE, fault_of, names_in
from worker.operate.rights.environment import ALL_SECRETS, secrets_of

CHECKS: Final = ("settings", "secret files", "secrets of others", "console password")


def judge_faults(refusal: InvalidSettings) -> list[Finding]:
    """Make a finding of each fault that ``load_settings`` named."""
    lines = [line.removeprefix("  - ") for line in str(refusal).splitlines()[1:]]
    return [
        error("settings", line, "correct the variable; docs/use/settings.md has the table") for line in lines
    ]


def examine_settings(
    settings: Settings, needed: Sequence[str], role: Role | None = None
) -> Iterator[Finding]:
    """Check settings and secrets. ``needed`` are the variables without which nothing starts."""
    there = {"DATABASE_URL": settings.database_url, "CELERY_BROKER_URL": settings.broker_url}
    missing = [name for name in needed if not there[name]]
    if missing:
        yield error("settings", f"not set: {', '.join(missing)}", "set it: no process works without it")
    else:
        yield ok("settings", "all are valid")
    yield _secret_files()
    yield _secrets_of_others(role)
    yield _console_password(settings)


def _console_password(settings: Settings) -> Finding:
    """Judge the password as the web process does when it starts."""
    check, password = "console password", settings.threadsync_console_password
    if password is None:
        return skipped(check, "THREADSYNC_CONSOLE_PASSWORD is not set: there is no console")
    fault = fault_of(password.get_secret_value(), names_in(settings))
    if fault:
        return error(check, f"the web process does not start: {fault}", MAKE_ONE)
    return ok(check, "strong")


def _secrets_of_others(role: Role | None) -> Finding:
    check = "secrets of others"
    if role is None:
        return skipped(check, "THREADSYNC_ROLE is not set, so all settings are expected here")
    # Socket Mode is the web process' other way in.
    uses = secrets_of("web", os.environ) | secrets_of("socket-mode", os.environ)
    uses = uses if role == "web" else secrets_of(role, os.environ)
    given = {name.removesuffix("_FILE") for name, value in os.environ.items() if value}
    others = sorted((given & ALL_SECRETS) - uses)
    if others:
        return warning(check, f"this process has {', '.join(others)}, and does not use it", "remove it")
    return ok(check, "it has only its own")


def _secret_files() -> Finding:
    paths = [Path(value) for name, value in os.environ.items() if name.endswith("_FILE") and _is_ours(name)]
    open_ones = [path for path in paths if _is_open(path)]
    if open_ones:
        names = ", ".join(map(str, open_ones))
        return warning("secret files", f"every user of this machine can read {names}", f"chmod o-r {names}")
    return (
        ok("secret files", "none is readable by every user")
        if paths
        else skipped("secret files", "none is used")
    )


def _is_open(path: Path) -> bool:
    """Return True if every user of the machine can read it."""
    # A container platform mounts secrets for the container's user.
    if path.is_relative_to("/run/secrets") or not path.exists():
        return False
    way = (folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
    return bool(path.stat().st_mode & stat.S_IROTH) and all(way)


def _is_ours(variable: str) -> bool:
    return variable.removesuffix("_FILE").lower() in Settings.model_fields
