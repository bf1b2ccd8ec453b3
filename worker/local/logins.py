"""The login of each process in the servers that ``threadsync up`` starts, for its work alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, LiteralString
from urllib.parse import urlsplit, urlunsplit

from worker.operate.rights.broker_users import NAMES, BrokerUser
from worker.operate.rights.environment import PROCESSES, Process

if TYPE_CHECKING:
    from worker.local.servers.valkey import EmbeddedValkey

_BROKER_USERS: Final[Mapping[Process, BrokerUser]] = {
    "sessions": "worker",
    "syncs": "worker",
    "lookups": "worker",
    "beat": "beat",
    "web": "web",
    "socket-mode": "web",
    "flower": "flower",
    "metrics": "metrics",
}
_WORKERS: Final = frozenset[Process]({"sessions", "syncs", "lookups"})


class Logins:
    """Logins of the processes; ``secret`` returns the password that is kept under a name."""

    def __init__(self, secret: Callable[[str], str]) -> None:
        self._secret = secret
        self._of: dict[Process, dict[str, str]] = {process: {} for process in PROCESSES}
        self.broker_of_all = ""
        """The broker's URL for its administrator, as whom no process of ours logs in."""

    def of(self, process: Process) -> Mapping[str, str]:
        """Return the addresses with the process's logins, for servers that are ours."""
        return self._of[process]

    def use_database(self, administrator_url: str) -> None:
        """Make the logins in a Postgres of ours. Rights come with the migration."""
        from psycopg import connect

        from worker.db.roles import CONSOLE, READ, RUN, create_login, create_roles

        self._of["migrate"]["DATABASE_URL"] = administrator_url
        with connect(administrator_url, autocommit=True) as connection:
            create_roles(connection)

            def login(name: str, group: LiteralString, secret: str) -> str:
                password = self._secret(secret)
                create_login(connection, name, password, group)
                return _logged_in(administrator_url, name, password)

            worker = login("threadsync_worker", RUN, "postgres-worker-password")
            for process in _WORKERS:
                self._of[process]["DATABASE_URL"] = worker
            self._of["web"]["DATABASE_URL"] = login("threadsync_web", CONSOLE, "postgres-console-password")
            self._of["metrics"]["DATABASE_URL"] = login("threadsync_reader", READ, "postgres-reader-password")

    def prepare_broker(self, valkey: EmbeddedValkey) -> None:
        """Set the users of a Valkey of ours, before it starts."""
        valkey.passwords = {user: self._secret(f"valkey-{user}-password") for user in NAMES}

    def use_broker(self, valkey: EmbeddedValkey) -> None:
        """Take the addresses of a Valkey of ours that has started."""
        self.broker_of_all = valkey.url
        for process, user in _BROKER_USERS.items():
            self._of[process]["CELERY_BROKER_URL"] = valkey.url_of(user)


def _logged_in(url: str, login: str, password: str) -> str:
    """Make the URL of the same database for another login."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}:{password}@{host}"))
