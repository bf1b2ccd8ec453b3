"""Read addresses of brokers and result backends; refusals show no part of a secret. Pure.

Each library has a parser of its own, and each takes a character that was not encoded for something else: the
broker's password ``12#x`` is a port to one and the end of the address to the next. So an address is taken
apart here, and handed on with everything encoded and with TLS said in one way.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlencode

REDIS: Final = frozenset({"redis", "rediss", "redis+socket", "sentinel"})
AMQP: Final = frozenset({"amqp", "amqps"})

_SPELLINGS: Final = {
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+socket": "redis+socket",
    "pyamqp": "amqp",
}
_DEFAULT_PORTS: Final = {"sentinel": 26379}
"""Default ports where libraries differ: kombu takes 26379 for a sentinel, Celery's results take 6379."""

_TLS_PARAMETERS: Final = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_VERIFY: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "redis": ("credential_provider",),
    "rediss": (*_TLS_PARAMETERS, "credential_provider"),
    "redis+socket": ("virtual_host", "credential_provider"),
    "sentinel": _TLS_PARAMETERS,
    "amqp": ("heartbeat", "login_method"),
    "amqps": (*_TLS_PARAMETERS, "heartbeat", "login_method"),
}
"""Parameters that kombu accepts in an address; any other would be a TypeError when it connects."""

_OF_RESULTS: Final = (
    "socket_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "retry_on_timeout",
    "max_connections",
    "health_check_interval",
    "protocol",
)
"""Further parameters that redis-py accepts in the address of results."""

_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_WHOLE: Final = re.compile(r"[0-9]{1,9}")
_NUMBERS: Final = {
    "heartbeat": (_SECONDS, "a number of seconds"),
    "socket_timeout": (_SECONDS, "a number of seconds"),
    "socket_connect_timeout": (_SECONDS, "a number of seconds"),
    "health_check_interval": (_WHOLE, "a whole number of seconds"),
    "max_connections": (_WHOLE, "a whole number"),
    "protocol": (re.compile("[23]"), "2 or 3"),
    "virtual_host": (_WHOLE, "the number of a database, such as 0"),
}
"""Parameters that the libraries parse as numbers when they connect, with a ValueError."""

_NOT_OF_A_SOCKET: Final = frozenset({"socket_keepalive"})
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9_.-]+)?\]")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
ENCODE: Final = (
    "In a user name or password write special characters percent-encoded: "
    "% as %25, # as %23, / as %2F, ? as %3F, @ as %40, : as %3A, ; as %3B, [ as %5B, ] as %5D, a space as %20"
)


class BadAddress(ValueError):
    """An invalid address. The message holds no secret."""


@dataclass(frozen=True)
class Tls:
    """TLS settings of a connection. By default the certificate and the host's name in it are checked."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: ssl.VerifyMode = ssl.CERT_REQUIRED
    check_hostname: bool = True

    @property
    def files(self) -> dict[str, str]:
        """The files that the TLS settings name, by parameter."""
        return {parameter: path for parameter, path in self.for_redis().items() if isinstance(path, str)}

    def for_redis(self) -> dict[str, object]:
        """Return redis-py's options, which Celery's results take too."""
        return {f"ssl_{name}": value for name, value in self.for_amqp().items()}

    def for_amqp(self) -> dict[str, object]:
        """Return py-amqp's options; our transport removes ``check_hostname`` again."""
        options = {
            "cert_reqs": self.verify,
            "check_hostname": self.check_hostname,
            "ca_certs": self.ca_certs,
            "certfile": self.certfile,
            "keyfile": self.keyfile,
        }
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class Address:
    """One address, or several with ``;`` between them.

    Attributes:
        text: all of it, everything encoded. Settings hold this.
        url: without what it says about TLS, as kombu reads it.
        tls: None for a connection that is not encrypted.
    """

    scheme: str
    text: str
    url: str
    tls: Tls | None = None

    @property
    def is_redis(self) -> bool:
        """True where kombu's Redis transport (Valkey's too) carries the messages."""
        return self.scheme in REDIS

    @property
    def is_amqp(self) -> bool:
        return self.scheme in AMQP

    @property
    def is_socket(self) -> bool:
        return self.scheme == "redis+socket"


