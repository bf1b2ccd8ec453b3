"""A Jira with comments and attachments and a Slack with threads and files, as transports in virtual time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote

import httpx

API_URL: Final = "http://127.0.0.1:9/api/"
FILES_URL: Final = "http://127.0.0.1:9/files/"
TOKEN: Final = "xoxb-thread"
CANARY: Final = "ocelotcanary"
SIGN_IN: Final = b"<!DOCTYPE html><html><title>Slack</title>" + CANARY.encode() + b"</html>"

TicketFault = Literal[
    "answer lost", "never arrives", "late", "400", "403", "404", "413", "429", "503", "page"
]
_STATUS: Final[Mapping[str, int]] = {name: int(name) for name in ("400", "403", "404", "413", "429", "503")}


@dataclass
class TicketJira(httpx.AsyncBaseTransport):
    """Comments, attachments and links of tickets. ``faults`` meet the next writes, by endpoint.

    Args:
        clock: seconds.
        lateness: seconds after which a late write is made.
    """

    clock: Callable[[], float]
    lateness: float = 0.0
    gone: bool = False
    comments: list[tuple[float, Any, dict[str, Any]]] = field(default_factory=list)
    attachments: list[tuple[float, str, bytes]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[TicketFault]] = field(default_factory=dict)
    blind: int = 0
    """Number of reads that fail."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        endpoint = request.url.path.rpartition("/")[2]
        if self.gone:
            return httpx.Response(404, json={"errorMessages": ["There is no such issue."], "errors": {}})
        if request.method == "GET":
            return self._read(endpoint, request)
        match endpoint:
            case "remotelink":
                link = json.loads(content)
                url = link["object"]["url"]
                return self._write(endpoint, lambda _: self.links.update({link["globalId"]: url}), {"id": 1})
            case "comment":
                comment = json.loads(content)
                properties = {item["key"]: item["value"] for item in comment["properties"]}

                def commented(at: float) -> None:
                    self.comments.append((at, comment["body"], properties))

                return self._write(endpoint, commented, {"id": "1"}, 201)
            case "attachments":
                assert request.headers["X-Atlassian-Token"] == "no-check"
                name, body = parts_of(request.headers["Content-Type"], content)

                def attached(at: float) -> None:
                    self.attachments.append((at, name, body))

                return self._write(endpoint, attached, [{"id": "1", "filename": name}])
        raise AssertionError(request.url.path)

    @property
    def names(self) -> list[str]:
        """The names of the attachments that are there by now."""
        return [name for at, name, _ in self.attachments if at <= self.clock()]

    def _read(self, endpoint: str, request: httpx.Request) -> httpx.Response:
        if self.blind:
            self.blind -= 1
            raise httpx.ReadError("gone")
        if endpoint == "comment":
            assert request.url.params["expand"] == "properties"
            shown = [
                {"id": "1", "properties": [{"key": key, "value": value} for key, value in found.items()]}
                for at, _, found in self.comments
                if at <= self.clock()
            ]
            start = int(request.url.params["startAt"])
            return httpx.Response(200, json={"total": len(shown), "comments": shown[start:]})
        listed = [{"filename": name} for name in self.names]
        return httpx.Response(200, json={"id": "1", "key": "PROJ-1", "fields": {"attachment": listed}})

    def _write(
        self, endpoint: str, write: Callable[[float], None], answer: Any, status: int = 200
    ) -> httpx.Response:
        waiting = self.faults.get(endpoint)
        fault = waiting.pop(0) if waiting else None
        if fault in _STATUS:
            # Jira quotes what it refuses.
            said = {"errorMessages": [f"not {CANARY}"], "errors": {"comment": CANARY, "x y": CANARY}}
            return httpx.Response(_STATUS[str(fault)], json=said)
        if fault == "never arrives":
            raise httpx.ReadTimeout("no answer")
        write(self.clock() + (self.lateness if fault == "late" else 0.0))
        if fault in ("late", "answer lost"):
            raise httpx.ReadError("gone")
        if fault == "page":
            return httpx.Response(200, text="<html>", headers={"Content-Type": "text/html"})
        return httpx.Response(status, json=answer)


def parts_of(content_type: str, content: bytes) -> tuple[str, bytes]:
    """Return name and content of the one file of a form."""
    boundary = content_type.partition("boundary=")[2].encode()
    head, _, rest = content.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary)
    named = re.search(rb'name="file"; filename="([^"]*)"', head)
    assert named
    return unquote(named[1].decode()), rest[: rest.rindex(b"\r\n--" + boundary + b"--")]


@dataclass
class ThreadSlack(httpx.AsyncBaseTransport):
    """One thread with its files and people. ``away`` calls get no answer; ``missing`` scopes are lacking."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, tuple[dict[str, Any], bytes, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    page: int = 200
    away: int = 0
    busy: int = 0
    calls: list[str] = field(default_factory=list)

    def add_file(self, file_id: str, name: str, content: bytes, **change: Any) -> dict[str, Any]:
        """Add a file, and return its description for a message."""
        raw = {
            "id": file_id,
            "name": name,
            "mimetype": "application/pdf",
            "size": len(content),
            "url_private_download": f"{FILES_URL}{file_id}",
            **change,
        }
        self.files[file_id] = (raw, content, "application/pdf")
        return raw

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        form = {name: values[0] for name, values in parse_qs((await request.aread()).decode()).items()}
        method = request.url.path.rpartition("/")[2]
        self.calls.append(method)
        if self.away:
            self.away -= 1
            raise httpx.ConnectError("no route")
        if self.busy:
            self.busy -= 1
            return httpx.Response(429, headers={"Retry-After": "40"}, json={"ok": False})
        if request.url.path.startswith("/files/"):
            raw, content, kind = self.files[method]
            named = f'attachment; filename="{raw.get("name", "")}"'
            headers = {"Content-Type": kind, "Content-Disposition": named}
            return httpx.Response(200, content=content, headers=headers)
        body = self._answer(method, form)
        return httpx.Response(
            200, json={"ok": True, **body} if "error" not in body else {"ok": False, **body}
        )

    def _answer(self, method: str, form: Mapping[str, str]) -> dict[str, Any]:
        needs = {"files.info": "files:read", "users.info": "users:read"}
        if needs.get(method) in self.missing:
            return {"error": "missing_scope"}
        match method:
            case "auth.test":
                return {"user_id": "U0BOT", "bot_id": "B0BOT"}
            case "chat.getPermalink":
                place = f"{form['channel']}/p{form['message_ts'].replace('.', '')}"
                return {"permalink": f"https://acme.slack.com/archives/{place}"}
            case "conversations.replies":
                return self._replies(int(form["limit"]), int(form.get("cursor", "1")))
            case "users.info":
                name = self.names.get(form["user"])
                return {"user": {"profile": {"display_name": name}}} if name else {"error": "user_not_found"}
            case "files.info":
                return {"file": self.files[form["file"]][0]}
        return {"error": "unknown_method"}

    def _replies(self, limit: int, begin: int) -> dict[str, Any]:
        """Return the root and a page of replies, as Slack repeats the root on each page."""
        end = begin + min(limit, self.page) - 1
        more = end < len(self.messages)
        page = [*self.messages[:1], *self.messages[begin:end]]
        return {
            "messages": page,
            "has_more": more,
            "response_metadata": {"next_cursor": str(end) if more else ""},
        }


def said(ts: str, user: str, text: str, **more: Any) -> dict[str, Any]:
    """Return a message as Slack lists it."""
    return {"type": "message", "ts": ts, "user": user, "text": text, **more}
