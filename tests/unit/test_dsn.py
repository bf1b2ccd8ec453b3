"""DATABASE_URL: the wrong part is named, and no secret is."""

from __future__ import annotations

import pytest

from threadsync.errors import InvalidSettings
from worker.db.conninfo import parse_dsn

SECRET = "topsecret"
URL = f"postgresql://u:{SECRET}@h:5432/d"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"{URL}?pgbouncer=true", '"pgbouncer".*DATABASE_PREPARED_STATEMENTS=false'),
        (f"{URL}?schema=app", '"schema".*options=-csearch_path'),
        (f"{URL}?connection_limit=5&pool_timeout=0", '"connection_limit".*"pool_timeout"'),
        (f"{URL}?sslmode=requre", '"sslmode" must be one of disable, .*verify-full'),
        (f"{URL}?sslmode=REQUIRE", '"sslmode" must be one of'),
        (f"{URL}?ssl=no-verify", '"ssl".*sslmode says that'),
        (f"{URL}?target_session_attrs=master", '"target_session_attrs" must be one of'),
        (f"{URL}?connect_timeout=soon", '"connect_timeout" must be a whole number'),
        (f"{URL}?charset=utf8", r"parameters .* Postgres does not know \(charset\)"),
        ("postgresql://u:topsecret@h:54x/d", "port that is no number"),
        ("postgresql://u:topsecret@h:99999/d", "port that is no number"),
        ("postgresql://u:topsecret@a,b,c/d?port=1,2", "one port for all hosts"),
        ("postgresql:///d?host=h&port=99999", "port must be a number"),
        ("postgresql://u:p?topsecret#r@h/d", "unencoded #"),
        ("postgresql://u:top/secret@h/d", "percent-encoded"),
        (f"postgresql://u:{SECRET}@[::1/d", "percent-encoded"),
        (f"{URL}?topsecret%20is=here", r"Postgres does not know\. "),
        (f"{URL}?ssl=true", '"ssl".*sslmode says that'),
    ],
)
def test_the_part_that_is_wrong_is_named(url: str, words: str) -> None:
    """A wrong part of the URL is named, without the password and without a cause that prints the URL."""
    with pytest.raises(InvalidSettings, match=f"^DATABASE_URL: .*{words}") as refusal:
        parse_dsn(url)
    assert "secret" not in str(refusal.value).replace("secret_", "")
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h",
        "postgresql://u:top%zz@h/d",
        "postgresql://u:p@a:1,b:2/d?target_session_attrs=read-write",
        "postgresql://u:p@a,b/d?port=5432",
        "postgresql:///d?host=/run/postgresql&port=5433",
        f"{URL}?sslmode=verify-full&sslrootcert=system&channel_binding=require",
        f"{URL}?options=-cstatement_timeout%3D7s&application_name=mine&tcp_user_timeout=3000",
    ],
)
def test_what_libpq_takes_is_taken(url: str) -> None:
    """Every URL that libpq takes is accepted."""
    assert parse_dsn(url)