def read_broker(text: str) -> Address:
    """Read a broker's address, or several with ``;`` between them. Raises ``BadAddress``."""
    address = _read(text, ())
    if address is None:
        raise BadAddress(
            "must begin with redis://, rediss://, valkey://, valkeys://, redis+socket://, sentinel://, "
            "amqp:// or amqps://"
        )
    return address


def read_results(text: str) -> Address:
    """Read the address of results. Addresses of other backends of Celery's are left as they are."""
    return _read(text, _OF_RESULTS) or Address(scheme_of(text), text, text)


def scheme_of(text: str) -> str:
    """Return the scheme as kombu spells it; Valkey speaks Redis' protocol."""
    scheme = text.partition("://")[0].lower()
    return _SPELLINGS.get(scheme, scheme)


def _read(text: str, more: Iterable[str]) -> Address | None:
    if "://" not in text:
        raise BadAddress("must be a URL, such as redis://127.0.0.1:6379/0")
    if scheme_of(text) not in REDIS | AMQP:
        return None
    parts = _alike([_read_one(part, more) for part in text.split(";")])
    first = parts[0]
    if any((part.scheme, part.tls) != (first.scheme, first.tls) for part in parts):
        raise BadAddress("of several addresses all must have the same scheme and the same ssl_ parameters")
    texts, urls = (";".join(part.text for part in parts), ";".join(part.url for part in parts))
    return Address(first.scheme, texts, urls, first.tls)


@dataclass(frozen=True)
class _Part:
    """One address, everything encoded."""

    scheme: str
    login: str
    host: str
    path: str
    query: Mapping[str, str]
    about_tls: Mapping[str, str]

    @property
    def url(self) -> str:
        return self._with(self.query)

    @property
    def text(self) -> str:
        return self._with({**self.query, **self.about_tls})

    @property
    def tls(self) -> Tls | None:
        return _tls(self.about_tls) if self.scheme in {"rediss", "amqps"} or self.about_tls else None

    def _with(self, query: Mapping[str, str]) -> str:
        shown = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return f"{self.scheme}://{self.login}{self.host}{self.path}{shown}"


def _alike(parts: list[_Part]) -> list[_Part]:
    """Give all sentinels of a list the same login and database, as they lead to one master.

    Where they differ Celery's results take what the first one says, and kombu what the next one says
    whenever a connection fails: messages would go to a database that no worker looks into.
    """
    if any(part.scheme != "sentinel" for part in parts):
        return parts
    logins = {part.login for part in parts} - {""}
    databases = {part.path.strip("/") for part in parts} - {""}
    if len(logins) > 1 or len(databases) > 1:
        raise BadAddress(
            "of several sentinels all must have the same user, password and database: they are those of the "
            "servers that the sentinels watch. A password of the sentinels' own stands in sentinel_kwargs of "
            "CELERY_BROKER_TRANSPORT_OPTIONS"
        )
    login, database = "".join(logins), "".join(databases)
    return [replace(part, login=login, path=f"/{database}" if database else part.path) for part in parts]


def _read_one(text: str, more: Iterable[str]) -> _Part:
    scheme = scheme_of(text)
    if "://" not in text or scheme not in REDIS | AMQP:
        raise BadAddress(
            f"each of several addresses must begin with its scheme, and a ; stands between them. {ENCODE}"
        )
    rest = text.partition("://")[2]
    if CONTROL.search(rest):
        raise BadAddress(f"has a line break, a tab or another control character. {ENCODE}")
    if "#" in rest:
        raise BadAddress(f"has an unencoded #. {ENCODE}")
    before, _, query_text = rest.partition("?")
    if "@" in query_text:
        raise BadAddress(f"has an unencoded ? before an @, or an unencoded @ after a ?. {ENCODE}")
    authority, slash, path = before.partition("/")
    query, about_tls = _query(scheme, query_text, more)
    if scheme == "redis+socket":
        login, place = credentials(authority, needs_host=False), f"/{encoded(path, '/')}"
        return _Part(scheme, login, "", place, query, about_tls)
    if "@" in path:
        raise BadAddress(f"has an unencoded / before an @, or an unencoded @ in its path. {ENCODE}")
    host, place = _host(scheme, authority), f"{slash}{_path(scheme, path)}"
    return _Part(scheme, credentials(authority), host, place, query, about_tls)


