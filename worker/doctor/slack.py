"""Check that Slack accepts our token, and that it has the scopes we need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from slack_sdk.errors import SlackApiError

from threadsync.config import LOCAL_TOKEN, Settings
from threadsync.errors import InvalidSettings
from worker.db.pool import connect_arguments
from worker.db.status_messages.sql import COUNT_UNSAID, TROUBLE
from worker.doctor.clocks import judge_clock, of_header
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.doctor.optional_scopes import judge_optional_scopes
from worker.doctor.slack_client import BoundedClient

CHECKS: Final = (
    "slack: signing secret",
    "slack: token",
    "slack: scopes",
    "slack: optional scopes",
    "slack: app token",
    "slack: workspace",
    "slack: app",
    "slack: people",
    "slack: clock",
    "slack: messages",
)
_BEHIND_TOKEN: Final = (
    *("slack: scopes", "slack: optional scopes", "slack: clock", "slack: workspace", "slack: app"),
    "slack: people",
)
_REACH: Final = "check that this machine reaches Slack (proxy, firewall), and SLACK_API_URL"
NEEDED_SCOPES: Final = ("app_mentions:read", "channels:history", "groups:history", "chat:write", "commands")
"""The scopes of handlers/manifest.yaml."""

USERS_READ: Final = "users:read"
_SECRET: Final = re.compile(r"[0-9a-f]{32}")
_SHORTEST_SECRET: Final = 16
_INSTALL: Final = (
    "Slack's app page, OAuth & Permissions: reinstall the app, and copy the Bot User OAuth Token"
)


def examine_slack(settings: Settings) -> Iterator[Finding]:
    """Ask ``auth.test``, and ``apps.connections.open`` where Socket Mode is set; post nothing."""
    token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else None
    secret = settings.slack_signing_secret.get_secret_value() if settings.slack_signing_secret else None
    if token == LOCAL_TOKEN:
        fix = "set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET to your app's"
        yield warning("slack: token", "Slack is not connected: nothing is posted", fix)
        yield from (skipped(check, "Slack is not connected") for check in CHECKS if check != "slack: token")
        return
    app_token = settings.slack_app_token.get_secret_value() if settings.slack_app_token else None
    yield judge_secret(secret, over_socket=app_token is not None)
    kind = judge_kind(token)
    if kind or token is None:
        yield kind or error("slack: token", "SLACK_BOT_TOKEN is not set", _INSTALL)
        yield from (skipped(check, "there is no token to check with") for check in _BEHIND_TOKEN)
    else:
        yield from _examine_token(token, settings)
    yield _examine_app_token(app_token, settings.slack_api_url)
    yield _examine_messages(settings)


def _examine_token(token: str, settings: Settings) -> Iterator[Finding]:
    asked = datetime.now(UTC)
    client = _client(token, settings.slack_api_url)
    try:
        answer = client.auth_test()
    except SlackApiError as exc:
        yield judge_error("slack: token", str(exc.response.get("error")))
        yield from (skipped(check, "Slack refuses the token") for check in _BEHIND_TOKEN)
        return
    # A network's faults: urllib's errors, time-outs, a response that is not JSON.
    except Exception as exc:  # noqa: BLE001
        yield error("slack: token", f"Slack does not answer ({type(exc).__name__})", _REACH)
        yield from (skipped(check, "Slack does not answer") for check in _BEHIND_TOKEN)
        return
    answered = datetime.now(UTC)
    yield ok("slack: token", f"{answer.get('user') or 'the bot'} in {answer.get('team') or 'its workspace'}")
    headers = {name.lower(): value for name, value in (answer.headers or {}).items()}
    yield judge_scopes(headers.get("x-oauth-scopes"))
    yield judge_optional_scopes(headers.get("x-oauth-scopes"))
    theirs = of_header(headers.get("date"))
    if theirs is None:
        yield skipped("slack: clock", "its response has no date")
    else:
        # The header is cut to the second.
        yield judge_clock("slack: clock", "Slack", theirs, asked - timedelta(seconds=1), answered)
    scopes = {scope.strip() for scope in (headers.get("x-oauth-scopes") or "").split(",")}
    theirs_ids = (answer.get("team_id"), answer.get("enterprise_id"))
    yield judge_workspace(settings.slack_team_id, *theirs_ids)
    app_id = _app_of(client, str(answer.get("bot_id"))) if USERS_READ in scopes else None
    yield judge_app(settings.slack_app_id, settings.app_of_token, app_id)
    yield judge_people(settings.who_may_act, may_ask=USERS_READ in scopes)


def _app_of(client: Any, bot_id: str) -> str | None:
    try:
        return str(client.bots_info(bot=bot_id)["bot"]["app_id"])
    # Without it the app is simply not known.
    except Exception:  # noqa: BLE001
        return None


def judge_workspace(pinned: str | None, team_id: str | None, enterprise_id: str | None) -> Finding:
    """Compare SLACK_TEAM_ID with the token's workspace."""
    check = "slack: workspace"
    if pinned is None:
        return ok(check, f"{team_id}, as Slack says; payloads of other workspaces are dropped")
    if pinned in (team_id, enterprise_id):
        return ok(check, f"{pinned}; payloads of other workspaces are dropped")
    fix = f"set SLACK_TEAM_ID to {team_id}, or use the SLACK_BOT_TOKEN of the other workspace"
    return error(check, f"SLACK_TEAM_ID is {pinned}, and the token belongs to {team_id}", fix)


