"""Bodies of the sandbox Jira's responses: Cloud's in API version 3, Data Center's in version 2."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sandbox.jira.accounts import Account
from sandbox.jira.issues import Attachment, Comment, Issue, RemoteLink
from sandbox.jira.projects import IssueType
from sandbox.jira.site import JiraSite
from sandbox.jira.values import Answer, Shower


class Answers:
    """Builder of response bodies.

    Args:
        base: URL of the site.
        version: of the API, 2 or 3.
        address: URL below which the API was asked, of site or gateway; ``self`` links are there.
    """

    def __init__(self, site: JiraSite, base: str, version: str, address: str | None = None) -> None:
        self._site = site
        self.base = base
        self.rest = f"{address or base}/rest/api/{version}"
        self.is_cloud = version == "3"
        self.shower = Shower(self.rest, is_cloud=self.is_cloud)

    def created(self, issue: Issue) -> Answer:
        """Build the response to a create."""
        return {"id": issue.id, "key": issue.key, "self": f"{self.rest}/issue/{issue.id}"}

    def issue(self, issue: Issue, fields: Collection[str], properties: Collection[str]) -> Answer:
        """Show a ticket with these fields (``*navigable``: all but files) and entity properties."""
        answer: Answer = {"expand": "renderedFields,names,schema", **self.created(issue)}
        shown = self._fields(issue)
        if "*all" not in fields:
            navigable = "*navigable" in fields
            shown = {
                name: value
                for name, value in shown.items()
                if name in fields or (navigable and name != "attachment")
            }
        if shown:
            answer["fields"] = shown
        if properties:
            named = {name: value for name, value in issue.properties.items() if name in properties}
            answer["properties"] = dict(issue.properties) if "*all" in properties else named
        return answer

    def page(self, issues: Sequence[Answer], start: int, most: int, total: int) -> Answer:
        """Build the response to a search: ``issues`` from ``start`` on; ``total`` counts all."""
        if not self.is_cloud:
            return {"startAt": start, "maxResults": most, "total": total, "issues": list(issues)}
        end = start + len(issues)
        more = {"nextPageToken": str(end)} if end < total else {}
        return {"isLast": end >= total, "issues": list(issues), **more}

    def account(self, account: Account) -> Answer:
        """Show an account to others."""
        return self.shower.account(account)

    def myself(self, account: Account) -> Answer:
        """Show the account that the login belongs to, with its own address and language."""
        return {**self.account(account), "emailAddress": account.email, "locale": "en_GB"}

    def server_info(self) -> Answer:
        """Build the response that names this kind of Jira, Cloud or Server."""
        numbers = [1001, 0, 0] if self.is_cloud else [10, 3, 12]
        return {
            "baseUrl": self.base,
            "version": ".".join(map(str, numbers)),
            "versionNumbers": numbers,
            "deploymentType": "Cloud" if self.is_cloud else "Server",
            "buildNumber": 100_300,
            "serverTitle": "Sandbox",
        }

    def link(self, issue: Issue, link: RemoteLink) -> Answer:
        """Build the response to the put of a remote link."""
        return {"id": link.id, "self": f"{self.rest}/issue/{issue.key}/remotelink/{link.id}"}

    def whole_link(self, issue: Issue, link: RemoteLink) -> Answer:
        """Show a remote link in full, as a read returns it."""
        shown: Answer = {**self.link(issue, link), "object": {"url": link.url, "title": link.title}}
        return shown if link.global_id is None else {**shown, "globalId": link.global_id}

    def comment(self, issue: Issue, comment: Comment, *, with_properties: bool) -> Answer:
        """Show a comment, with its entity properties on request."""
        shown: Answer = {
            "id": str(comment.id),
            "self": f"{self.rest}/issue/{issue.key}/comment/{comment.id}",
            "body": comment.body,
            "created": _moment(comment.created),
            "updated": _moment(comment.created),
        }
        if author := self._account(comment.author):
            shown["author"] = author
        properties = [{"key": key, "value": value} for key, value in comment.properties.items()]
        return {**shown, "properties": properties} if with_properties else shown

    def attachment(self, attachment: Attachment) -> Answer:
        """Show what is told of an attachment; ``content`` is the address of the file itself."""
        shown: Answer = {
            "self": f"{self.rest}/attachment/{attachment.id}",
            "id": str(attachment.id),
            "filename": attachment.filename,
            "created": _moment(attachment.created),
            "size": len(attachment.content),
            "mimeType": attachment.content_type,
            "content": f"{self.rest}/attachment/content/{attachment.id}",
        }
        author = self._account(attachment.author)
        return {**shown, "author": author} if author else shown

    def _fields(self, issue: Issue) -> Answer:
        site, kind = self._site, self._type(issue)
        level = site.project(issue.project).level(issue.level)
        named = {"id": level.id, "name": level.name} if level else None
        shown: Answer = {
            "project": {"id": site.projects[issue.project], "key": issue.project},
            "issuetype": {
                "id": kind.id if kind else "10001",
                "name": issue.issue_type,
                "subtask": bool(kind and kind.subtask),
            },
            "summary": issue.summary,
            "description": issue.description,
            "labels": list(issue.labels),
            "created": _moment(issue.created),
            "status": {"id": "1", "name": "To Do"},
            "reporter": self._account(issue.reporter),
            "creator": self._account(issue.creator),
            "assignee": None,
            "security": named,
            "attachment": [self.attachment(attachment) for attachment in issue.attachments],
        }
        for field_id, value in issue.fields.items():
            field = kind.screen.get(field_id) if kind else None
            shown[field_id] = self.shower.value(value, field.values_are if field else "")
        return shown

    def _type(self, issue: Issue) -> IssueType | None:
        types = self._site.types_of(issue.project)
        return next((kind for kind in types if kind.name == issue.issue_type), None)

    def _account(self, account_id: str | None) -> Answer | None:
        account = self._site.accounts.find(account_id or "")
        return self.shower.account(account) if account else None


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
