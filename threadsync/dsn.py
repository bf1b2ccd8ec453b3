"""Read Postgres addresses (URLs and keyword strings); refusals show no part of a secret. Pure.

libpq ends a password at the first ``@`` and quotes what it does not understand, so it sees an address only
with everything encoded. A keyword string becomes a URL, so that all readers know one form.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlencode

from threadsync.address import (
    CONTROL,
    ENCODE,
    BadAddress,
    credentials,
    encoded,
    host_and_port,
    parameters,
    shown,
)

_NAMES: Final = (
    "application_name channel_binding client_encoding connect_timeout dbname "
    "fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives "
    "keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts "
    "max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer "
    "oauth_scope options passfile password port replication require_auth requirepeer requiressl "
    "scram_client_key scram_server_key service servicefile ssl_max_protocol_version "
    "ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey "
    "sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs "
    "tcp_user_timeout user "
)
PARAMETERS: Final = frozenset(_NAMES.split())
"""Parameters of libpq, in all versions that psycopg may bring."""

# Of Prisma, SQLAlchemy, JDBC, Django, node-postgres and asyncpg, which read such URLs as well.
INSTEAD: Final = {
    **dict.fromkeys(
        ("pgbouncer", "statement_cache_size", "prepared_statement_cache_size", "prepareThreshold"),
        "DATABASE_PREPARED_STATEMENTS=false says that",
    ),
    **dict.fromkeys(("schema", "currentSchema", "search_path"), "options=-csearch_path%3DNAME says that"),
    "statement_timeout": "options=-cstatement_timeout%3D5s says that",
    **dict.fromkeys(
        ("connection_limit", "pool_size", "max_overflow"), "the size of the pool is threadsync's own"
    ),
    **dict.fromkeys(("pool_timeout", "conn_max_age"), "the limits of the pool are threadsync's own"),
    "timeout": "connect_timeout says that",
    "socket_timeout": "tcp_user_timeout says that",
    **dict.fromkeys(("ssl", "sslaccept", "ssl_mode"), "sslmode says that"),
    "targetServerType": "target_session_attrs says that",
    "ApplicationName": "application_name says that",
}
"""Parameters of other programs, and their equivalents here."""

_KEYWORD_FORM: Final = re.compile(r"\s*[A-Za-z_]+\s*=")
_PAIR: Final = re.compile(r"\s*([A-Za-z_]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|$)", re.DOTALL)
_QUOTE: Final = (
    "In keyword form a value with spaces, quotes or backslashes stands in single quotes, with \\' for ' and "
    "\\\\ for \\, such as password='my \\'secret\\''"
)


def read_database(text: str) -> str:
    """Return the address as a URL with everything encoded. Raises ``BadAddress``."""
    scheme, found, rest = text.partition("://")
    if found and scheme.lower() in {"postgresql", "postgres"}:
        return f"postgresql://{_of_url(rest)}"
    if _KEYWORD_FORM.match(text):
        return f"postgresql://?{urlencode(_of_keywords(text), quote_via=quote)}"
    raise BadAddress("must start with postgresql://")


def _of_url(rest: str) -> str:
    if CONTROL.search(rest):
        raise BadAddress(f"has a line break, a tab or another control character. {ENCODE}")
    if "#" in rest:
        raise BadAddress(f"has an unencoded #. {ENCODE}")
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    if "@" in path:
        raise BadAddress(f"has an unencoded / before an @, or an unencoded @ in its path. {ENCODE}")
    hosts = authority.rpartition("@")[2]
    for host in hosts.split(","):
        # A folder of sockets is encoded.
        host_and_port(re.sub(r"%[0-9A-Fa-f]{2}", "_", host))
    return f"{credentials(authority)}{hosts}{slash}{encoded(path, '/')}{_query(query)}"


def _query(text: str) -> str:
    if not text:
        return ""
    given = parameters(text)
    unknown = [name for name, _ in given if name not in PARAMETERS]
    if unknown or any("=" not in part for part in text.split("&")):
        hints = "".join(f'. For "{name}": {INSTEAD[name]}' for name in unknown if name in INSTEAD)
        raise BadAddress(
            f"has parameters after ? that Postgres does not know{shown(unknown, text)}{hints}. {ENCODE}"
        )
    return f"?{urlencode(given, quote_via=quote)}"


def _of_keywords(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while place < len(text.rstrip()):
        pair = _PAIR.match(text, place)
        if pair is None or pair[1] not in PARAMETERS:
            raise BadAddress(f"is in keyword form and cannot be read. {_QUOTE}")
        value = pair[2][1:-1] if pair[2].startswith("'") else pair[2]
        found[pair[1]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        place = pair.end()
    return found
