"""Addresses whose passwords were not encoded: each works, or is refused without a word of the secret."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import url_to_parts
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from threadsync.address import BadAddress, Tls, read_broker, read_results
from threadsync.config import load_settings
from threadsync.dsn import PARAMETERS, read_database
from threadsync.errors import InvalidSettings

BROKERS = [
    "redis://u:{}@right:1/2",
    "rediss://:{}@right/0",
    "amqp://u:{}@right/v",
    "sentinel://:{}@right:1/0",
]
SPECIAL = "#/?@%:;[] &=+\\'\"ä"
passwords = st.text(st.sampled_from("19aZ" + SPECIAL), min_size=1, max_size=12)


def without(secret: str, words: str) -> bool:
    """Return True if the words quote no telling piece of the secret."""
    return not any(secret[place : place + 4] in words for place in range(max(1, len(secret) - 3)))


@given(template=st.sampled_from(BROKERS), password=passwords)
def test_a_broker_gets_the_password_or_none_does(template: str, password: str) -> None:
    """A broker's address leads to its own host with its own password, or is refused."""
    try:
        found = url_to_parts(read_broker(template.format(password)).url)
    except BadAddress:
        return
    assert found.hostname == "right"
    # A password that looks encoded is taken for encoded.
    assert found.password == url_to_parts(f"redis://:{quote(password, safe='%')}@h").password


@given(template=st.sampled_from(BROKERS), password=passwords)
def test_an_encoded_password_arrives(template: str, password: str) -> None:
    found = url_to_parts(read_broker(template.format(quote(password, safe=""))).url)
    assert (found.hostname, found.password) == ("right", password)


@given(password=passwords)
def test_postgres_gets_the_password_or_does_not(password: str) -> None:
    try:
        found = conninfo_to_dict(read_database(f"postgresql://me:{password}@right:5433/db"))
    except BadAddress:
        return
    assert found["host"] == "right"
    assert found["password"] == url_to_parts(f"redis://:{quote(password, safe='%')}@h").password


@given(password=passwords)
def test_postgres_gets_an_encoded_password(password: str) -> None:
    found = conninfo_to_dict(read_database(f"postgresql://me:{quote(password, safe='')}@right:5433/db"))
    assert (found["host"], found["port"], found["password"]) == ("right", "5433", password)


@given(password=passwords)
def test_postgres_gets_a_password_in_keyword_form(password: str) -> None:
    """A password in keyword form is read as libpq reads it, or refused if it has no quotes."""
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    found = conninfo_to_dict(read_database(f"host=right user=me password='{quoted}' dbname=db"))
    assert (found["host"], found["password"]) == ("right", password)
    try:
        bare = conninfo_to_dict(read_database(f"host=right user=me password={password} dbname=db"))
    except BadAddress:
        return
    assert bare == conninfo_to_dict(f"host=right user=me password={password} dbname=db")


@pytest.mark.parametrize(
    "variable", ["CELERY_BROKER_URL", "REDIS_URL", "CELERY_RESULT_BACKEND", "DATABASE_URL"]
)
@pytest.mark.parametrize("character", "#/?")
@pytest.mark.parametrize("before", ["hunter", "6379"])
def test_settings_say_what_is_wrong_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, character: str, before: str
) -> None:
    """A password that must be encoded is named by character, without the secret, also if it is a number."""
    scheme = "postgresql" if variable == "DATABASE_URL" else "redis"
    secret = f"{before}{character}tail9"
    monkeypatch.setenv(variable, f"{scheme}://:{secret}@right:6379/0")
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    words = str(refusal.value)
    assert variable in words
    assert f"{character} as {quote(character, safe='')}" in words
    assert without(secret, words)
    assert before not in words.replace("redis://127.0.0.1:6379", "")


@pytest.mark.parametrize(
    "address",
    [
        "redis://h:1/0?hunter2=x",
        "redis://h:1/database",
        "redis://h:hunter2",
        "redis://[hunter2]x",
        "redis://h;h2:hunter2",
        "redis+socket://hunter2/v.sock",
        "redis://h/0?ssl_ca_certs=hunter2",
        "rediss://h/0?ssl_cert_reqs=hunter2",
        "rediss://h/0?ssl_check_hostname=hunter2",
        "hunter2",
        "hunter2://h",
        "redis://:hun\tter2@h",
        "redis://a/0;rediss://b/0",
        "amqp://h:70000",
        "amqp://h/v?heartbeat=hunter2",
        "redis://h/12345678901",
        "redis+socket:///v.sock?virtual_host=hunter2",
        "sentinel://:hunter2@a;sentinel://:another@b",
        "sentinel://a/1;sentinel://b/2",
    ],
)
def test_what_is_no_address(address: str) -> None:
    """A wrong port, host or parameter is refused at the start, not at the first connection."""
    with pytest.raises(BadAddress) as refusal:
        read_broker(address)
    assert "hunter2=" not in str(refusal.value)
    assert "hunter2:" not in str(refusal.value)
    assert not isinstance(refusal.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://h/db?schema=public",
        "postgresql://h:x/db",
        "postgresql://h h/db",
        "mysql://h/db",
        "host=h password=my secret",
        "host=h secret=1",
        "postgresql://me:12?secret=ab@h/db",
    ],
)
def test_what_is_no_database(address: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        read_database(address)
    assert "secret" not in str(refusal.value).replace("password='my \\'secret\\''", "")


def test_the_name_of_a_parameter_that_postgres_does_not_know() -> None:
    """A parameter that Postgres does not know is named, because the name is no secret."""
    with pytest.raises(BadAddress, match=r"\(schema\)"):
        read_database("postgresql://h/db?sslmode=require&schema=public")


def test_the_parameters_are_those_of_libpq() -> None:
    """Every parameter that the installed libpq knows is known here."""
    assert {option.keyword.decode() for option in pq.Conninfo.get_defaults()} <= PARAMETERS


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://h1:1,h2:2/db?target_session_attrs=read-write",
        "postgresql://me:p%40ss@%2Fvar%2Frun/db",
        "postgresql://[::1]:5432/db",
        "postgresql:///db?host=/tmp&options=-c%20search_path%3Dx",
        "postgresql://",
    ],
)
def test_a_database_of_any_shape_is_left_as_it_is(address: str) -> None:
    assert conninfo_to_dict(read_database(address)) == conninfo_to_dict(address)


