"""Targets of the documents' links and names: files, headings, tests, modules."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, anchors, code_words, links, name_of, read, table

document = pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
_FOLDERS = "threadsync|worker|tasks|handlers|console|sandbox|benchmarks|tests"
# The broker's keys and queues begin with "threadsync.", too.
_NAMES = [path.stem for path in ROOT.glob("threadsync/[a-z]*") if path.suffix != ".typed"]
_MODULES = rf"threadsync(?=\.({'|'.join(_NAMES)})\b)"
_OF_THE_REPOSITORY = re.compile(rf"({_FOLDERS}|docs|deploy|locks|supply)/[\w./-]*|[A-Z][\w.-]+\.md")
_OF_OUR_PACKAGES = re.compile(rf"({_FOLDERS.replace('threadsync', _MODULES)})(\.\w+)+")
_PAGE = re.compile(r"(?<![\w/.])(?:docs/[\w./-]+|[A-Z]{4,}\.md|benchmarks/README\.md)\b")
_EXAMPLES = {"docs/nowhere.py", "docs/adr/0"}
_MADE = re.compile(r"deploy/secrets/.*|docs/benchmarks/(quick|latest).*")
"""Paths of files that are made later, and may not be in the repository."""


@document
def test_every_link_leads_somewhere(path: Path) -> None:
    """Every link leads to a file of the repository, and to a heading in it where one is named."""
    lost = []
    for _, target in links(path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            lost.append(target)
    assert lost == []


@document
def test_every_test_that_is_named_exists(path: Path) -> None:
    """Every test that a document links by name exists in the file of the link."""
    lost = []
    for words, target in links(path.read_text(encoding="utf-8")):
        if re.fullmatch(r"`test_\w+`", words):
            source = (path.parent / target).read_text(encoding="utf-8")
            if not re.search(rf"^(async )?def {words.strip('`')}\(", source, re.MULTILINE):
                lost.append(words)
    assert lost == []


@document
def test_every_path_and_name_in_backticks_exists(path: Path) -> None:
    """Every path and dotted name in backticks exists, such as `tasks/` or `worker.durable.pool`."""
    lost = []
    for word in code_words(path.read_text(encoding="utf-8")):
        if _OF_THE_REPOSITORY.fullmatch(word) and not ((ROOT / word).exists() or _MADE.fullmatch(word)):
            lost.append(word)
        if _OF_OUR_PACKAGES.fullmatch(word) and not word.endswith(".py"):
            try:
                pkgutil.resolve_name(word)
            except (ImportError, AttributeError):
                lost.append(word)
    assert lost == []


def test_every_page_that_the_code_names_exists() -> None:
    """Every page that code, the doctor or an alert names exists, released migrations aside."""
    lost = []
    for file in tracked():
        if file.suffix in {".md", ".json", ".png", ".svg", ".js"} or file.parent.name == "migrations":
            continue
        for name in _PAGE.findall(file.read_text(encoding="utf-8", errors="replace")):
            if not (ROOT / name).exists() and not _MADE.fullmatch(name) and name not in _EXAMPLES:
                lost.append(f"{name_of(file)}: {name}")
    assert lost == []


def tracked() -> list[Path]:
    """Return the files of the repository that are text."""
    folders = [ROOT / name for name in (*_FOLDERS.split("|"), "deploy", "supply")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in [*ROOT.glob("*"), *files] if path.is_file() and "__pycache__" not in path.parts]


def test_every_decision_has_a_number_and_a_row() -> None:
    """Each page in docs/adr/ has its own number and a row in the index, and a page elsewhere leads to it."""
    pages = sorted(path.name for path in ROOT.glob("docs/adr/0*.md"))
    assert [int(page[:4]) for page in pages] == list(range(1, len(pages) + 1))
    rows = table(read("docs/adr/index.md"), "Number")
    titles = [read(f"docs/adr/{page}").partition("\n")[0] for page in pages]
    assert [f"# {number}. {title}" for number, title in rows] == [
        f"{number}. [{words}]({page})"
        for (number, _, words), page in zip((title.partition(". ") for title in titles), pages, strict=True)
    ]
    targets = {
        Path(target).name
        for path in DOCUMENTS
        for _, target in links(path.read_text(encoding="utf-8"))
        if path.parent.name != "adr"
    }
    assert set(pages) <= targets
