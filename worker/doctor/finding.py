"""What a check found."""

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
    """Worth to know; it changes no exit code."""
    return Finding(check, "info", message)


def warning(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "warning", message, fix)


def error(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "error", message, fix)


def skipped(check: str, message: str) -> Finding:
    """It does not apply; ``message`` says what that means."""
    return Finding(check, "skipped", message)
