"""When `threadsync up` runs against the sandbox Slack and Jira, and when it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from threadsync.config import Settings
from worker.local.data_dir import DataDir
from worker.local.failure import LocalServiceFailed
from worker.local.sandboxed import Kind, real_settings, sandbox_settings, uses_sandbox


@pytest.mark.parametrize(
    "name",
    [
        "SLACK_BOT_TOKEN",
        "SLACK_BOT_TOKEN_FILE",
        "SLACK_SIGNING_SECRET",
        "SLACK_APP_TOKEN",
        "SLACK_API_URL",
        "JIRA_API_TOKEN",
        "JIRA_API_TOKEN_FILE",
        "JIRA_URL",
        "JIRA_OAUTH_CLIENT_SECRET",
        "jira_api_token",
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "CELERY_BROKER_URL",
        "REDIS_URL",
        "CELERY_RESULT_BACKEND",
    ],
)
def test_real_settings_are_found(name: str) -> None:
    """A token, an address or a server of somebody's is found, however it is given."""
    assert real_settings({"PATH": "/bin", name: "x"}) == [name]
    assert real_settings({"PATH": "/bin", name: " "}) == []


def test_all_settings_of_slack_and_jira_count() -> None:
    """Every setting that begins with Slack's or Jira's name counts, also one that comes later."""
    names = [name.upper() for name in Settings.model_fields if name.startswith(("slack_", "jira_"))]
    assert real_settings(dict.fromkeys(names, "x")) == sorted(names)
    assert real_settings({"LOG_LEVEL": "INFO", "THREADSYNC_CONSOLE_PASSWORD": "x", "METRICS_PORT": "1"}) == []


@pytest.mark.parametrize(
    ("kind", "real", "expected"),
    [
        ("new", [], True),
        ("sandbox", [], True),
        ("connected", [], False),
        ("unmarked", [], False),
        ("new", ["JIRA_URL"], False),
        ("sandbox", ["JIRA_URL"], False),
    ],
)
def test_which_directories_are_the_sandboxs(kind: Kind, real: list[str], expected: bool) -> None:
    """Only a new directory, or one of the sandbox, runs against it, and only without real settings."""
    assert uses_sandbox(kind, real) is expected


def test_a_directory_knows_what_it_is_for(tmp_path: Path) -> None:
    """A directory keeps its mark; data without one are of an earlier release."""
    with DataDir(tmp_path / "data") as data:
        assert data.kind() == "new"
        (data.path / "postgres").mkdir()
        assert data.kind() == "unmarked"
        data.mark("sandbox")
        data.mark("sandbox")
        assert DataDir(tmp_path / "data").kind() == "sandbox"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [("sandbox", "connected", "threads of the playground"), ("connected", "sandbox", "with real settings")],
)
def test_real_threads_and_those_of_the_sandbox_are_apart(
    tmp_path: Path,
    first: Literal["sandbox", "connected"],
    second: Literal["sandbox", "connected"],
    words: str,
) -> None:
    """A directory of one kind is refused for the other, and stays what it was."""
    with DataDir(tmp_path / "data") as data:
        data.mark(first)
        with pytest.raises(LocalServiceFailed, match=words):
            data.mark(second)
        assert data.kind() == first


def test_the_sandboxs_settings_are_settings() -> None:
    """Each setting of the sandbox is one of ours, and would be found as a real one."""
    given = sandbox_settings(slack_api_url="a", slack_token="b", jira_url="c", jira_token="d")
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    assert real_settings(given) == sorted(given)
