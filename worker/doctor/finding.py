"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "info", "warning", "error", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One check's result. ``fix`` says what to do; empty where nothing is wrong. No secret is in either."""

    check: str
    level: Level
    message: str
    fix: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, "ok", message)


def info(check: str, message: str) -> Finding:
    """Make a finding that changes no exit code."""
    return Finding(check, "info", message)


def warning(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "warning", message, fix)


def error(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "error", message, fix)


def skipped(check: str, message: str) -> Finding:
    """Make a finding of a check that does not apply; ``message`` says why."""
    return Finding(check, "skipped", message)
