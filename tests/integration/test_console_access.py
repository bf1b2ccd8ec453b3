"""Access to the console on a real web process: sign-in, guessing, and what a visitor can learn."""

from __future__ import annotations

import hmac
import os
import secrets
import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, sha256
from itertools import count
from pathlib import Path

import httpx
import psycopg
import pytest

from console.access import COOKIE
from tests.support import forked
from tests.support.console_client import PASSWORD, sign_in, token, web_process
from tests.support.installation import Installation
from tests.support.scale import bounded, scaled
from tests.support.servers import as_owner, ask
from tests.support.waiting import wait_until
from tests.support.web import WebProcess
from worker.db.console_login.sessions import MOST_SESSIONS, ConsoleSession, ConsoleSessionStore
from worker.db.pool import Pool
from worker.http_once import tls_context

GUESSERS = 60


@pytest.fixture
def web(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[WebProcess]:
    with web_process(tmp_path, database_url, broker_url) as web:
        yield web


def from_address(web: WebProcess, address: str) -> httpx.Client:
    """Return a client that the web process sees at this address, through X-Forwarded-For."""
    headers = {"x-forwarded-for": address}
    return httpx.Client(base_url=web.url, headers=headers, timeout=30, verify=tls_context())


def a_forged_cookie() -> str:
    """Return a cookie with the right format, which is looked up in the database."""
    return f"{COOKIE}={secrets.token_urlsafe(32)}"


@pytest.mark.bounded
def test_people_sign_in_while_others_guess(web: WebProcess) -> None:
    """An operator signs in within 5 s while sixty visitors guess; no guess and no forged cookie succeeds."""
    is_over, guesses = threading.Event(), count()
    answers: set[int] = set()

    def guess(address: str) -> None:
        with from_address(web, address) as client:
            form = {"csrf": token(client, "/sign-in"), "name": "eve"}
            while not is_over.is_set():
                form["password"] = f"guess-{next(guesses)}"
                answers.add(client.post("/console/sign-in", data=form).status_code)
                answers.add(client.get("/console/", headers={"cookie": a_forged_cookie()}).status_code)

    addresses = ["192.0.2.1"] * (GUESSERS // 2) + [f"198.51.100.{number}" for number in range(GUESSERS // 2)]
    with ThreadPoolExecutor(GUESSERS) as threads:
        guessing = [threads.submit(guess, address) for address in addresses]
        try:
            for address in ("192.0.2.1", "203.0.113.7") * bounded(5, 2):
                with from_address(web, address) as client:
                    answer = sign_in(client, "ada", PASSWORD)
                    assert answer.status_code == 303
                    assert answer.elapsed.total_seconds() < 5
                    page = client.get("/console/")
                    assert page.status_code == 200
                    assert page.elapsed.total_seconds() < 5
        finally:
            is_over.set()
        for future in guessing:
            future.result()
    assert answers == {403, 303}
    assert "client=192.0.2.1" in web.log
    assert PASSWORD not in web.log


def everything(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    return answer.status_code, [item for item in answer.headers.items() if item[0] != "date"], answer.text


@pytest.mark.bounded
def test_what_a_visitor_gets_says_nothing_of_the_password(
    web: WebProcess, tmp_path: Path, database_url: str, broker_url: str
) -> None:
    """Responses before sign-in do not depend on the password, and no guess can be verified from them."""
    with (
        web_process(
            tmp_path, database_url, broker_url, NAME="b", THREADSYNC_CONSOLE_PASSWORD="x" + PASSWORD
        ) as b,
        httpx.Client(base_url=web.url) as here,
        httpx.Client(base_url=b.url) as there,
    ):
        seen = here.get("/console/sign-in")
        word, form = here.cookies[COOKIE], token(here, "/sign-in")
        there.cookies.set(COOKIE, word)
        host = {"host": "localhost"}
        for path in ("/sign-in", "/", "/audit", "/sign-in?then=/dead", "/nowhere", "/static/console.css"):
            answers = [client.get(f"/console{path}", headers=host) for client in (here, there)]
            assert everything(answers[0]) == everything(answers[1]), path
    others = [httpx.get(f"{web.url}/console/sign-in").cookies[COOKIE] for _ in range(3)]
    assert len({word, *others}) == 4
    guesses = [f"guess-{number}" for number in range(bounded(scaled(50_000), 2_000) - 1)] + [PASSWORD]
    assert [guess for guess in guesses if fits(guess, word, form)] == []
    shown = seen.text + str(seen.headers)
    assert not any(part in shown for part in (PASSWORD, "guess-"))


def fits(guess: str, word: str, form: str) -> bool:
    """Return True if the visitor's cookie or token is a hash of the guess or made with it as the key."""
    plain = guess.encode()
    # The second is the key that the previous version's cookie had.
    keys = (plain, blake2b(plain, person=b"console-cookie").hexdigest().encode(), sha256(plain).digest())
    made = {
        hashed
        for key in keys
        for text in (b"", word.encode(), form.encode())
        for hashed in (
            hmac.new(key, text, sha256).digest(),
            sha256(key + text).digest(),
            blake2b(text, key=key[:64], digest_size=32).digest(),
        )
    }
    return not made.isdisjoint({urlsafe_b64decode(f"{word}="), bytes.fromhex(form)})


def test_a_cookie_is_of_one_installation_and_one_password(
    web: WebProcess, tmp_path: Path, database_url: str, broker_url: str
) -> None:
    """A cookie is valid for its password only, is stored only as a keyed hash, and cannot be altered."""
    with httpx.Client(base_url=web.url) as client:
        assert sign_in(client, "ada", PASSWORD).status_code == 303
        word = client.cookies[COOKIE]
    changed = web_process(
        tmp_path, database_url, broker_url, NAME="b", THREADSYNC_CONSOLE_PASSWORD="x" + PASSWORD
    )
    with changed as other:
        assert httpx.get(f"{other.url}/console/", cookies={COOKIE: word}).status_code == 303
    for forged in (word[:-1], word + "A", word.swapcase(), word[::-1], "", '"', "A" * 9_000):
        assert httpx.get(f"{web.url}/console/", cookies={COOKIE: forged}).status_code == 303
    assert httpx.get(f"{web.url}/console/", cookies={COOKIE: word}).status_code == 200
    row = ask(database_url, "SELECT to_jsonb(s) FROM console_sessions s")
    assert isinstance(row, dict)
    assert (row["name"], row["address"]) == ("ada", "127.0.0.1")
    # Neither the cookie nor a plain hash of it is stored, so the table's content opens no session.
    plain = word.encode()
    for hashed in (word, sha256(plain).hexdigest(), blake2b(plain, digest_size=32).hexdigest()):
        assert hashed not in str(row)


def test_sessions_do_not_pile_up(pool: Pool, database_url: str) -> None:
    """Expired sessions are deleted at the next sign-in or by a purge; above the limit the oldest go."""
    store = ConsoleSessionStore(pool)
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO console_sessions (id_hash, name, created_at, expires_at)"
            " SELECT sha256(n::text::bytea), 'old', now() - interval '13 hours', now() - interval '1 hour'"
            " FROM generate_series(1, 50) AS n"
        )
        assert store.find(sha256(b"1").digest()) is None
        store.begin(b"a" * 32, ConsoleSession("ada", "x" * 500))
        assert ask(database_url, "SELECT array_agg(name) FROM console_sessions") == ["ada"]
        connection.execute(
            "INSERT INTO console_sessions (id_hash, name, created_at, expires_at)"
            " SELECT sha256(n::text::bytea), 'script', now() - interval '1 hour', now() + interval '1 hour'"
            " FROM generate_series(1, 2000) AS n"
        )
        store.begin(b"b" * 32, ConsoleSession("bob", None))
        assert ask(database_url, "SELECT count(*) FROM console_sessions") == MOST_SESSIONS
        assert store.find(b"a" * 32) is not None
        assert store.find(b"b" * 32) == ConsoleSession("bob", None)
        connection.execute(
            "UPDATE console_sessions SET created_at = now() - interval '12 hours', expires_at = now()"
        )
    store.purge()
    assert ask(database_url, "SELECT count(*) FROM console_sessions") == 0


def test_a_worker_purges_sessions_that_ran_out(installation: Installation) -> None:
    """A worker deletes expired console sessions with its samples, without any sign-in."""
    url = installation.database_url
    with psycopg.connect(as_owner(url), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO console_sessions (id_hash, name, created_at, expires_at) VALUES"
            " (sha256('a'), 'ada', now() - interval '13 hours', now() - interval '1 hour'),"
            " (sha256('b'), 'bob', now(), now() + interval '1 hour')"
        )
    with installation.worker("purging") as worker:
        installation.send("maintenance.sample")
        names = "SELECT array_agg(name) FROM console_sessions"
        wait_until(lambda: ask(url, names) == ["bob"], "the old one is gone", 30)
        worker.stop()


def test_a_peer_that_is_no_proxy_is_not_believed(tmp_path: Path, database_url: str, broker_url: str) -> None:
    """Forwarding headers from a peer outside FORWARDED_ALLOW_IPS are ignored."""
    elsewhere = web_process(tmp_path, database_url, broker_url, FORWARDED_ALLOW_IPS="192.0.2.1")
    made_up = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "forwarded": "for=203.0.113.9"}
    with elsewhere as web, httpx.Client(base_url=web.url, headers=made_up) as client:
        assert "secure" not in client.get("/console/sign-in").headers["set-cookie"].lower()
        assert sign_in(client, "eve", "not-the-password").status_code == 403
        assert sign_in(client, "ada", PASSWORD).status_code == 303
        assert ask(database_url, "SELECT address FROM console_sessions") == "127.0.0.1"
        assert "client=127.0.0.1" in web.log
        assert "203.0.113.9" not in web.log


@pytest.mark.parametrize(
    "argv",
    [["uvicorn", "handlers.asgi:app", "--port", "0"], ["worker.cli", "up", "--data-dir", "data"]],
    ids=["web", "up"],
)
def test_what_serves_the_console_does_not_start_with_a_weak_password(tmp_path: Path, argv: list[str]) -> None:
    """A process that serves the console exits at once on a weak password and does not print it."""
    env = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/nowhere",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "SLACK_SIGNING_SECRET": "secret",
        "SLACK_BOT_TOKEN": "xoxb-local",
        "THREADSYNC_CONSOLE_PASSWORD": "Threadsync2026!",
    }
    done = forked.run(*argv, env={**os.environ, **env}, folder=tmp_path)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "THREADSYNC_CONSOLE_PASSWORD: it can be guessed" in said
    assert "openssl rand -base64 24" in said
    assert "Threadsync2026!" not in said
    assert not (tmp_path / "data").exists()
