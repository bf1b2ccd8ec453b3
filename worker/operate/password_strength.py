"""Refuse passwords that are too short, or below the best score of zxcvbn, which knows our own names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from threadsync.config import Settings
from threadsync.errors import InvalidSettings

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1_024
MAKE_ONE: Final = "set a random one: openssl rand -base64 24"

_BEST_SCORE: Final = 4
# zxcvbn takes quadratic time, and refuses more.
_JUDGED_LENGTH: Final = 72
_OUR_NAMES: Final = (
    *("threadsync", "thread", "sync", "slack", "jira", "atlassian", "console", "ticket", "operator"),
    *("celery", "worker", "valkey", "redis", "rabbitmq", "postgres", "flower", "admin", "password"),
)
# Substitutes of letters; `i` and `l` count as one.
_LEET: Final = str.maketrans("01345789@$!|+i", "oleastbgaslltl")
_SHORTEST_NAME: Final = 4


def fault_of(password: str, names: Iterable[str] = ()) -> str | None:
    """Return why the password is too weak, in words that follow its name; None if it is not.

    ``names``: words that a stranger would try, such as of hosts and of the company.
    """
    # As it is compared: a space at an end counts for nothing there.
    given = password.strip()
    password = unicodedata.normalize("NFKC", given).strip()
    if min(len(given), len(password)) < SHORTEST_PASSWORD:
        return f"it has fewer than {SHORTEST_PASSWORD} characters"
    if len(password) > LONGEST_PASSWORD:
        return f"it has more than {LONGEST_PASSWORD} characters"
    known = sorted({name.lower() for name in (*_OUR_NAMES, *names) if len(name) >= _SHORTEST_NAME})
    # Several of our names in a row count for little, which zxcvbn does not see: the rest must do.
    if not (_is_strong(password, known) and _is_strong(_without(password, known), known)):
        return "it can be guessed (zxcvbn, with threadsync's and the hosts' names among its words)"
    return None


def refuse_weak_password(settings: Settings) -> None:
    """Raise ``InvalidSettings`` if the console's password can be guessed."""
    if settings.threadsync_console_password is None:
        return
    fault = fault_of(settings.threadsync_console_password.get_secret_value(), names_in(settings))
    if fault:
        raise InvalidSettings(
            f"the settings are not usable:\n  - THREADSYNC_CONSOLE_PASSWORD: {fault}; {MAKE_ONE}"
        )


def names_in(settings: Settings) -> Iterator[str]:
    """Yield words of the hosts, the account and the project that the settings name."""
    for text in (*settings.public_hosts, settings.jira_url, settings.jira_email, settings.jira_project_key):
        yield from re.findall(r"[^\W_]+", text or "")


def _is_strong(password: str, known: list[str]) -> bool:
    if not password:
        return False
    # Here: it has 100,000 words, and is of the console alone.
    from zxcvbn import zxcvbn

    return bool(zxcvbn(password[:_JUDGED_LENGTH], user_inputs=known)["score"] >= _BEST_SCORE)


def _without(password: str, names: list[str]) -> str:
    """Return the password without the names in it, digits in place of letters included."""
    # Character by character, so that both texts have the same length.
    plain = "".join(low if len(low := char.lower()) == 1 else char for char in password).translate(_LEET)
    taken = bytearray(len(plain))
    for name in names:
        for found in re.finditer(f"(?={re.escape(name.translate(_LEET))})", plain):
            taken[found.start() : found.start() + len(name)] = b"\1" * len(name)
    return "".join(char for char, is_taken in zip(password, taken, strict=True) if not is_taken)
