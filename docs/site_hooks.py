"""Hooks of mkdocs: take in documents from outside docs/, and adapt links that leave the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
ELSEWHERE: Final[Mapping[str, str]] = {
    "README.md": "index.md",
    "SECURITY.md": "operate/security.md",
    "CONTRIBUTING.md": "contribute/index.md",
    "CHANGELOG.md": "contribute/changelog.md",
    "benchmarks/README.md": "benchmarks/method.md",
}
"""Documents outside docs/, where their readers look for them, and their pages on the site."""

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_MERMAID: Final = "assets/mermaid.tiny.js"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents from outside docs/."""
    for document, page in ELSEWHERE.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links between documents at pages; what is only in the repository stays as words with its path."""
    here = page.file.src_uri
    pieces = _CODE.split(markdown)
    return "".join(piece if piece.startswith("```") else _adapted(piece, here) for piece in pieces)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Load mermaid, which is large, on pages that have a drawing."""
    if 'class="mermaid"' not in html:
        return html
    source = posixpath.relpath(_MERMAID, posixpath.dirname(page.url) or ".")
    return f'{html}\n<script src="{source}"></script>\n'


def _adapted(markdown: str, page: str) -> str:
    document = next((name for name, target in ELSEWHERE.items() if target == page), f"docs/{page}")

    def adapted(link: re.Match[str]) -> str:
        image, words, target = link.groups()
        name, hash_sign, anchor = target.partition("#")
        if not name or target.startswith(("https://", "http://")):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document), name))
        found = ELSEWHERE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found is None or found.endswith(".py"):
            return f'<span title="{path}">{words}</span>'
        relative = posixpath.relpath(found, posixpath.dirname(page) or ".")
        return f"{image}[{words}]({relative}{hash_sign}{anchor})"

    return _LINK.sub(adapted, markdown)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Find our packages from wherever mkdocs is started."""
    handlers: Any = config.plugins["mkdocstrings"].config["handlers"]
    handlers["python"]["paths"] = [str(ROOT)]
    return config
