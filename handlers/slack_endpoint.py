"""``POST /slack/events``: check headers, size, signature and shape, then call Bolt."""

from __future__ import annotations

from typing import Final

import structlog
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.request.payload_utils import (
    to_action,
    to_command,
    to_event,
    to_options,
    to_shortcut,
    to_step,
    to_view,
)
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from handlers.body_gate import BodyGate, BodyRefused, is_small
from handlers.bolt import NO_RETRY
from handlers.payload import MalformedPayload, parse_payload
from handlers.verification import RequestVerifier, is_certificate_check, may_be_certificate_check
from worker.observe.line_limit import LineLimit

log = structlog.get_logger(__name__)

_HOPELESS: Final = (400, 413)
_refusals: Final = LineLimit("request refused")

# The parts that Bolt reads from a payload. It trusts every shape, and responds 500 to a wrong one.
_PARTS: Final = (to_event, to_action, to_shortcut, to_options, to_command, to_view, to_step)


class SlackEndpoint:
    """The endpoint of events, commands and clicks. A redelivery is handled like a first delivery."""

    def __init__(self, app: AsyncApp, signing_secret: str, gate: BodyGate) -> None:
        self._app = app
        self._gate = gate
        self._verifier = RequestVerifier(signing_secret)

    async def handle(self, request: Request) -> Response:
        """Respond 401 not Slack's, 413 too large, 408 too slow, 400 malformed, 503 not now; else 200.

        A body is read only after plausible headers. Slack's certificate check is unsigned and has no effect.
        """
        may_be_check = may_be_certificate_check(request.headers)
        fault = None if may_be_check else self._verifier.fault_of(request.headers)
        if fault:
            return _refused(401, fault, request)
        try:
            body = await self._gate.read(request)
        except BodyRefused as exc:
            return _refused(exc.status, str(exc), request)
        if may_be_check and is_certificate_check(body, request.headers):
            return Response(status_code=200)
        if not self._verifier.is_from_slack(body, request.headers):
            return _refused(401, "the signature is missing, wrong, or too old")
        try:
            bolt_request = _as_bolt_request(body, request)
        except MalformedPayload as exc:
            return _refused(400, str(exc))
        if number := request.headers.get("x-slack-retry-num"):
            log.info("redelivery", number=number, reason=request.headers.get("x-slack-retry-reason"))
        if bolt_request.body.get("type") == "app_rate_limited":
            log.warning("slack keeps events back")
        return await self._dispatch(bolt_request)

    async def _dispatch(self, bolt_request: AsyncBoltRequest) -> Response:
        answer = await self._app.async_dispatch(bolt_request)
        headers = answer.first_headers_without_set_cookie()
        return Response(answer.body, status_code=answer.status, headers=headers)


def _as_bolt_request(body: bytes, request: Request) -> AsyncBoltRequest:
    payload = parse_payload(body, request.headers.get("content-type", ""))
    try:
        for part in _PARTS:
            part(payload)
        # This mode takes a parsed payload: Bolt's own parsing might differ from what we checked.
        return AsyncBoltRequest(body=payload, headers=dict(request.headers), mode="socket_mode")
    except Exception as exc:
        raise MalformedPayload(f"the payload has an unknown shape: {type(exc).__name__}") from exc


def _refused(status: int, reason: str, unread: Request | None = None) -> Response:
    if _refusals.may_say():
        log.warning("request refused", status=status, reason=reason)
    headers = {**NO_RETRY} if status in _HOPELESS else {}
    if unread and not is_small(unread):
        # Do not wait for the rest of the body.
        headers["connection"] = "close"
    return PlainTextResponse(reason, status_code=status, headers=headers)
