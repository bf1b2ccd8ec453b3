"""Choose the secrets and other variables that each process gets. The only list. Pure.

``threadsync up`` gives each process what stands here for it; a test compares docker-compose.yml with it.
What is no secret of ours, all our processes may have. What is not known here none gets: a shell has many
secrets that are nothing to us.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

from threadsync.address import REDIS

Process = Literal[
    "sessions", "syncs", "lookups", "beat", "web", "socket-mode", "flower", "metrics", "migrate"
]
PROCESSES: Final[tuple[Process, ...]] = get_args(Process)

_BROKER: Final = frozenset({"CELERY_BROKER_URL", "REDIS_URL"})
_RESULTS: Final = frozenset({"CELERY_RESULT_BACKEND"})
_DATABASE: Final = frozenset({"DATABASE_URL"})
_CONSOLE: Final = _DATABASE | {"THREADSYNC_CONSOLE_PASSWORD"}
_JIRA: Final = frozenset({"JIRA_API_TOKEN", "JIRA_OAUTH_CLIENT_SECRET"})

SECRETS: Final[Mapping[Process, frozenset[str]]] = {
    "sessions": _DATABASE | _BROKER | _RESULTS,
    "syncs": _DATABASE | _BROKER | _RESULTS | {"SLACK_BOT_TOKEN"} | _JIRA,
    # Slack tells the e-mail address by which Jira knows a person.
    "lookups": _DATABASE | _BROKER | _RESULTS | {"SLACK_BOT_TOKEN"} | _JIRA,
    "beat": _BROKER,
    "web": _BROKER | _RESULTS | {"SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN"} | _CONSOLE,
    "socket-mode": _BROKER | _RESULTS | {"SLACK_APP_TOKEN", "SLACK_BOT_TOKEN"},
    "flower": _BROKER,
    "metrics": _DATABASE | _BROKER,
    "migrate": _DATABASE,
}
"""Secrets by process, each also as ``NAME_FILE``. Without the console the web process has no database."""

ALL_SECRETS: Final = frozenset[str]().union(*SECRETS.values())

OF_ANY_PROGRAM: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR"),
    *("LANG", "LANGUAGE", "LC_*", "LD_*", "MALLOC_*", "XDG_*", "PYTHON*", "VIRTUAL_ENV"),
)
_OF_OURS: Final = (*OF_ANY_PROGRAM, "SSL_CERT_FILE", "SSL_CERT_DIR", "OTEL_*", "FORWARDED_ALLOW_IPS")
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
"""Variables of proxies, in capitals or not; their addresses may hold passwords."""

_CALLS_OTHERS: Final[frozenset[Process]] = frozenset({"syncs", "lookups", "web", "socket-mode"})
"""Processes that call Slack or Jira."""

_IS_TRACED: Final[frozenset[Process]] = _CALLS_OTHERS | {"sessions"}
_OF_THE_COLLECTOR: Final = "OTEL_EXPORTER_"
"""Prefix of the collector's variables: its address, and headers with our credentials."""

_OF_SERVERS: Final = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_*")


def environment_of(process: Process, env: Mapping[str, str], settings: frozenset[str]) -> dict[str, str]:
    """Return the variables that the process may have.

    Args:
        settings: the names of all our settings, as variables.
    """
    return {name: value for name, value in env.items() if _is_for(process, name, env, settings)}


def spelt(env: Mapping[str, str], settings: frozenset[str]) -> dict[str, str]:
    """Return ``env`` with our settings in capitals; they are read in any case, and capitals go first."""
    others = {name: value for name, value in env.items() if name in settings or name.upper() not in settings}
    return {**{name.upper(): value for name, value in env.items() if name not in others}, **others}


def environment_of_a_server(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a server of ours needs: no secrets."""
    return {name: value for name, value in env.items() if _matches(name, _OF_SERVERS)}


def secrets_of(process: Process, env: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets that the process uses.

    Beside a RabbitMQ all that have a broker must name where results are, also those that use none.
    """
    broker = env.get("CELERY_BROKER_URL") or env.get("REDIS_URL") or ""
    # An address in a file is not known here.
    is_redis = broker.partition("://")[0] in {*REDIS, "valkey", "valkeys", "valkey+socket"}
    names_results = not is_redis and SECRETS[process] & _BROKER
    return SECRETS[process] | (_RESULTS if names_results else frozenset())


def _is_for(process: Process, name: str, env: Mapping[str, str], settings: frozenset[str]) -> bool:
    setting = name.removesuffix("_FILE")
    if setting in ALL_SECRETS:
        return setting in secrets_of(process, env)
    if setting in settings:
        return True
    if name.startswith("FLOWER_"):
        return process == "flower"
    if name.startswith("PG"):
        # libpq adds these to an address, a password among them.
        return bool(SECRETS[process] & _DATABASE)
    if name.startswith(_OF_THE_COLLECTOR):
        return process in _IS_TRACED
    if name.lower() in _PROXIES:
        sends_traces = process in _IS_TRACED and env.get("OTEL_TRACES_EXPORTER") == "otlp"
        return process in _CALLS_OTHERS or sends_traces
    return _matches(name, _OF_OURS)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
