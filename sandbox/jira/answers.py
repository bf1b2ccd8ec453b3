"""Bodies of the sandbox Jira's responses: Cloud's in API version 3, Data Center's in version 2."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.jira.issues import Comment, Issue, RemoteLink
from sandbox.jira.site import JiraSite, ScreenField

Answer = dict[str, Any]

_ACCOUNT_ID: Final = "5b10ac8d82e05b22cc7d4ef5"
_TEXT_FIELD: Final = "com.atlassian.jira.plugin.system.customfieldtypes:textfield"


class Answers:
    """Builder of response bodies. ``base`` is the site's URL, ``version`` that of the API: 2 or 3."""

    def __init__(self, site: JiraSite, base: str, version: str) -> None:
        self._site = site
        self._base = base
        self._rest = f"{base}/rest/api/{version}"
        self._cloud = version == "3"

    def created(self, issue: Issue) -> Answer:
        """Build the response to a create."""
        return {"id": issue.id, "key": issue.key, "self": f"{self._rest}/issue/{issue.id}"}

    def issue(self, issue: Issue, fields: Collection[str], properties: Collection[str]) -> Answer:
        """Show a ticket with these fields (all for ``*all`` and ``*navigable``) and entity properties."""
        answer: Answer = {"expand": "renderedFields,names,schema", **self.created(issue)}
        shown = self._fields(issue)
        if not {"*all", "*navigable"} & set(fields):
            shown = {name: value for name, value in shown.items() if name in fields}
        if shown:
            answer["fields"] = shown
        if properties:
            named = {name: value for name, value in issue.properties.items() if name in properties}
            answer["properties"] = dict(issue.properties) if "*all" in properties else named
        return answer

    def page(self, issues: Sequence[Answer], start: int, most: int, total: int) -> Answer:
        """Build the response to a search: ``issues`` from ``start`` on; ``total`` counts all."""
        if not self._cloud:
            return {"startAt": start, "maxResults": most, "total": total, "issues": list(issues)}
        end = start + len(issues)
        more = {"nextPageToken": str(end)} if end < total else {}
        return {"isLast": end >= total, "issues": list(issues), **more}

    def myself(self) -> Answer:
        """Show the account that the token belongs to."""
        answer: Answer = {"emailAddress": self._site.email, "displayName": "threadsync", "active": True}
        answer["timeZone"], answer["locale"] = "Etc/UTC", "en_GB"
        if self._cloud:
            link = f"{self._rest}/user?accountId={_ACCOUNT_ID}"
            return {"self": link, "accountId": _ACCOUNT_ID, "accountType": "atlassian", **answer}
        return {"self": f"{self._rest}/user?username=bot", "name": "bot", "key": "bot", **answer}

    def server_info(self) -> Answer:
        """Build the response that names this kind of Jira, Cloud or Server."""
        numbers = [1001, 0, 0] if self._cloud else [10, 3, 12]
        return {
            "baseUrl": self._base,
            "version": ".".join(map(str, numbers)),
            "versionNumbers": numbers,
            "deploymentType": "Cloud" if self._cloud else "Server",
            "buildNumber": 100_300,
            "serverTitle": "Sandbox",
        }

    def issue_types(self) -> Answer:
        """Show the issue types that a ticket can have."""
        types = [
            {"self": f"{self._rest}/issuetype/{identity}", "id": identity, "name": name, "subtask": False}
            for name, identity in self._site.issue_types.items()
        ]
        return self._create_meta("issueTypes", types)

    def screen(self) -> Answer:
        """Show the fields of the create screen."""
        return self._create_meta("fields", [_shown(*item) for item in self._site.screen.items()])

    def link(self, issue: Issue, link: RemoteLink) -> Answer:
        """Build the response to the put of a remote link."""
        return {"id": link.id, "self": f"{self._rest}/issue/{issue.key}/remotelink/{link.id}"}

    def whole_link(self, issue: Issue, link: RemoteLink) -> Answer:
        """Show a remote link in full, as a read returns it."""
        shown: Answer = {**self.link(issue, link), "object": {"url": link.url, "title": link.title}}
        return shown if link.global_id is None else {**shown, "globalId": link.global_id}

    def comment(self, issue: Issue, comment: Comment, *, with_properties: bool) -> Answer:
        """Show a comment, with its entity properties on request."""
        shown: Answer = {
            "id": str(comment.id),
            "self": f"{self._rest}/issue/{issue.key}/comment/{comment.id}",
            "body": comment.body,
        }
        properties = [{"key": key, "value": value} for key, value in comment.properties.items()]
        return {**shown, "properties": properties} if with_properties else shown

    def _fields(self, issue: Issue) -> Answer:
        site = self._site
        return {
            "project": {"id": site.projects[issue.project], "key": issue.project},
            "issuetype": {"id": site.issue_types.get(issue.issue_type, "10001"), "name": issue.issue_type},
            "summary": issue.summary,
            "description": issue.description,
            "labels": list(issue.labels),
            "created": _moment(issue.created),
        }

    def _create_meta(self, name: str, items: Sequence[Answer]) -> Answer:
        """Build a page of create metadata; Data Center calls the items of each kind ``values``."""
        page: Answer = {"maxResults": 50, "startAt": 0, "total": len(items)}
        return {**page, name: items} if self._cloud else {**page, "isLast": True, "values": items}


def _shown(field_id: str, field: ScreenField) -> Answer:
    schema: Answer = {"type": field.type}
    if field_id.startswith("customfield_"):
        schema |= {"custom": _TEXT_FIELD, "customId": int(field_id.removeprefix("customfield_"))}
    else:
        schema["system"] = field_id
    if field.type == "array":
        schema["items"] = "string"
    return {
        "required": field.required,
        "schema": schema,
        "name": field.name,
        "key": field_id,
        "hasDefaultValue": field.has_default,
        "operations": ["set"],
        "fieldId": field_id,
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
