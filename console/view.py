"""Render pages from templates, with what every page has: the operator's name, the last result, links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console import words
from console.access import csrf_token, flashed, visitor_of
from console.names import SlackNames
from threadsync.channel_settings.resolution import describe
from threadsync.marker import url_of
from threadsync.reasons import explain
from worker.text.thread_link import link_to_thread

_TEMPLATES: Final = Path(__file__).parent / "templates"


class View:
    """Renderer of templates. ``jira_url`` turns ticket keys into links, ``names`` Slack's ids into names."""

    def __init__(self, jira_url: str | None, names: SlackNames | None = None) -> None:
        self._jira_url = jira_url
        self.names = names or SlackNames()
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            explain=explain,
            sentence=words.sentence,
            thread_link=link_to_thread,
            made_with=describe,
            of_ts=words.of_ts,
            readable=words.readable,
        )
        self._templates.filters.update(took=words.took, svg=Markup)

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """Render one page, with the sentence of ``flash`` if there is one.

        Names that are not known yet are looked up, and the page is rendered again with those that came.
        """
        now = datetime.now(UTC)
        session = visitor_of(request).session
        named: set[str] = set()

        def name(slack_id: object) -> str | None:
            """Return the name of an id for a signed-in operator; None where the id is to be shown."""
            if session is None or not isinstance(slack_id, str):
                return None
            named.add(slack_id)
            return self.names.shown(slack_id)

        def render() -> str:
            return self._templates.get_template(f"{template}.html").render(context)

        context = {
            "page": template,
            "root": request.scope.get("root_path", ""),
            "actor": session.name if session else None,
            "csrf": csrf_token(request),
            "flash": flashed(request),
            "error": None,
            "ticket_url": self.ticket_url,
            "name": name,
            "ago": lambda moment: words.ago(moment, now),
            "exact": words.exact,
            "now": now,
            **values,
        }
        html = render()
        if self.names.look_up(named):
            html = render()
        return HTMLResponse(html, status_code=status)

    def error(self, request: Request, status: int, sentence: str) -> Response:
        """Render a page that says what was wrong."""
        title = HTTPStatus(status).phrase
        return self.page(request, "error", status, title=title, sentence_text=sentence)

    def ticket_url(self, key: str, site: str | None = None) -> str:
        """Return the URL of a ticket of ``site``; empty where no Jira is known."""
        url = url_of(site, self._jira_url)
        return f"{url}/browse/{quote(key)}" if url else ""


def to_path(request: Request, path: str, query: Mapping[str, str] | None = None) -> Response:
    """Redirect to a page, by GET."""
    search = "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items()) if query else ""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}{search}", HTTPStatus.SEE_OTHER)
