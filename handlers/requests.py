"""Read what Slack says of a request beside its payload's subject: who, when, and where to reply."""

from __future__ import annotations

import time
from typing import Final

from slack_bolt.async_app import AsyncBoltRequest

from handlers.mapping import Payload
from handlers.payload import object_in

RECEIVED_AT: Final = "x-threadsync-received-at"
"""A header of Socket Mode's requests; over HTTP the signed timestamp is used."""

_LONGEST_USER: Final = 64


def retries_of(request: AsyncBoltRequest) -> str:
    """Return the number of earlier deliveries of the event; empty for the first."""
    return next(iter(request.headers.get("x-slack-retry-num", ())), "")


def sent_at(request: AsyncBoltRequest) -> str:
    """Return the time of a payload: the signed one, or in Socket Mode the time of receipt.

    The same bytes may come again within five minutes, and must not count as newer.
    """
    signed = next(iter(request.headers.get("x-slack-request-timestamp", ())), "")
    if signed.isascii() and signed.isdecimal():
        return f"{int(signed)}.000000"
    return next(iter(request.headers.get(RECEIVED_AT, ())), "") or f"{time.time():.6f}"


def user_of(body: Payload) -> str:
    """Return the id of the user; empty if the payload names none."""
    return str(object_in(body, "user").get("id") or body.get("user_id") or "")[:_LONGEST_USER]


def trigger_in(body: Payload) -> str:
    """Return the id with which a modal is opened."""
    return str(body.get("trigger_id") or "")


def response_url_in(body: Payload) -> str:
    """Return the URL to reply to; empty if the payload has none."""
    return str(body.get("response_url") or "")
