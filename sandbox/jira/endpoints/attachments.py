"""Attachments: upload files to a ticket, read what is told of one, and its content.

A ticket shows its attachments in its fields.
"""

from __future__ import annotations

import re
from typing import Final

from sandbox.jira.endpoints.asked import KEY, Asked, Route
from sandbox.jira.issues import Attachment
from sandbox.jira.replies import Reply, error_reply, json_reply
from sandbox.jira.validation import Refusal


def _add(asked: Asked) -> Reply:
    """Attach all files of a request, or none of them.

    403: the header ``X-Atlassian-Token`` is missing. 415: no multipart request. 400: no part is called
    ``file``. 413: a file is larger than ``upload_limit``.
    """
    if asked.headers.get("x-atlassian-token", "").lower() not in ("no-check", "nocheck"):
        return Reply(403, b"XSRF check failed", {"Content-Type": "text/plain;charset=UTF-8"})
    if asked.uploads is None:
        return error_reply(415, ["Unsupported Media Type"])
    issue = asked.issue()
    if not asked.uploads:
        raise Refusal("No file was attached: the parts of the request must be called 'file'.")
    limit = asked.site.upload_limit
    for upload in asked.uploads:
        if not upload.filename:
            raise Refusal("A file has no name.")
        if len(upload.content) > limit:
            raise Refusal(
                f"The file '{upload.filename}' exceeds its maximum permitted size of {limit} bytes.",
                status=413,
            )
    added = asked.site.attach(issue.id, asked.uploads, asked.later, asked.account.id)
    return json_reply(200, [asked.answers.attachment(attachment) for attachment in added])


def _get(asked: Asked) -> Reply:
    return json_reply(200, asked.answers.attachment(_found(asked)))


def _content(asked: Asked) -> Reply:
    attachment = _found(asked)
    return Reply(200, attachment.content, {"Content-Type": attachment.content_type})


def _meta(asked: Asked) -> Reply:
    return json_reply(200, {"enabled": True, "uploadLimit": asked.site.upload_limit})


def _found(asked: Asked) -> Attachment:
    found = asked.site.attached(asked.named["attachment"])
    if found is None or not asked.site.sees(asked.account, found[0]):
        raise Refusal("The attachment does not exist or you do not have permission to see it.", status=404)
    return found[1]


_ATTACHMENT: Final = r"(?P<attachment>\d+)"

ROUTES: Final = (
    Route("POST", re.compile(f"issue/{KEY}/attachments"), "attachment.add", _add, files=True),
    Route("GET", re.compile("attachment/meta"), "attachment.meta", _meta),
    Route("GET", re.compile(f"attachment/{_ATTACHMENT}"), "attachment.get", _get),
    Route("GET", re.compile(f"attachment/content/{_ATTACHMENT}"), "attachment.content", _content),
)
