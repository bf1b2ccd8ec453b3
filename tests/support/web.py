"""The web process, as an operator starts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from sandbox.slack.requests import TEAM_ID, SlackRequest
from tests.support.services import Process, start_service
from tests.support.slack_app import SECRET
from tests.support.waiting import wait_until
from worker.http_once import tls_context
from worker.local.readiness import answers_http
from worker.local.servers.port import free_port


class WebProcess:
    """``python -m handlers.serve``; answers when it is entered, gone when it is left."""

    child: Process

    def __init__(
        self, env: Mapping[str, str], log_path: Path, *, host: str = "127.0.0.1", prefix: Sequence[str] = ()
    ) -> None:
        self.host, self.port = host, free_port()
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._log_path = log_path
        self._prefix = prefix
        self._env = {
            "SLACK_SIGNING_SECRET": SECRET,
            "SLACK_BOT_TOKEN": "xoxb-local",
            "SLACK_TEAM_ID": TEAM_ID,
            **env,
        }

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log_path.read_text(errors="replace")

    def deliver(self, request: SlackRequest) -> httpx.Response:
        """Send it a request of Slack's."""
        url, headers = f"{self.url}/slack/events", dict(request.headers)
        return httpx.post(url, content=request.body, headers=headers, verify=tls_context())

    def __enter__(self) -> WebProcess:
        self.child = start_service(
            *("handlers.serve", "--host", self.host, "--port", str(self.port)),
            log_path=self._log_path,
            env=self._env,
            cwd=self._log_path.parent,
            prefix=self._prefix,
        )
        try:
            wait_until(
                lambda: answers_http(f"{self.url}/healthz") or self.child.poll() is not None,
                "the web process answers",
                timeout=30,
            )
            assert self.child.poll() is None, self.log
        except BaseException:
            self.child.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.kill()
