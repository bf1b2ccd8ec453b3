"""Values of fields as the sandbox Jira shows them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sandbox.jira.accounts import Account
from sandbox.jira.fields import Choice, Chosen

Answer = dict[str, Any]

_OPTIONS: Final = ("option", "option-with-child")


class Shower:
    """Builder of values for one API. ``rest`` is its URL, ``is_cloud`` is True for version 3."""

    def __init__(self, rest: str, *, is_cloud: bool) -> None:
        self.rest = rest
        self.is_cloud = is_cloud

    def value(self, value: Any, kind: str) -> Any:
        """Show a value that `sandbox.jira.field_values` has read; ``kind`` is its type, or its elements'."""
        match value:
            case Account():
                return self.account(value)
            case Choice():
                return self.choice(value, kind)
            case Chosen(parent, child):
                shown = self.choice(Choice(parent.id, parent.text), kind)
                return shown if child is None else {**shown, "child": self.choice(child, kind)}
            case list() | tuple():
                return [self.value(item, kind) for item in value]
        return {"name": value} if kind == "group" else value

    def choices(self, choices: Iterable[Choice], kind: str) -> list[Answer]:
        """Show the allowed values of a field; Cloud leaves out those that cannot be chosen any more."""
        return [self.choice(choice, kind) for choice in choices if not (self.is_cloud and choice.disabled)]

    def choice(self, choice: Choice, kind: str) -> Answer:
        """Show a choice: an option has a value and maybe children, all other kinds have a name."""
        if kind not in _OPTIONS:
            return self._named(choice, kind)
        shown: Answer = {
            "self": f"{self.rest}/customFieldOption/{choice.id}",
            "value": choice.text,
            "id": choice.id,
        }
        if not self.is_cloud:
            shown["disabled"] = choice.disabled
        if choice.children:
            shown["children"] = self.choices(choice.children, kind)
        return shown

    def _named(self, choice: Choice, kind: str) -> Answer:
        shown: Answer = {"self": f"{self.rest}/{kind}/{choice.id}", "id": choice.id, "name": choice.text}
        match kind:
            case "priority":
                return {**shown, "iconUrl": f"{self.rest}/icon/priority/{choice.id}"}
            case "version":
                return {**shown, "archived": choice.disabled, "released": False}
        return shown

    def account(self, account: Account) -> Answer:
        """Show an account, by its account id or its user name."""
        shown: Answer = {"displayName": account.display_name, "active": account.active}
        shown["timeZone"] = "Etc/UTC"
        if account.shows_email or not self.is_cloud:
            shown["emailAddress"] = account.email
        if self.is_cloud:
            link = f"{self.rest}/user?accountId={account.id}"
            return {"self": link, "accountId": account.id, "accountType": account.kind, **shown}
        link = f"{self.rest}/user?username={account.name}"
        return {"self": link, "name": account.name, "key": account.name, **shown}
