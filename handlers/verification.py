"""Decide by headers whether to read a body, and by its bytes whether Slack sent it."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Final

from slack_sdk.signature import SignatureVerifier

from handlers.slack_clock import SlackClock

_FORM: Final = "application/x-www-form-urlencoded"
_LONGEST_CHECK: Final = 256
_FRESH_SECONDS: Final = 300
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}")
_CHECK: Final = re.compile(rb"ssl_check=1(?:&token=[A-Za-z0-9_.-]*)?|token=[A-Za-z0-9_.-]*&ssl_check=1")


class RequestVerifier:
    """The check of ``X-Slack-Signature`` over timestamp and raw body; it may be 300 s off."""

    def __init__(self, signing_secret: str) -> None:
        self._verifier = _BytesVerifier(signing_secret)
        self._clock = SlackClock()

    def fault_of(self, headers: Mapping[str, str]) -> str | None:
        """Return why such headers cannot be Slack's; None if the body must decide."""
        timestamp = headers.get("x-slack-request-timestamp", "")
        signature = headers.get("x-slack-signature", "")
        if not (_TIMESTAMP.fullmatch(timestamp) and _SIGNATURE.fullmatch(signature)):
            return "the signature or its timestamp is missing, or has another shape"
        now = time.time()
        if abs(now - int(timestamp)) > _FRESH_SECONDS:
            self._clock.doubted(int(timestamp), now)
            return f"the timestamp is more than {_FRESH_SECONDS} s off"
        return None

    def is_from_slack(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Return True if the signature is right; False for anything else in the two headers."""
        timestamp, signature = headers.get("x-slack-request-timestamp"), headers.get("x-slack-signature")
        try:
            if timestamp is None or not self._verifier.is_signed(body, timestamp, signature):
                return False
            # Also of one that is too old: our clock may be wrong.
            self._clock.heard(int(timestamp), time.time())
            return self._verifier.is_valid(body, timestamp, signature)
        # The timestamp is not a number, or out of range; the signature is not ASCII.
        except (ValueError, OverflowError, TypeError):
            return False


def may_be_certificate_check(headers: Mapping[str, str]) -> bool:
    """Return True if it may be Slack's certificate check: a short form without a signature."""
    length = headers.get("content-length", "")
    return (
        "x-slack-signature" not in headers
        and "transfer-encoding" not in headers
        and re.fullmatch("[0-9]{1,3}", length) is not None
        and int(length) <= _LONGEST_CHECK
        and headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    )


def is_certificate_check(body: bytes, headers: Mapping[str, str]) -> bool:
    """Return True for Slack's certificate check, an unsigned form with ``ssl_check=1``.

    It has no effect, so it needs no signature. The form is exactly this, with the old verification token
    at most: https://docs.slack.dev/interactivity/implementing-slash-commands.
    """
    if "x-slack-signature" in headers or len(body) > _LONGEST_CHECK:
        return False
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return False
    return _CHECK.fullmatch(body) is not None


class _BytesVerifier(SignatureVerifier):
    """A verifier of bytes: the SDK's decodes the body, and fails on signed bytes that are not UTF-8."""

    def generate_signature(self, *, timestamp: str, body: str | bytes) -> str:
        raw = body.encode() if isinstance(body, str) else body
        signed = b"v0:" + timestamp.encode() + b":" + raw
        return "v0=" + hmac.new(self.signing_secret.encode(), signed, hashlib.sha256).hexdigest()

    def is_signed(self, body: bytes, timestamp: str, signature: str | None) -> bool:
        """Return True if the signature is right, however old the request."""
        expected = self.generate_signature(timestamp=timestamp, body=body)
        return signature is not None and hmac.compare_digest(expected, signature)
