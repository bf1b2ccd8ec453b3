"""Settings of Flower: its logins and address, and the data that it shows and keeps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.command_runs import run_in
from tests.support.workers import ROOT
from threadsync.errors import InvalidSettings
from worker.operate.flower_options import is_weak, options_for

LOGIN = {"FLOWER_BASIC_AUTH": "admin:a long password", "HOME": "/home/somebody"}


def test_what_is_set_unless_told_otherwise() -> None:
    """The defaults are loopback, a bounded state that survives restarts, and columns that show our tasks."""
    options = options_for(LOGIN)
    assert options["address"] == "127.0.0.1"
    assert options["basic_auth"] == ["admin:a long password"]
    assert (options["persistent"], options["db"]) == (True, "/home/somebody/.local/state/threadsync/flower")
    assert 0 < options["max_tasks"] <= 10_000
    assert options["state_save_interval"] > 0
    assert {"kwargs", "result"} <= set(options["tasks_columns"].split(","))
    told = {"FLOWER_ADDRESS": "0.0.0.0", "FLOWER_DB": "/x", "FLOWER_MAX_TASKS": "5"}
    options = options_for({**LOGIN, **told})
    assert (options["address"], options["db"], options["max_tasks"]) == ("0.0.0.0", "/x", 5)


def test_a_login_may_come_by_file(tmp_path: Path) -> None:
    """Logins may come from a file, separated by commas; those in the environment go before it."""
    path = tmp_path / "login"
    path.write_text("ann:first password,bob:second one\n")
    assert options_for({"FLOWER_BASIC_AUTH_FILE": str(path)})["basic_auth"] == [
        "ann:first password",
        "bob:second one",
    ]
    both = {"FLOWER_BASIC_AUTH_FILE": str(path), **LOGIN}
    assert options_for(both)["basic_auth"] == ["admin:a long password"]


def test_single_sign_on_is_a_login_too() -> None:
    """Single sign-on counts as a login; Flower itself refuses to start without its provider."""
    assert "basic_auth" not in options_for({"FLOWER_AUTH": ".*@example[.]com"})


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "FLOWER_BASIC_AUTH=user:password"),
        ({"FLOWER_BASIC_AUTH": "  "}, "FLOWER_BASIC_AUTH=user:password"),
        ({"FLOWER_BASIC_AUTH": "admin"}, "user:password"),
        ({"FLOWER_BASIC_AUTH": "admin:"}, "user:password"),
        ({"FLOWER_BASIC_AUTH": ":secret"}, "user:password"),
        ({"FLOWER_BASIC_AUTH": "a:long enough,"}, "user:password"),
        ({"FLOWER_BASIC_AUTH_FILE": "/nowhere"}, "cannot read /nowhere"),
        ({**LOGIN, "FLOWER_UNAUTHENTICATED_API": "True"}, "FLOWER_UNAUTHENTICATED_API"),
        ({**LOGIN, "FLOWER_MAX_TASKS": "many"}, "FLOWER_MAX_TASKS"),
    ],
)
def test_it_does_not_start_open(env: dict[str, str], words: str) -> None:
    """Flower does not start without a complete login, with an open API, or with a malformed number."""
    with pytest.raises(InvalidSettings, match=words):
        options_for(env)


def test_the_command_says_what_to_set() -> None:
    """`threadsync flower` without a login ends with a sentence that says what to set."""
    done = run_in({"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}, "flower")
    assert done.returncode == 1
    assert "FLOWER_BASIC_AUTH=user:password" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("env", "option", "words"), [({}, "--port=1", "does not start"), (LOGIN, "--basic_auth=", "was checked")]
)
def test_the_shipped_file_refuses_too(env: dict[str, str], option: str, words: str) -> None:
    """The shipped configuration refuses an open Flower also where `celery flower` starts it."""
    config = ROOT / "worker" / "operate" / "flower_conf.py"
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "flower", f"--conf={config}", option],
        env={**env, "PYTHONPATH": str(ROOT), "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_without_a_home_folder_nothing_is_kept() -> None:
    """Flower keeps nothing without a home folder, in particular not below /tmp."""
    for env in ({}, {"HOME": ""}, {"HOME": "relative", "XDG_STATE_HOME": "relative"}):
        options = options_for({"FLOWER_BASIC_AUTH": "admin:a long password", **env})
        assert options["persistent"] is False
        assert not Path(options["db"]).is_absolute()


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_state_that_others_may_have_prepared_is_refused(mode: int, tmp_path: Path) -> None:
    """A state in a folder that others can write is refused before its pickle is read."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    folder.chmod(mode)
    done = flower_with(FLOWER_DB=str(folder / "state"))
    assert done.returncode == 1
    assert f"threadsync: FLOWER_DB: {folder} is open to others" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "flower.db").symlink_to(tmp_path / "elsewhere")
    done = flower_with(FLOWER_DB=str(folder / "flower"))
    assert done.returncode == 1
    assert "is a link" in done.stderr


@pytest.mark.parametrize("option", ["--db=/tmp/flower", "--persistent=True"])
def test_another_place_is_not_named_on_the_command_line(option: str) -> None:
    done = flower_with(option)
    assert done.returncode == 1
    assert "Flower's state by FLOWER_DB" in done.stderr


@pytest.mark.parametrize("command", ["flower", "demo"])
def test_no_module_of_the_folder_where_it_is_started_is_run(command: str, tmp_path: Path) -> None:
    """No module in the current folder is run, although it has the name of an imported one."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("celery", "worker", "tasks", "sandbox", "flower", "redis", "kombu", "gevent", "simplejson"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli", command, *(["--nonsense"] if command == "demo" else [])],
        env={
            **LOGIN,
            "PYTHONPATH": str(ROOT),
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            "FLOWER_DB": str(here / "state"),
        },
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = (2, "--nonsense") if command == "demo" else (1, f"{here} is open to others")
    assert (done.returncode, expected[1] in done.stderr) == (expected[0], True), done.stderr
    assert not (tmp_path / "ran").exists()


def flower_with(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
    config = ROOT / "worker" / "operate" / "flower_conf.py"
    given = {**LOGIN, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0", **env}
    return forked.run("celery", "-A", "worker", "flower", f"--conf={config}", *options, env=given)


def test_a_short_password_is_noticed() -> None:
    """A short password is recognised as weak."""
    assert is_weak(options_for({"FLOWER_BASIC_AUTH": "admin:short"}))
    assert not is_weak(options_for(LOGIN))