def test_tls_is_checked_unless_it_is_said_otherwise() -> None:
    """TLS is verified unless the address says otherwise, with or without an authority of its own."""
    for read in (read_broker, read_results):
        assert read("redis://h").tls is None
        assert read("rediss://h").tls == Tls()
        assert read("valkeys://h/0?ssl_ca_certs=/c%20a+.pem").tls == Tls(ca_certs="/c a+.pem")
        assert read("sentinel://h?ssl_ca_certs=/ca").tls == Tls(ca_certs="/ca")
        lenient = read("rediss://h?ssl_cert_reqs=CERT_NONE").tls
        assert lenient is not None
        assert (lenient.verify, lenient.check_hostname) == (ssl.CERT_NONE, False)
    assert read_broker("amqps://h?ssl_certfile=/c&ssl_keyfile=/k").tls == Tls(certfile="/c", keyfile="/k")


@pytest.mark.parametrize("parameter", ["socket_timeout=soon", "max_connections=2.5", "protocol=4"])
def test_results_with_a_number_that_is_none(parameter: str) -> None:
    """A malformed number in a result server's address is refused by the parameter's name."""
    with pytest.raises(BadAddress, match=parameter.partition("=")[0]):
        read_results(f"redis://h/0?{parameter}")


@pytest.mark.parametrize("path", ["/", "//", "/0", "/0/", "//0"])
def test_slashes_around_a_database(path: str) -> None:
    """Slashes around a database number, on which kombu or Celery fail, are read as intended."""
    assert read_broker(f"redis://h{path}").url in {"redis://h/", "redis://h/0"}


@pytest.mark.parametrize(
    "address",
    [
        "sentinel://u:pw@a:1/3;sentinel://b:2;sentinel://c:3",
        "sentinel://a:1;sentinel://u:pw@b:2;sentinel://c:3/3",
        "sentinel://u:pw@a:1/3;sentinel://u:pw@b:2/3;sentinel://u:pw@c:3/3",
    ],
)
def test_all_sentinels_lead_to_one_database_by_one_login(address: str) -> None:
    """All sentinels of an address lead to one database by one login, because kombu takes them in turn."""
    expected = "sentinel://u:pw@a:1/3;sentinel://u:pw@b:2/3;sentinel://u:pw@c:3/3"
    assert read_broker(address).url == read_results(address).url == expected


@pytest.mark.parametrize("parameter", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize("variable", ["CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
def test_a_file_of_tls_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, parameter: str
) -> None:
    """A missing TLS file is reported with its variable, its parameter and its path."""
    monkeypatch.setenv(variable, f"rediss://:secret@h/0?{parameter}={tmp_path}/ca.pem")
    with pytest.raises(
        InvalidSettings, match=rf"{variable}: {parameter}: cannot read .*ca.pem: No such file"
    ):
        load_settings()
    (tmp_path / "ca.pem").touch()
    load_settings()


def test_results_have_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of addresses is refused as the place of results."""
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://a/0;redis://b/0")
    with pytest.raises(InvalidSettings, match="CELERY_RESULT_BACKEND: must be one address"):
        load_settings()


def test_results_that_are_kept_elsewhere_are_left_alone() -> None:
    assert read_results("db+postgresql://u:p#w@h/db").text == "db+postgresql://u:p#w@h/db"


def test_an_address_that_was_read_is_read_the_same_again() -> None:
    """An address that was read once is read the same again."""
    for text in (
        "redis://u:p@ss%zz@h:1/2",
        "rediss://h?ssl_ca_certs=/a b",
        "redis+socket://:p w@/a b?virtual_host=3",
    ):
        once = read_broker(text)
        assert read_broker(once.text) == once


def test_another_tools_parameter_is_named_with_ours() -> None:
    """A parameter of Prisma or SQLAlchemy is refused with the name of our own setting."""
    with pytest.raises(ValueError, match='For "pgbouncer": DATABASE_PREPARED_STATEMENTS=false') as caught:
        read_database("postgresql://u:secret@h/d?pgbouncer=true")
    assert "secret" not in str(caught.value)
