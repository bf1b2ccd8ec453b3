"""The page that ``threadsync up`` shows at ``/``, with all addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>threadsync on this machine</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
  th, td {{ text-align: left; vertical-align: top; padding: .3rem 1rem .3rem 0; overflow-wrap: anywhere }}
  th {{ white-space: nowrap; font-weight: 600 }}
  small {{ display: block; opacity: .7 }}
</style>
<h1>threadsync runs on this machine</h1>
<table>
{rows}
</table>
<p>Ctrl-C where it was started stops everything; the data stays.
"""


@dataclass(frozen=True)
class Address:
    """A line of the table. ``value`` holds no password."""

    name: str
    value: str
    note: str = ""


def start_page(addresses: Iterable[Address]) -> str:
    """Render the page; addresses that a browser can open are links."""
    return _PAGE.format(rows="\n".join(map(_row, addresses)))


def without_password(url: str) -> str:
    """Leave the password out; a server given by ``NAME_FILE`` has no URL here."""
    if not url:
        return "as the environment says"
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _row(address: Address) -> str:
    value = escape(address.value)
    shown = f'<a href="{value}">{value}</a>' if address.value.startswith("http") else value
    note = f"<small>{escape(address.note)}</small>" if address.note else ""
    return f"<tr><th>{escape(address.name)}<td>{shown}{note}"
