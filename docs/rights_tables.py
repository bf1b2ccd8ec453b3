"""Write the tables of docs/operate/least-privilege.md from ``worker.operate.rights``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from worker.operate.rights.broker_users import NAMES, USERS, Grant, login_of
from worker.operate.rights.environment import SECRETS

PAGE: Final = Path(__file__).parent / "operate" / "least-privilege.md"


def secrets_table() -> str:
    """Return the table of secrets, a line for each process."""
    rows = ["| Process | Its secrets |", "|---|---|"]
    rows += [
        f"| `{process}` | {', '.join(f'`{name}`' for name in sorted(names))} |"
        for process, names in SECRETS.items()
    ]
    return "\n".join(rows) + "\n"


def users_table() -> str:
    """Return the table of the broker's users, a line for each grant."""
    rows = ["| User | What for | Commands | On keys, channels |", "|---|---|---|---|"]
    for user in NAMES:
        rows += [
            f"| `{login_of(user)}` | {grant.why} | {_commands(grant)} | {_places(grant)} |"
            for grant in USERS[user]
        ]
    return "\n".join(rows) + "\n"


def with_tables(text: str) -> str:
    """Return the page's text with the tables as they must be."""
    for name, content in TABLES.items():
        begin, end = f"<!-- {name}: written by docs/rights_tables.py -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{content}{end}{after}"
    return text


def _commands(grant: Grant) -> str:
    return " ".join(f"`{command.upper().replace('|', ' ')}`" for command in grant.commands)


def _places(grant: Grant) -> str:
    return " ".join(f"`{place}`" for place in (*grant.keys, *grant.channels)) or "any"


TABLES: Final[Mapping[str, str]] = {"secrets": secrets_table(), "users": users_table()}


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
