"""Slack's SDK for the doctor, with limits on the size and time of responses, and without redirects."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any, Final
from urllib.request import HTTPErrorProcessor, HTTPSHandler, ProxyHandler, Request, build_opener

from slack_sdk import WebClient

from worker.status_message.answers import MOST_BYTES

SECONDS: Final = 5
"""Limit for the start of a response, and for a pause in it."""

_LONGEST_SECONDS: Final = 15.0
_AT_ONCE: Final = 65_536


class BoundedClient(WebClient):
    """Client of Slack with limits: the SDK's own reads without end, and follows redirects with the token."""

    def __init__(self, token: str, base_url: str) -> None:
        super().__init__(token=token, base_url=base_url, timeout=SECONDS, retry_handlers=[])

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("SLACK_API_URL is not an HTTP address")
        proxies: Mapping[str, str] = {"http": self.proxy, "https": self.proxy} if self.proxy else {}
        opener = build_opener(_AsItIs, ProxyHandler(dict(proxies)), HTTPSHandler(context=self.ssl))
        with opener.open(req, timeout=self.timeout) as response:
            body = _read(response)
            charset = response.headers.get_content_charset() or "utf-8"
            return {"status": response.status, "headers": response.headers, "body": body.decode(charset)}


class _AsItIs(HTTPErrorProcessor):
    """Handler that returns a response of any status as it is: it follows no redirect, and reads no body."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


def _read(response: Any) -> bytes:
    body, deadline = bytearray(), monotonic() + _LONGEST_SECONDS
    while part := response.read1(_AT_ONCE):
        body += part
        if len(body) > MOST_BYTES:
            raise ValueError(f"an answer of more than {MOST_BYTES} bytes")
        if monotonic() > deadline:
            raise TimeoutError("the answer does not end")
    return bytes(body)
