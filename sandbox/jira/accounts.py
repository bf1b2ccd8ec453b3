"""People and machines with an account of the sandbox Jira, and who of them may see a ticket. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

BOT_ID: Final = "5b10ac8d82e05b22cc7d4ef5"
"""Account of the classic token, the scoped token and the access token."""
SERVICE_ID: Final = "712020:7c1f0a52-sandbox-service"
"""Service account, to which the OAuth client belongs."""


@dataclass(frozen=True)
class Account:
    """An account.

    Args:
        id: Cloud's account id.
        name: Data Center's user name.
        shows_email: False hides the address, as a person's privacy settings do on Cloud; a search
            for the address finds the account nevertheless.
        groups: names of the groups.
    """

    id: str
    name: str
    email: str
    display_name: str
    active: bool = True
    kind: Literal["atlassian", "app", "customer"] = "atlassian"
    shows_email: bool = True
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audience:
    """The accounts that may see something: everyone, or only ``accounts`` and, if so told, its reporter."""

    everyone: bool = True
    accounts: frozenset[str] = field(default_factory=frozenset)
    reporter: bool = False

    def admits(self, account_id: str, reporter_id: str | None) -> bool:
        """Return True if the account belongs to the audience of a ticket with this reporter."""
        if self.everyone or account_id in self.accounts:
            return True
        return self.reporter and account_id == reporter_id


EVERYONE: Final = Audience()


@dataclass(frozen=True)
class SecurityLevel:
    """A level of issue security: a ticket with it is hidden from all but its audience."""

    id: str
    name: str
    audience: Audience


class AccountBook:
    """The accounts of a site by id. The ids of its people and machines do not change."""

    def __init__(self) -> None:
        self._by_id: dict[str, Account] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._by_id.values()))

    def put(self, account: Account) -> Account:
        """Add an account, or replace the one with its id."""
        self._by_id[account.id] = account
        return account

    def find(self, account_id: str) -> Account | None:
        """Return the account with this id; None if there is none."""
        return self._by_id.get(account_id)

    def named(self, name: str) -> Account | None:
        """Return the account with this user name of a Data Center; None if there is none."""
        return next((account for account in self if account.name == name), None)

    def search(self, query: str) -> list[Account]:
        """Return the active accounts of which a name or the address contains ``query``, in any case."""
        wanted = query.casefold()
        return [
            account
            for account in self
            if account.active
            and any(wanted in text.casefold() for text in (account.name, account.email, account.display_name))
        ]

    @property
    def groups(self) -> frozenset[str]:
        """The names of all groups that have a member."""
        return frozenset(group for account in self for group in account.groups)


def first_accounts(bot_email: str) -> AccountBook:
    """Return the accounts that each site has: the bot, a service account and three people."""
    book = AccountBook()
    book.put(Account(BOT_ID, "bot", bot_email, "threadsync", groups=("jira-users",)))
    service = "threadsync@serviceaccount.example.com"
    book.put(Account(SERVICE_ID, "service", service, "threadsync service", kind="app"))
    for name, display_name in (
        ("ada", "Ada Example"),
        ("grace", "Grace Example"),
        ("linus", "Linus Example"),
    ):
        email = f"{name}@example.com"
        book.put(
            Account(f"712020:sandbox-{name}", name, email, display_name, groups=("jira-users", "people"))
        )
    return book
