"""Handlers of the console's forms. Each is a POST by a signed-in operator, with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from console.access import SignIns, actor_of, flash, is_our_form, lacks_https
from console.channel_pages import ChannelPages, checked_channel
from console.door import Door
from console.pages import Pages
from console.view import View, to_path
from threadsync.channel_settings.parsing import named, parse_words
from threadsync.errors import (
    DeadLetterNotFound,
    EnqueueFailed,
    InvalidCommand,
    JiraKeyConflict,
    SyncNotChanged,
    SyncNotFound,
)
from worker.db.pool import Pool
from worker.observe.line_limit import LineLimit
from worker.operate import channel_settings, decisions
from worker.operate.decisions import LONGEST_ACTOR, Signature, signature
from worker.operate.forgetting.act import forget_channel, forget_thread, forget_user
from worker.operate.jira_directory import LookedUp

_LARGEST_FORM: Final = 16_384
_FORM_SECONDS: Final = 10
_BY_HTTPS: Final = " Use HTTPS: under this name browsers keep the sign-in cookie for HTTPS only."
_REFUSED: Final = (
    SyncNotChanged,
    SyncNotFound,
    JiraKeyConflict,
    DeadLetterNotFound,
    InvalidCommand,
    EnqueueFailed,
)

_KEPT: Final = ("reason", "key", "user", "names", "channel", "name", "value")
"""Fields that keep their values when a refused form is shown again."""

Form = Mapping[str, str]
log = structlog.get_logger("threadsync.console")
_refusals: Final = LineLimit("sign-in refused")


class Actions:
    """The handlers, over ``pool``. A refused form shows its page again, with the reason."""

    def __init__(self, pool: Pool, view: View, door: Door, sign_ins: SignIns) -> None:
        self._pool = pool
        self._view = view
        self._door = door
        self._sign_ins = sign_ins
        self._pages = Pages(pool, view)
        self._channels = ChannelPages(pool, view)

    async def sign_in(self, request: Request) -> Response:
        """Check name and password; then go back to the page that was wanted."""
        then = _path(request.query_params.get("then", "/"))
        if request.method != "POST":
            return self._view.page(request, "sign-in", then=then, name="")
        form = await _form(request)
        name = form.get("name", "").strip()
        error, status = None, HTTPStatus.OK
        if not name or len(name) > LONGEST_ACTOR or not name.isprintable():
            error, status = "Enter your name: it is recorded with your decisions.", HTTPStatus.BAD_REQUEST
        else:
            client = request.client.host if request.client else None
            opens = await self._door.opens(form.get("password", ""), client, request.is_disconnected)
            if opens:
                await self._sign_ins.begin(request, name)
                # Not by name: people may sign in with their address.
                log.info("signed in", client=client)
                return to_path(request, then)
            if _refusals.may_say():
                log.warning("sign-in refused", client=client)
            error, status = "Wrong password.", HTTPStatus.FORBIDDEN
            if opens is None:
                error, status = (
                    "Too many sign-in attempts. Try again.",
                    HTTPStatus.TOO_MANY_REQUESTS,
                )
        page = self._view.page(request, "sign-in", status, error=error, then=then, name=name)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            page.headers["Retry-After"] = "2"
        return page

    async def sign_out(self, request: Request) -> Response:
        """Sign out, for every copy of this browser's cookie."""
        await _form(request)
        await self._sign_ins.end(request)
        return to_path(request, "/sign-in")

    async def decide_sync(self, request: Request) -> Response:
        """Retry, link, unlink, give up or forget one session."""
        action = request.path_params["action"]

        def decide(form: Form, by: Signature) -> str:
            session = self._pages.find_session(request)
            match action:
                case "retry":
                    return decisions.retry(self._pool, session, by)[1]
                case "link":
                    return decisions.link(self._pool, session, form.get("key", ""), by)[1]
                case "unlink":
                    return decisions.unlink(self._pool, session, by, form.get("key") or None)[1]
                case "give-up":
                    return decisions.give_up(self._pool, session, by)[1]
                case "forget":
                    return forget_thread(self._pool, session, by).sentence()
                case _:
                    raise HTTPException(HTTPStatus.NOT_FOUND)

        path = f"/sessions/{request.path_params['id']}"
        return await self._decide(request, decide, path, self._pages.session)

    async def retry_blocked(self, request: Request) -> Response:
        """Retry all syncs that wait for a fixed configuration."""

        def decide(form: Form, by: Signature) -> str:
            count = len(decisions.retry_all_blocked(self._pool, by))
            return f"Retried: {count}. {decisions.SOON}" if count else "No sync is blocked."

        return await self._decide(request, decide, "/syncs", self._pages.syncs)

    async def settle_letter(self, request: Request) -> Response:
        """Replay or discard one dead letter."""
        action, letter_id = request.path_params["action"], request.path_params["id"]

        def decide(form: Form, by: Signature) -> str:
            match action:
                case "replay":
                    letter, task_id = decisions.replay(self._pool, letter_id, by)
                    return f"Sent {letter.task_name} again, as task {task_id}."
                case "discard":
                    return f"Discarded {decisions.discard(self._pool, letter_id, by).task_name}."
                case _:
                    raise HTTPException(HTTPStatus.NOT_FOUND)

        return await self._decide(request, decide, f"/dead/{letter_id}", self._pages.letter)

    async def configure(self, request: Request) -> Response:
        """Set or reset one setting of a channel."""
        channel_id, action = request.path_params["id"], request.path_params["action"]

        def decide(form: Form, by: Signature) -> str:
            channel, name = checked_channel(request), named(form.get("name", ""))
            match action:
                case "set":
                    # As on the command line: nothing in a form's field is an escape of Slack's.
                    wanted = parse_words([f"{name}={form.get('value', '')}"])
                    return channel_settings.change(self._pool, channel, wanted, by, LookedUp())[1]
                case "reset":
                    return channel_settings.reset(self._pool, channel, name, by)[1]
                case _:
                    raise HTTPException(HTTPStatus.NOT_FOUND)

        return await self._decide(request, decide, f"/channels/{channel_id}", self._channels.channel)

    async def forget(self, request: Request) -> Response:
        """Forget a user or a channel."""
        what = request.path_params["what"]

        def decide(form: Form, by: Signature) -> str:
            match what:
                case "user":
                    names = form.get("names", "").split(",")
                    return forget_user(self._pool, form.get("user", ""), names, by).sentence()
                case "channel":
                    return forget_channel(self._pool, form.get("channel", ""), by).sentence()
                case _:
                    raise HTTPException(HTTPStatus.NOT_FOUND)

        return await self._decide(request, decide, "/forget", self._pages.forget)

    async def _decide(
        self,
        request: Request,
        decide: Callable[[Form, Signature], str],
        path: str,
        show: Callable[..., Response],
    ) -> Response:
        actor = actor_of(request)
        if actor is None:
            return to_path(request, "/sign-in", {"then": path})
        form = await _form(request)
        try:
            address = request.client.host if request.client else None
            by = signature(actor, form.get("reason", ""), "console", address)
            said = await run_in_threadpool(lambda: decide(form, by))
        except _REFUSED as exc:
            refusal, kept = str(exc), {name: form.get(name, "") for name in _KEPT}
            status = HTTPStatus.BAD_REQUEST if isinstance(exc, InvalidCommand) else HTTPStatus.CONFLICT
            return await run_in_threadpool(lambda: show(request, refusal, status, **kept))
        # Actor and reason are in the database: what operators write is in no log.
        log.info("decided", path=request.url.path)
        flash(request, said)
        return to_path(request, path)


async def _form(request: Request) -> Form:
    """Read the fields of a form that our pages sent. Raises ``HTTPException``."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > _LARGEST_FORM:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A form has at most {_LARGEST_FORM} bytes.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request is not a form.")
    try:
        async with asyncio.timeout(_FORM_SECONDS), request.form(max_fields=10) as form:
            fields: dict[str, Any] = dict(form)
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "The form was not received in time.") from None
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form was incomplete.") from None
    if not is_our_form(request, fields.get("csrf")):
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            "This form has expired, or another site sent it. Go back, reload the page and try again."
            + (_BY_HTTPS if lacks_https(request) else ""),
        )
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _path(then: str) -> str:
    """Return ``then`` if it is a path on this site, else the overview."""
    return then if then.startswith("/") and not then.startswith(("//", "/\\")) and then.isprintable() else "/"
