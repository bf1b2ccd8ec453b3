"""Whether a request is Slack's, decided on its bytes, before anything parses them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from slack_sdk.signature import SignatureVerifier


class RequestVerifier:
    """Checks ``X-Slack-Signature`` over timestamp and raw body; 300 s is the furthest it may be off."""

    def __init__(self, signing_secret: str) -> None:
        self._verifier = _BytesVerifier(signing_secret)

    def is_from_slack(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the signature is right; False for whatever else the two headers may hold."""
        try:
            return self._verifier.is_valid(
                body, headers.get("x-slack-request-timestamp"), headers.get("x-slack-signature")
            )
        # The timestamp is no number, or one beyond all time; the signature is not ASCII.
        except (ValueError, OverflowError, TypeError):
            return False


class _BytesVerifier(SignatureVerifier):
    """The SDK's decodes the body first; what is signed and not UTF-8 could not be told from a forgery."""

    def generate_signature(self, *, timestamp: str, body: str | bytes) -> str:
        raw = body.encode() if isinstance(body, str) else body
        signed = b"v0:" + timestamp.encode() + b":" + raw
        return "v0=" + hmac.new(self.signing_secret.encode(), signed, hashlib.sha256).hexdigest()
