"""Write the table of docs/use/settings.md from ``Settings``: ``python docs/settings_table.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import SecretStr

from threadsync.config import Settings

PAGE: Final = Path(__file__).parent / "use" / "settings.md"
BEGIN: Final = "<!-- settings: written by docs/settings_table.py -->\n"
END: Final = "<!-- end of settings -->\n"


def settings_table() -> str:
    """Return the table in Markdown, a line for each setting, in the order of the class."""
    rows = ["| Name | Default | What it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default in (None, ()) else f"`{_spelt(default)}`"
        secret = " (secret)" if SecretStr.__name__ in str(field.annotation) else ""
        rows.append(f"| `{name.upper()}` | {shown} | {field.description}{secret} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """Return the page's text with the table as it must be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{settings_table()}{END}{after}"


def _spelt(default: object) -> str:
    """Return a default as it is written into the environment."""
    return str(default).lower() if isinstance(default, bool) else str(default)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
