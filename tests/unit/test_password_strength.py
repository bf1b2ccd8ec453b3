"""Passwords of the console: those refused, and those accepted."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest

from threadsync.config import load_settings
from threadsync.errors import InvalidSettings
from worker.operate.password_strength import fault_of, refuse_weak_password

OURS = {
    "public_hosts": "tickets.acme-rockets.com",
    "jira_url": "https://rocketry.atlassian.net",
    "jira_email": "wile@coyotes.example",
    "jira_project_key": "ROADRUNNER",
}


@pytest.mark.parametrize(
    "password",
    [
        "abc",
        "x7Kq-pL2m-9",
        # Spaces at the ends are not compared.
        "  x7Kq-pL2m-9  ",
        "x7Kq-pL2m-9\u2003",
        "Threadsync2026!",
        "Threadsync2026!!!",
        "threadsync-2026!",
        "ThreadsyncConsole2026!!",
        "threadsync-slack-jira-2026",
        "Thr3adsyncC0nsole2026!!",
        # Full-width letters.
        "\uff34\uff48\uff52\uff45\uff41\uff44sync2026!",
        "cnysdaerhtelosnoc1!",
        "Rocketry2026!!!!",
        "acme-Rockets-2026",
        "RoadRunner-Coyotes-1",
        "Password12345!",
        "qwertyuiop12345",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "Threadsync2026!" * 10,
        "a" * 1_025,
        "correcthorse",
        # Six signs, though twelve letters.
        "\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06",
        "\N{FACE WITH TEARS OF JOY}" * 12,
    ],
)
def test_what_can_be_guessed_is_refused(password: str) -> None:
    """A password that can be guessed is refused with advice, and not quoted."""
    settings = load_settings(threadsync_console_password=password, **OURS)
    with pytest.raises(InvalidSettings, match=r"THREADSYNC_CONSOLE_PASSWORD: it .*openssl rand") as refused:
        refuse_weak_password(settings)
    assert password not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "password",
    [
        secrets.token_urlsafe(24),
        secrets.token_hex(24),
        "correct horse battery staple",
        "pälindromes-of-42-ostriches",
        "x7Kq-pL2m-9Zt",
        "threadsync kettle ostrich 42 palindrome",
        "k" + secrets.token_hex(500),
    ],
    ids=["urlsafe", "hex", "words", "letters of elsewhere", "short", "with our name", "long"],
)
def test_what_cannot_be_guessed_is_taken(password: str) -> None:
    """A random password, or one of enough words, is accepted."""
    refuse_weak_password(load_settings(threadsync_console_password=password, **OURS))
    assert fault_of(password) is None


def test_without_a_password_nothing_is_judged() -> None:
    """Processes without the console do not load the library that judges passwords."""
    code = (
        "import sys, handlers.asgi, worker.celery, threadsync.client, worker.doctor.app;"
        "print(sorted({'zxcvbn', 'console'} & set(sys.modules)))"
    )
    env = {
        "SLACK_SIGNING_SECRET": "s",
        "SLACK_BOT_TOKEN": "xoxb-1",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
