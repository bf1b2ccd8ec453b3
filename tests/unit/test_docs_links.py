"""What the documents point at is there: files, headings, tests, modules."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, anchors, code_words, links, name_of

document = pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
_OF_THE_REPOSITORY = re.compile(r"(worker|tasks|handlers|sandbox|tests|docs)/[\w./-]*|[A-Z][\w.-]+\.md")
_OF_OUR_PACKAGES = re.compile(r"(worker|tasks|handlers|sandbox)(\.\w+)+")


@document
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file of the repository, and to a heading in it where one is named."""
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
    """A promise is linked to the test that shows it; the file alone would not prove much."""
    lost = []
    for words, target in links(path.read_text(encoding="utf-8")):
        if re.fullmatch(r"`test_\w+`", words):
            source = (path.parent / target).read_text(encoding="utf-8")
            if not re.search(rf"^(async )?def {words.strip('`')}\(", source, re.MULTILINE):
                lost.append(words)
    assert lost == []


@document
def test_every_path_and_name_in_backticks_exists(path: Path) -> None:
    """`worker/durable/retry_policy.py`, `tasks/`, `worker.durable.retry_policy.decide`."""
    lost = []
    for word in code_words(path.read_text(encoding="utf-8")):
        if _OF_THE_REPOSITORY.fullmatch(word) and not (ROOT / word).exists():
            lost.append(word)
        if _OF_OUR_PACKAGES.fullmatch(word):
            try:
                pkgutil.resolve_name(word)
            except (ImportError, AttributeError):
                lost.append(word)
    assert lost == []


def test_every_decision_is_read_by_somebody() -> None:
    """A page in docs/adr/ has a number of its own, and another document leads to it."""
    pages = sorted(path.name for path in ROOT.glob("docs/adr/*.md"))
    assert [int(page[:4]) for page in pages] == list(range(1, len(pages) + 1))
    targets = {
        Path(target).name
        for path in DOCUMENTS
        for _, target in links(path.read_text(encoding="utf-8"))
        if path.parent.name != "adr"
    }
    assert set(pages) <= targets
