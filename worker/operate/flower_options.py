"""Flower's settings: from the environment, and never open; and a folder of its own for what it keeps."""

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
    "Without a login Flower shows everybody every task, and lets everybody run them, so it does not start. "
    "Set FLOWER_BASIC_AUTH=user:password, or FLOWER_BASIC_AUTH_FILE to a file with that, or Flower's "
    "FLOWER_AUTH and FLOWER_AUTH_PROVIDER"
)


def options_for(env: Mapping[str, str]) -> dict[str, Any]:
    """Flower's options. Raises ``InvalidSettings`` where somebody could get in without a login.

    ``FLOWER_ADDRESS`` is loopback, ``FLOWER_DB`` below the user's state (without a home folder nothing is
    kept), ``FLOWER_MAX_TASKS`` 10,000, unless they are set. Whatever else Flower reads from the environment,
    it still does.
    """
    if is_yes(env.get("FLOWER_UNAUTHENTICATED_API", "")):
        raise InvalidSettings(f"FLOWER_UNAUTHENTICATED_API opens the API to everybody. {_ADVICE}")
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
    """The environment without what Kubernetes says of a service called `flower`: FLOWER_PORT=tcp://…

    Flower takes every ``FLOWER_…`` for an option of its own.
    """
    return {name: value for name, value in env.items() if not _is_of_kubernetes(name, value)}


def _is_of_kubernetes(name: str, value: str) -> bool:
    return name.startswith("FLOWER_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))


def is_yes(text: str) -> bool:
    """Whether Flower takes it for a yes."""
    return text.strip().lower() in _YES


def refuse_logins_in(argv: Sequence[str]) -> None:
    """Raises ``InvalidSettings``: what the command line says goes before the file, an empty login too."""
    given = [word for word in argv if word.lstrip("-").replace("-", "_").startswith(("basic_auth", "auth="))]
    if given:
        raise InvalidSettings(
            "a login on the command line can be read by everybody on this machine, and would take the place "
            "of the one that was checked. Set FLOWER_BASIC_AUTH or FLOWER_AUTH instead"
        )


def refuse_state_in(argv: Sequence[str]) -> None:
    """Raises ``InvalidSettings``: a place for what is kept would be used without the look at it."""
    given = [word for word in argv if word.lstrip("-").startswith(("db=", "db ", "persistent"))]
    if given or "--db" in argv:
        raise InvalidSettings("the place of what Flower keeps is FLOWER_DB's to say: it is looked at first")


def is_weak(options: Mapping[str, Any]) -> bool:
    """Whether a login's password is short enough to be guessed."""
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
    """Make the folder of what Flower keeps; it is a pickle, so that who writes it runs code in Flower.

    Raises ``InvalidSettings`` for one that others may have prepared or could replace, and OSError.
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
    """XDG base directory specification; None for a user without a home folder."""
    state = Path(env.get("XDG_STATE_HOME") or "")
    if state.is_absolute():
        return state / "threadsync"
    home = Path(env.get("HOME") or "")
    return home / ".local" / "state" / "threadsync" if home.is_absolute() else None