def judge_app(pinned: str | None, of_token: str | None, of_slack: str | None) -> Finding:
    """Judge which app is ours; without that only the signing secret tells, which is one app's."""
    check = "slack: app"
    known = {app_id for app_id in (pinned, of_token, of_slack) if app_id}
    if not known:
        return warning(
            check,
            "our app's ID is unknown, so only the signing secret protects from payloads of other apps",
            "set SLACK_APP_ID (Slack's app page, Basic Information), or grant users:read",
        )
    if len(known) > 1:
        told = " and ".join(sorted(known))
        return error(
            check, f"settings and tokens belong to different apps: {told}", "copy all from one app's page"
        )
    return ok(check, f"{known.pop()}; payloads of other apps are dropped")


def judge_people(who_may_act: str, *, may_ask: bool) -> Finding:
    """Judge who may act: guests can be recognised only with users:read."""
    check = "slack: people"
    if who_may_act == "everyone":
        return ok(check, "everyone may act, including guests and people of other organisations")
    if not may_ask:
        fix = "grant users:read (OAuth & Permissions) and reinstall the app, or set WHO_MAY_ACT=everyone"
        return warning(check, "guests count as members: the token lacks users:read", fix)
    return ok(check, "members may act; guests and people of other organisations may not")


def _examine_app_token(token: str | None, api_url: str) -> Finding:
    check = "slack: app token"
    if token is None:
        return skipped(check, "SLACK_APP_TOKEN is not set: requests come over HTTP, not by Socket Mode")
    fix = "Slack's app page, Basic Information: an App-Level Token with connections:write"
    if not token.startswith("xapp-"):
        return error(check, "SLACK_APP_TOKEN is not an app-level token (xapp-…)", fix)
    try:
        _client(token, api_url).apps_connections_open(app_token=token)
    except SlackApiError as exc:
        return error(check, f"Slack says {exc.response.get('error')}", fix)
    except Exception as exc:  # noqa: BLE001 - as above
        return error(
            check, f"Slack does not answer ({type(exc).__name__})", "check that this machine reaches Slack"
        )
    return ok(check, "Socket Mode can be opened")


