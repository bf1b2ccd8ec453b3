"""The site, the README and the pages: each is complete, and no table stands on two pages."""

from __future__ import annotations

import hashlib
import re
import runpy
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from tests.support.documents import DOCUMENTS, ROOT, blocks, name_of, read

MOST_LINES_OF_THE_README: Final = 150


# A tag of YAML names a function there, which nothing here needs.
CONFIGURATION: Final[dict[str, Any]] = yaml.safe_load(read("mkdocs.yml").replace("!!python/name:", ""))
ELSEWHERE: Final[dict[str, str]] = runpy.run_path(str(ROOT / "docs/site_hooks.py"))["ELSEWHERE"]


def pages_of(nav: list[Any]) -> Iterator[str]:
    """Yield each page that the navigation leads to."""
    for entry in nav:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from pages_of(target) if isinstance(target, list) else (target,)


def test_the_readme_is_short() -> None:
    """The README is at most as long as its limit."""
    assert len(read("README.md").splitlines()) <= MOST_LINES_OF_THE_README


def test_every_page_is_in_the_navigation_once() -> None:
    """Every page of docs/, and every document taken in from outside, is in the navigation once."""
    inside = {name_of(path).removeprefix("docs/") for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")}
    inside.discard("assets/README.md")
    pages = list(pages_of(CONFIGURATION["nav"]))
    assert sorted(pages) == sorted({*inside, *ELSEWHERE.values()})
    assert [next(iter(section)) for section in CONFIGURATION["nav"]] == [
        "Start",
        "Promises",
        "Use",
        "Operate",
        "Understand",
        "Contribute",
    ]


def test_the_readme_leads_to_every_page() -> None:
    """The README links every page of the six sections; decisions and measurements have their own index."""
    text = read("README.md")
    documents = {page: document for document, page in ELSEWHERE.items()}
    for page in pages_of(CONFIGURATION["nav"]):
        document = documents.get(page, f"docs/{page}")
        if page.startswith(("adr/0", "benchmarks/")) or document == "README.md" or page == "use/api.md":
            continue
        assert f"({document})" in text, page


def test_the_site_asks_no_other_host() -> None:
    """The site loads no fonts, scripts or styles from another host."""
    assert CONFIGURATION["theme"]["font"] is False
    assert "extra_javascript" not in CONFIGURATION
    digest = re.search(r"SHA-256\s+`([0-9a-f]{64})`", read("docs/assets/README.md"))
    assert digest
    assert hashlib.sha256((ROOT / "docs/assets/mermaid.tiny.js").read_bytes()).hexdigest() == digest[1]


def test_the_picture_of_a_thread_is_up_to_date() -> None:
    """The picture of a thread is drawn from the blocks that Slack gets, and is up to date."""
    script = runpy.run_path(str(ROOT / "docs/thread_picture.py"))
    assert script["picture"]() == read("docs/img/thread.svg"), (
        "out of date; run: python docs/thread_picture.py"
    )


def test_what_the_readme_has_of_programs_and_drawings() -> None:
    """The README has one picture, one drawing and one program."""
    languages = [block.language for block in blocks(read("README.md"))]
    assert languages.count("mermaid") == languages.count("python") == 1
    assert read("README.md").count("![") == 1


@pytest.mark.parametrize(
    "column",
    ["Name | Default", "Process | Its secrets", "check | error", "Task | Arguments", "command | absent"],
)
def test_a_table_stands_on_one_page(column: str) -> None:
    """Each generated table stands on one page: settings, secrets, checks, tasks, commands by state."""
    found = [name_of(path) for path in DOCUMENTS if f"| {column} |" in path.read_text(encoding="utf-8")]
    assert len(found) == 1