def credentials(authority: str, *, needs_host: bool = True) -> str:
    """Return user and password, encoded again. The host stands behind the last ``@``."""
    text, at, host = authority.rpartition("@")
    if not needs_host and host:
        raise BadAddress(
            "must have three slashes before the socket's path: redis+socket:///run/valkey.sock, "
            f"with a password redis+socket://:password@/run/valkey.sock. {ENCODE}"
        )
    if not at:
        return ""
    user, colon, password = text.partition(":")
    return f"{encoded(user)}{colon}{encoded(password)}@"


def encoded(text: str, safe: str = "") -> str:
    """Return the text percent-encoded. A % that begins no code stands for itself."""
    given = unquote_to_bytes(text)
    try:
        if "\0" not in given.decode():
            return quote(given, safe=safe)
    except UnicodeDecodeError:
        pass
    raise BadAddress(f"has an unencoded %. {ENCODE}")


def _host(scheme: str, authority: str) -> str:
    host, port = host_and_port(authority.rpartition("@")[2])
    default = _DEFAULT_PORTS.get(scheme)
    port = port or (str(default) if default and host else "")
    return f"{host}:{port}" if port else host


def host_and_port(text: str) -> tuple[str, str]:
    """Return host and port, each empty where there is none. Raises ``BadAddress``."""
    host, port = text, ""
    if ":" in host and not host.endswith("]"):
        host, _, port = host.rpartition(":")
    if not _HOST.fullmatch(host):
        raise BadAddress(f"has a host's name that no host has. {ENCODE}")
    is_number = port.isascii() and port.isdecimal() and len(port) < 6
    if port and not (is_number and 0 < int(port) <= 65_535):
        raise BadAddress(f"has a port that is no number from 1 to 65535. {ENCODE}")
    return host, port


def _path(scheme: str, path: str) -> str:
    if scheme in REDIS:
        database = path.strip("/")
        if database and not _WHOLE.fullmatch(database):
            raise BadAddress(f"must end with the number of a database, such as /0. {ENCODE}")
        return database
    # RabbitMQ's virtual host: amqp://host// is the one named /.
    return encoded(path, "/")


def _query(scheme: str, text: str, more: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters that stay in the address, and those about TLS."""
    given = dict(parameters(text))
    known = {*_PARAMETERS[scheme], *(more if scheme in REDIS else ())}
    if unknown := sorted(set(given) - known):
        raise BadAddress(
            f"has parameters after ? that a {scheme}:// address does not have{shown(unknown, text)}. {ENCODE}"
        )
    for name, (form, words) in _NUMBERS.items():
        if name in given and not form.fullmatch(given[name]):
            raise BadAddress(f"{name} must be {words}")
    tls: dict[str, str] = {name: given.pop(name) for name in _TLS_PARAMETERS if name in given}
    if scheme == "redis+socket":
        given = {name: value for name, value in given.items() if name not in _NOT_OF_A_SOCKET}
    if "ssl_cert_reqs" in tls:
        # As all of the libraries spell it.
        tls["ssl_cert_reqs"] = tls["ssl_cert_reqs"].lower().removeprefix("cert_")
    return given, tls


def parameters(text: str) -> list[tuple[str, str]]:
    """Return the parameters after the ``?``. A + is a +, as it is in a file's name."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [(name, unquote(value)) for name, _, value in pairs]


def shown(names: Iterable[str], text: str) -> str:
    """Return the names in brackets for a message, without any that may be a piece of a password."""
    is_clear = all(re.fullmatch(r"[a-z_]+=[^=@]*", part) for part in text.split("&"))
    is_clear = is_clear and "password" not in text
    return f" ({', '.join(names)})" if is_clear else ""


def _tls(given: Mapping[str, str]) -> Tls:
    verify = given.get("ssl_cert_reqs", "required")
    if verify not in _VERIFY:
        raise BadAddress("ssl_cert_reqs must be required, optional or none")
    check = given.get("ssl_check_hostname", "true").lower()
    if check not in {"true", "false"}:
        raise BadAddress("ssl_check_hostname must be true or false")
    return Tls(
        ca_certs=given.get("ssl_ca_certs") or None,
        certfile=given.get("ssl_certfile") or None,
        keyfile=given.get("ssl_keyfile") or None,
        verify=_VERIFY[verify],
        check_hostname=check == "true" and verify != "none",
    )
