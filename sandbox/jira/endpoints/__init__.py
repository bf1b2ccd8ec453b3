"""The sandbox Jira's endpoints, a module for each concern."""

from __future__ import annotations

from typing import Final

from sandbox.jira.endpoints import (
    accounts,
    attachments,
    comments,
    createmeta,
    links,
    logins,
    projects,
    properties,
    search,
    service,
    tickets,
)

ROUTES: Final = (
    *createmeta.ROUTES,
    *search.ROUTES,
    *tickets.ROUTES,
    *comments.ROUTES,
    *properties.ROUTES,
    *attachments.ROUTES,
    *links.ROUTES,
    *projects.ROUTES,
    *accounts.ROUTES,
    *service.ROUTES,
)
"""Routes below ``/rest/api/{version}/``, for requests with a login."""

OPEN_ROUTES: Final = logins.ROUTES
"""Routes of the token server and of the site's edge, for anyone."""
