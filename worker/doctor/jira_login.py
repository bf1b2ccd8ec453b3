"""Check the login to Jira: which it is, its scopes, and the day on which it ends. Pure but for the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from threadsync.config import Settings
from threadsync.jira_login import NAMES, Kind
from worker.doctor.finding import Finding, error, info, ok, skipped, warning
from worker.http_once import NotSent
from worker.jira.answers import AuthProblem, CallFailed, Rejected, Throttled
from worker.jira.login.client_credentials import REQUEST as TOKEN_REQUEST
from worker.jira.login.cloud_id import REQUEST as CLOUD_ID_REQUEST
from worker.jira.login.scopes import NEEDED, missing_scopes

WARN_DAYS: Final = 30
ERROR_DAYS: Final = 7

_NO_LOGIN_PAGE: Final = (
    "set JIRA_URL to the address that it redirects to, if that is Jira's; else let the worker reach Jira "
    "without the login page (of a proxy or single sign-on)"
)
_CREDENTIALS: Final[dict[Kind, str]] = {
    "classic": "correct JIRA_EMAIL and JIRA_API_TOKEN (id.atlassian.com, Security, API tokens); a token with "
    "scopes also needs JIRA_CLOUD_ID=auto",
    "scoped": "correct JIRA_EMAIL, JIRA_API_TOKEN and JIRA_CLOUD_ID; a token without scopes needs no "
    "JIRA_CLOUD_ID",
    "oauth": "correct JIRA_OAUTH_CLIENT_ID and JIRA_OAUTH_CLIENT_SECRET; the client must be allowed on the "
    "site of JIRA_CLOUD_ID",
    "datacenter": "correct JIRA_API_TOKEN (your profile in Jira, Personal access tokens)",
}
SCOPES_FIX: Final = f"give the token the scopes {', '.join(NEEDED)}"


def lacks_scope(failed: CallFailed) -> bool:
    """Return True if Jira knows the login, and its token lacks a scope for the request."""
    return isinstance(failed.answer, AuthProblem) and failed.answer.is_of_scope


def kind_of(settings: Settings) -> Kind:
    """Return the login that the settings name; a classic token where they name none."""
    return settings.jira_login.kind or "classic"


def where_it_goes(settings: Settings) -> str:
    """Describe the login, and where its requests go."""
    kind = kind_of(settings)
    address = settings.jira_api_gateway if kind in ("scoped", "oauth") else settings.jira_url
    return f"{NAMES[kind]}, at {address}"


def judge_login(failed: CallFailed, kind: Kind = "classic") -> Finding:
    """Judge a failure of ``GET /myself``, or of what must be asked before it."""
    check, answer = "jira: login", failed.answer
    match answer:
        case AuthProblem(is_of_scope=True):
            return warning(check, "the token may not ask who we are: read:jira-user is missing", SCOPES_FIX)
        case AuthProblem() if failed.request == TOKEN_REQUEST:
            return error(check, answer.why, _CREDENTIALS["oauth"])
        case AuthProblem(is_page=is_page, status=status) if is_page or 300 <= status < 400:
            return error(check, answer.why, _NO_LOGIN_PAGE)
        case AuthProblem():
            return error(check, f"Jira rejects our login ({answer.status})", _CREDENTIALS[kind])
        case Rejected(status=404 | 405 | 410):
            fix = "check that JIRA_URL and JIRA_DEPLOYMENT (cloud or datacenter) are those of your Jira"
            if kind in ("scoped", "oauth"):
                fix = "check that JIRA_CLOUD_ID is the id of JIRA_URL's site; JIRA_CLOUD_ID=auto asks for it"
            return error(check, f"there is no Jira at this address ({answer.status})", fix)
        case NotSent() if failed.request == CLOUD_ID_REQUEST:
            fix = "set JIRA_CLOUD_ID to the site's id, or check that JIRA_URL is a site of Jira Cloud"
            return error(check, answer.why, fix)
        case NotSent() if failed.request == TOKEN_REQUEST:
            fix = "check JIRA_OAUTH_TOKEN_URL, and that this machine reaches it (DNS, proxy, firewall)"
            return error(check, answer.why, fix)
        case NotSent():
            fix = "check JIRA_URL, and that this machine reaches it (DNS, proxy, firewall)"
            return error(check, answer.why, fix)
        case Throttled():
            return warning(
                check, "Jira asks us to slow down: it cannot be checked now", "try again in a minute"
            )
        case _:
            fix = "check that JIRA_URL is Jira's address, not a login page or proxy; then try again"
            return error(check, answer.why, fix)


def judge_scopes(kind: Kind, granted: frozenset[str]) -> Finding:
    """Judge the scopes, which only a token server names; a scoped token's show when they are used."""
    check = "jira: scopes"
    if kind in ("classic", "datacenter"):
        return skipped(check, f"this login has none ({NAMES[kind]})")
    needed = "; ".join(f"{scope} ({why})" for scope, why in NEEDED.items())
    if not granted:
        return info(check, f"needed are {needed}")
    if missing := missing_scopes(granted):
        return error(check, f"the client lacks {', '.join(missing)}", f"grant the client {needed}")
    return ok(check, ", ".join(NEEDED))


def judge_expiry(ends: date | None, today: date) -> Finding:
    """Judge the day on which token or client secret ends; it counts as over from its beginning."""
    check = "jira: expiry"
    if ends is None:
        return skipped(check, "JIRA_TOKEN_EXPIRES is not set")
    days = (ends - today).days
    fix = "make another token or client secret, and set it with JIRA_TOKEN_EXPIRES"
    if days <= 0:
        return error(check, f"the login ended on {ends}, says JIRA_TOKEN_EXPIRES", fix)
    what = f"the login ends in {days} day{'' if days == 1 else 's'}, on {ends}"
    if days <= ERROR_DAYS:
        return error(check, what, fix)
    return warning(check, what, fix) if days <= WARN_DAYS else ok(check, what)


def expiry(settings: Settings) -> Finding:
    """Judge ``JIRA_TOKEN_EXPIRES`` today, in UTC."""
    return judge_expiry(settings.jira_token_expires, datetime.now(UTC).date())
