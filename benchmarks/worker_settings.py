"""Our worker's settings for stock Celery, as text: its processes must load nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from threadsync.config import load_settings
from worker.celery import configuration

_OUR_CODE: Final = ("worker.", "tasks.")


def settings_text(broker_url: str, results_url: str) -> str:
    """Return our settings (late acknowledgement, events, limits), except those that name our code.

    ``ast.literal_eval`` reads it.
    """
    ours = load_settings(celery_broker_url=broker_url, celery_result_backend=results_url)
    settings = configuration(ours)
    return repr({name: value for name, value in settings.items() if _is_plain(value)})


def _is_plain(value: Any) -> bool:
    """Return True for text, numbers and collections of these, none of which names our code."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    if isinstance(value, str):
        return not value.startswith(_OUR_CODE)
    return value is None or isinstance(value, int | float)
