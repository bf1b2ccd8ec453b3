"""The app's manifest, which asks Slack only for what the code uses."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import handlers
from handlers.app import create_app
from handlers.mapping import OPEN_SHORTCUT
from handlers.ticket_command import SLASH_COMMAND
from tests.support.slack_app import RecordingClient, settings
from worker.status_message.thread import METHODS
from worker.thread.slack import METHODS as THREAD_METHODS
from worker.thread.slack import OPTIONAL_METHODS

# Scopes that calls of the Web API and events need; https://docs.slack.dev/reference/scopes
SCOPES_OF_CALLS = {
    "auth_test": set[str](),
    "chat_getPermalink": set[str](),
    "chat_postEphemeral": {"chat:write"},
    "chat_postMessage": {"chat:write"},
    "chat_update": {"chat:write"},
    "conversations_replies": {"channels:history", "groups:history"},
    "views_open": set[str](),
    "views_update": set[str](),
}
# Calls that are made only where their scope was granted. The worker asks for a person's e-mail address, by
# which Jira knows the person.
OPTIONAL_CALLS = {
    **{method.replace(".", "_"): set(scopes) for method, scopes in OPTIONAL_METHODS.items()},
    "bots_info": {"users:read"},
    "users_info": {"users:read", "users:read.email"},
    "usergroups_list": {"usergroups:read"},
}
# Slack sends the event for the channels that one of these scopes shows.
OPTIONAL_EVENTS = {"channel_id_changed": {"channels:read", "groups:read"}}
SCOPES_OF_EVENTS = {
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
}


def read_yaml(text: str) -> Any:
    """Read the part of YAML that the manifest needs: mappings, lists, and values in one line."""
    lines = [line.split(" #")[0].rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]

    def value(word: str) -> Any:
        return {"true": True, "false": False}.get(word, word.strip('"'))

    def block(indent: int) -> Any:
        found: Any = None
        while lines and len(lines[0]) - len(lines[0].lstrip()) == indent:
            line = lines[0].lstrip()
            if line.startswith("- ") and ": " in line:
                lines[0] = " " * (indent + 2) + line[2:]
                found = [*(found or []), block(indent + 2)]
            elif line.startswith("- "):
                lines.pop(0)
                found = [*(found or []), value(line[2:])]
            else:
                lines.pop(0)
                name, _, word = line.partition(":")
                inner = value(word.strip()) if word.strip() else block(len(lines[0]) - len(lines[0].lstrip()))
                found = {**(found or {}), name: inner}
        return found

    return block(0)


@pytest.fixture(scope="module")
def manifest() -> Any:
    return read_yaml(resources.files("handlers").joinpath("manifest.yaml").read_text())


def web_api_calls() -> set[str]:
    """Return each method `….web.<method>(` in the sources, and those that the worker calls by name."""
    sources = Path(handlers.__file__).parent.glob("*.py")
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text()))]
    return {
        node.func.attr
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr == "web"
    } | {method.replace(".", "_") for method in (*METHODS, *THREAD_METHODS)}


def test_scopes_are_the_least(manifest: Any) -> None:
    """The scopes are those of the events, the Web API calls and the slash command, and no others."""
    needed = {"commands", *SCOPES_OF_EVENTS.values()}.union(
        *(SCOPES_OF_CALLS[call] for call in web_api_calls() - set(OPTIONAL_CALLS))
    )
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == needed
    assert set(manifest["oauth_config"]["scopes"]) == {"bot", "bot_optional"}
    optional = [*OPTIONAL_EVENTS.values(), *OPTIONAL_CALLS.values()]
    assert set(manifest["oauth_config"]["scopes"]["bot_optional"]) == set.union(*optional)


def test_events_are_those_with_a_listener(manifest: Any) -> None:
    """The manifest subscribes exactly to the events that the code listens to."""
    events = set(manifest["settings"]["event_subscriptions"]["bot_events"])
    assert events == set(SCOPES_OF_EVENTS) | set(OPTIONAL_EVENTS)


def test_command_and_shortcut_have_the_names_that_the_code_listens_to(manifest: Any) -> None:
    """The slash command and the shortcut have the names that the code listens to."""
    (command,) = manifest["features"]["slash_commands"]
    (shortcut,) = manifest["features"]["shortcuts"]
    assert command["command"] == SLASH_COMMAND
    assert (shortcut["callback_id"], shortcut["type"]) == (OPEN_SHORTCUT, "message")


def test_every_url_is_our_endpoint(manifest: Any) -> None:
    """Events, commands and clicks go to one URL, that of our endpoint; Socket Mode is off."""
    of_settings = manifest["settings"]
    urls = {
        manifest["features"]["slash_commands"][0]["url"],
        of_settings["event_subscriptions"]["request_url"],
        of_settings["interactivity"]["request_url"],
    }
    (url,) = urls
    paths = {getattr(route, "path", "") for route in create_app(settings(), RecordingClient()).routes}
    assert url.removeprefix("https://threadsync.example.com") in paths
    assert of_settings["interactivity"]["is_enabled"] is True
    assert of_settings["socket_mode_enabled"] is False
