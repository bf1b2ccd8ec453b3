"""A Jira with golden create screens: the sandbox Jira keeps the tickets, and these say what it takes.

with GoldenJira("cloud") as jira:
    jira.show("FORMS", "10001", entries)   # a create screen
    jira.fields_of(key)                    # what a ticket was made of
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from sandbox.jira.replies import Drop, Outcome, Reply, Request, error_reply, json_reply
from sandbox.jira.routes import respond
from sandbox.jira.site import JiraSite
from tests.support.create_screens import golden
from tests.support.golden_values import People, faults
from worker.jira.answers import Deployment

_PATH: Final = re.compile(r"/rest/api/[23](?P<rest>/.*)")
_META: Final = re.compile(r"/issue/createmeta/(?P<project>[^/]+)/issuetypes(/(?P<kind>[^/]+))?")
_KEPT: Final = ("project", "issuetype", "summary", "description", "labels")
"""Fields that the sandbox keeps."""


class GoldenJira:
    """An HTTP server in a thread. It may be used by several threads, and answers without delay.

    Args:
        people: addresses of people by account: an id on Cloud, a name on a Data Center.
    """

    def __init__(
        self, deployment: Deployment, people: Mapping[str, str], groups: Sequence[str] = ("devs",)
    ) -> None:
        self.deployment: Deployment = deployment
        self.site = JiraSite()
        self.people = dict(people)
        self.groups = tuple(groups)
        self.refused: dict[str, dict[str, str]] = {}
        """What was said of the last create of a project that was refused, by field."""
        self._types = golden(f"issuetypes-{deployment}")
        self._list = "issueTypes" if deployment == "cloud" else "values"
        self.site.issue_types = {item["name"]: item["id"] for item in self._types[self._list]}
        self._screens: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._made: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(20_000)
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))

    @property
    def url(self) -> str:
        """The site's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def types(self) -> dict[str, str]:
        """Ids of the issue types that are none of sub-tasks, by name."""
        return {item["name"]: item["id"] for item in self._types[self._list] if not item["subtask"]}

    def show(self, project: str, kind: str, entries: Sequence[dict[str, Any]]) -> None:
        """Give the issue type of a project its create screen; the project comes to be with it."""
        self.site.projects.setdefault(project, str(next(self._numbers)))
        self._screens[project, kind] = list(entries)

    def fields_of(self, key: str) -> dict[str, Any]:
        """Return the fields of the create that made a ticket."""
        return self._made[key]

    def answer(self, request: Request) -> Outcome:
        """Answer a request; the sandbox answers all but what is golden."""
        path = _PATH.fullmatch(request.path)
        rest = path["rest"] if path else ""
        meta = _META.fullmatch(rest)
        if request.method == "GET" and meta:
            return self._meta(meta["project"], meta["kind"])
        if request.method == "GET" and rest in ("/project", "/project/search"):
            return self._projects(is_search=rest.endswith("search"))
        if request.method == "GET" and rest == "/user/search":
            return self._users(request.query)
        if request.method == "POST" and rest == "/issue":
            return self._create(request)
        return respond(self.site, request)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="golden-jira", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _meta(self, project: str, kind: str | None) -> Reply:
        if not any(project == known for known, _ in self._screens):
            return error_reply(404, ["No project could be found."])
        if kind is None:
            shown = {known for owner, known in self._screens if owner == project}
            types = [item for item in self._types[self._list] if item["subtask"] or item["id"] in shown]
            return json_reply(200, {**self._types, self._list: types, "total": len(types)})
        entries = self._screens.get((project, kind))
        if entries is None:
            return error_reply(400, ["The issue type is not valid for the project."])
        page = {"startAt": 0, "maxResults": 200, "total": len(entries)}
        return json_reply(200, {**page, "fields" if self.deployment == "cloud" else "values": entries})

    def _projects(self, *, is_search: bool) -> Reply:
        found = [{"id": number, "key": key, "name": key} for key, number in self.site.projects.items()]
        return json_reply(200, {"isLast": True, "values": found} if is_search else found)

    def _users(self, query: Mapping[str, str]) -> Reply:
        is_cloud = self.deployment == "cloud"
        wanted = query["query" if is_cloud else "username"]
        found = [
            {"accountId" if is_cloud else "name": name, "emailAddress": address, "active": True}
            for name, address in self.people.items()
            if wanted in address
        ]
        return json_reply(200, found)

    def _create(self, request: Request) -> Outcome:
        body = json.loads(request.body)
        fields = body["fields"]
        place = (fields["project"]["key"], str(fields["issuetype"].get("id")))
        entries = self._screens.get(place)
        if entries is None:
            return error_reply(400, errors={"issuetype": "Specify a valid issue type"})
        screen = {entry["fieldId"]: entry for entry in entries}
        people = People(self.people, self.groups, self.deployment == "cloud")
        if found := faults(screen, fields, people):
            self.refused[place[0]] = found
            return error_reply(400, errors=found)
        kept = {name: value for name, value in fields.items() if name in _KEPT}
        outcome = respond(
            self.site,
            Request(
                request.method,
                request.path,
                request.query,
                request.headers,
                json.dumps({**body, "fields": kept}).encode(),
                request.base,
            ),
        )
        if isinstance(outcome, Reply) and outcome.status == 201:
            self._made[json.loads(outcome.body)["key"]] = fields
        return outcome


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Of connections that wait; five are too few for a worker and a busy machine.
    request_queue_size = 128


def _handler_of(jira: GoldenJira) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            outcome = jira.answer(Request(self.command, url.path, query, headers, body, jira.url))
            self.close_connection = True
            if isinstance(outcome, Drop):
                return
            self.send_response(outcome.status)
            framing = {"Content-Length": str(len(outcome.body)), "Connection": "close"}
            for name, value in {**outcome.headers, **framing}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(outcome.sent)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
