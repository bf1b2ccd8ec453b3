"""Read Flower's settings from the environment: never without a login, and with a private state folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from threadsync.errors import InvalidSettings
from worker.operate.private_folder import UnsafeFolder, make_private, refuse_foreign

# Flower hides arguments and results unless told otherwise. Ours are all keyword arguments.
_COLUMNS: Final = "name,uuid,state,kwargs,result,received,runtime,worker"
_MOST_TASKS: Final = 10_000
_MOST_WORKERS: Final = 500
_SAVED_EVERY_MILLISECONDS: Final = 60_000
_OFFLINE_SECONDS: Final = 3_600
_WEAK_PASSWORD: Final = 12
_YES: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_ADVICE: Final = (
    "Without a login Flower shows every task to every visitor, who can run them, so it does not start. "
    "Set FLOWER_BASIC_AUTH=user:password, or FLOWER_BASIC_AUTH_FILE to a file with that, or Flower's "
    "FLOWER_AUTH and FLOWER_AUTH_PROVIDER"
)


def options_for(env: Mapping[str, str]) -> dict[str, Any]:
    """Return Flower's options. Raises ``InvalidSettings`` if a stranger could get in.

    Unless they are set, ``FLOWER_ADDRESS`` is loopback, ``FLOWER_DB`` is below the user's state (without a
    home folder nothing is kept), and ``FLOWER_MAX_TASKS`` is 10,000. Flower reads its other variables itself.
    """
    if is_yes(env.get("FLOWER_UNAUTHENTICATED_API", "")):
        raise InvalidSettings(f"FLOWER_UNAUTHENTICATED_API opens the API to every visitor. {_ADVICE}")
    options: dict[str, Any] = {
        "address": env.get("FLOWER_ADDRESS") or "127.0.0.1",
        **_state(env),
        "state_save_interval": _SAVED_EVERY_MILLISECONDS,
        "max_tasks": _number(env, "FLOWER_MAX_TASKS", _MOST_TASKS),
        "max_workers": _number(env, "FLOWER_MAX_WORKERS", _MOST_WORKERS),
        "purge_offline_workers": _OFFLINE_SECONDS,
        "tasks_columns": env.get("FLOWER_TASKS_COLUMNS") or _COLUMNS,
    }
    logins = _logins(env)
    if logins:
        options["basic_auth"] = logins
    elif not env.get("FLOWER_AUTH"):
        raise InvalidSettings(_ADVICE)
    return options


def without_kubernetes(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without Kubernetes' variables for a service `flower`: FLOWER_PORT=tcp://…

    Flower takes every ``FLOWER_…`` for an option of its own.
    """
    schemes = ("tcp://", "udp://", "sctp://")
    return {
        name: value
        for name, value in env.items()
        if not (name.startswith("FLOWER_PORT") and value.startswith(schemes))
    }


def is_yes(text: str) -> bool:
    """Return True if Flower takes the text for a yes."""
    return text.strip().lower() in _YES


def refuse_arguments(argv: Sequence[str]) -> None:
    """Raise ``InvalidSettings`` for arguments that would take precedence over settings that were checked."""
    if any(word.lstrip("-").replace("-", "_").startswith(("basic_auth", "auth=")) for word in argv):
        raise InvalidSettings(
            "a login on the command line can be read by every user of this machine, and would take the place "
            "of the one that was checked. Set FLOWER_BASIC_AUTH or FLOWER_AUTH instead"
        )
    if "--db" in argv or any(word.lstrip("-").startswith(("db=", "db ", "persistent")) for word in argv):
        raise InvalidSettings("set the place of Flower's state by FLOWER_DB: it is looked at first")


def is_weak(options: Mapping[str, Any]) -> bool:
    """Return True if a login's password is short enough to be guessed."""
    return any(len(login.partition(":")[2]) < _WEAK_PASSWORD for login in options.get("basic_auth", ()))


def _logins(env: Mapping[str, str]) -> list[str]:
    text = env.get("FLOWER_BASIC_AUTH", "").strip()
    path = env.get("FLOWER_BASIC_AUTH_FILE")
    if path and not text:
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise InvalidSettings(f"FLOWER_BASIC_AUTH_FILE: cannot read {path}: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise InvalidSettings(f"FLOWER_BASIC_AUTH_FILE: {path} is not UTF-8 text") from exc
    logins = [login.strip() for login in text.split(",")] if text else []
    for login in logins:
        user, _, password = login.partition(":")
        if not user or not password:
            raise InvalidSettings("FLOWER_BASIC_AUTH must be user:password; of several, with commas between")
    return logins


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip()
    if text and not text.isdecimal():
        raise InvalidSettings(f"{name} must be a whole number")
    return int(text) if text else default


def prepare_state(path: Path) -> None:
    """Make the folder of Flower's state, a pickle, by which a writer could run code in Flower.

    Raises ``InvalidSettings`` if others may have prepared or could replace it, and OSError.
    """
    try:
        make_private(path.parent)
        refuse_foreign(path.parent)
    except UnsafeFolder as exc:
        raise InvalidSettings(f"FLOWER_DB: {exc}") from exc


def _state(env: Mapping[str, str]) -> dict[str, Any]:
    path = env.get("FLOWER_DB")
    if not path:
        folder = _state_folder(env)
        # Never where others write, too.
        path = str(folder / "flower") if folder else None
    return {"persistent": path is not None, "db": path or "nowhere"}


def _state_folder(env: Mapping[str, str]) -> Path | None:
    """Return the folder by XDG's specification; None for a user without a home folder."""
    state = Path(env.get("XDG_STATE_HOME") or "")
    if state.is_absolute():
        return state / "threadsync"
    home = Path(env.get("HOME") or "")
    return home / ".local" / "state" / "threadsync" if home.is_absolute() else None