def _examine_messages(settings: Settings) -> Finding:
    check = "slack: messages"
    if not settings.database_url:
        return skipped(check, "DATABASE_URL is not set")
    try:
        arguments = connect_arguments(settings.database_url.get_secret_value())
        with psycopg.connect(**{**arguments, "row_factory": dict_row}) as connection:
            trouble = connection.execute(TROUBLE).fetchone()
            counted = connection.execute(COUNT_UNSAID).fetchone()
    # The checks of the database say what is wrong.
    except (psycopg.Error, InvalidSettings):
        return skipped(check, "Postgres does not answer, or is not migrated")
    return judge_messages(trouble, counted or {"unsaid": 0, "refused": 0})


def judge_messages(trouble: Mapping[str, Any] | None, counted: Mapping[str, int]) -> Finding:
    """Judge the workers' last attempts to post: a token may be refused there, and not here."""
    check = "slack: messages"
    if trouble is not None:
        since = f"since {trouble['trouble_since']:%Y-%m-%d %H:%M} UTC"
        told = f"Slack has refused our messages {since}: {trouble['trouble']}"
        return error(check, f"{told}; {counted['unsaid']} are waiting, none is lost", _INSTALL)
    if counted["refused"]:
        told = f"Slack refuses {counted['refused']} of our messages, each for its own reason"
        return warning(
            check,
            told,
            "threadsync syncs show has the reason; usually the app must be invited to the channel",
        )
    return ok(check, "Slack accepts our messages")


def _client(token: str, api_url: str) -> Any:
    return BoundedClient(token, api_url)


def judge_secret(secret: str | None, *, over_socket: bool = False) -> Finding:
    """Judge the form of the signing secret: only a request from Slack could prove it wrong."""
    check = "slack: signing secret"
    fix = "Slack's app page, Basic Information, Signing Secret: copy it into SLACK_SIGNING_SECRET"
    if secret is None:
        if over_socket:
            return skipped(check, "Socket Mode does not need it")
        return error(check, "SLACK_SIGNING_SECRET is not set: no request can be verified", fix)
    if secret.startswith(("xox", "xapp")):
        return error(check, "SLACK_SIGNING_SECRET holds a token", fix)
    if len(secret) < _SHORTEST_SECRET or not secret.isprintable() or " " in secret:
        return error(check, "SLACK_SIGNING_SECRET is not one: it has 32 hexadecimal digits", fix)
    if not _SECRET.fullmatch(secret):
        return warning(check, "it does not look like one: they have 32 hexadecimal digits", fix)
    return ok(check, "it has the right form")


def judge_kind(token: str | None) -> Finding | None:
    """Judge the kind of token; None for a bot's."""
    if token is None or token.startswith("xoxb-"):
        return None
    kinds = {"xoxp-": "a user's token", "xapp-": "an app-level token", "xoxe": "a token to configure apps"}
    kind = next(
        (name for start, name in kinds.items() if token.startswith(start)), "not a bot token (xoxb-…)"
    )
    return error("slack: token", f"SLACK_BOT_TOKEN is {kind}", _INSTALL)


def judge_error(check: str, name: str) -> Finding:
    """Judge the name of Slack's error: https://docs.slack.dev/reference/methods/auth.test."""
    if name in ("ratelimited", "internal_error", "fatal_error", "service_unavailable"):
        return warning(check, f"Slack says {name}: it cannot be checked now", "try again in a minute")
    return error(check, f"Slack says {name}", _INSTALL)


def judge_scopes(header: str | None) -> Finding:
    """Judge the response's ``x-oauth-scopes``."""
    check = "slack: scopes"
    if header is None:
        return skipped(check, "Slack does not say which scopes the token has")
    have = {scope.strip() for scope in header.split(",")}
    missing = [scope for scope in NEEDED_SCOPES if scope not in have]
    if missing:
        fix = f"Slack's app page, OAuth & Permissions: add {', '.join(missing)}, and reinstall the app"
        return error(check, f"the token lacks {', '.join(missing)}", fix)
    return ok(check, ", ".join(NEEDED_SCOPES))
