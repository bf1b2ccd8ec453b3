"""The lock files and their tools, with a package index; skipped where pip reaches none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from supply.audit import AUDITED
from supply.locks import locks, pins
from tests.support.wheel import install
from tests.support.workers import ROOT

pytestmark = pytest.mark.timeout(1800)
_HOLE = "CVE-2026-0001"
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the checkout, with the supply tools installed."""
    folder = tmp_path_factory.mktemp("supply") / "threadsync"
    ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", "dist")
    shutil.copytree(ROOT, folder, ignore=ignored)
    tools = folder / ".venv-supply"
    subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True, timeout=120)
    python = str(tools / "bin" / "python")
    install(python, "install", "--require-hashes", "--requirement", str(folder / "locks" / "supply.txt"))
    (tools / ".installed").touch()
    return folder


@pytest.fixture
def make(copy: Path) -> Make:
    program = shutil.which("make")
    assert program

    def make(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "--no-print-directory", *arguments],
            cwd=copy,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return make


def test_a_role_is_installed_by_its_lock(tmp_path: Path) -> None:
    """The two commands of docs/operate/supply-chain.md install a role, here the one with the largest lock."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    python = str(tmp_path / "venv" / "bin" / "python")
    install(python, "install", "--require-hashes", "--requirement", str(ROOT / "locks" / "local.txt"))
    install(python, "install", "--no-deps", "--no-build-isolation", "--no-index", str(ROOT))
    for words in (
        ["-m", "pip", "check"],
        ["-m", "worker.cli", "up", "--help"],
        ["-m", "worker.cli", "flower", "--help"],
    ):
        done = subprocess.run(
            [python, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    """pip refuses a file with another hash than the lock's."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    python = str(tmp_path / "venv" / "bin" / "python")
    install(python, "download", "--no-deps", "--dest", str(tmp_path), "editables==0.6")
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(f"editables==0.6 --hash=sha256:{'0' * 64}\n")
    done = subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "--require-hashes",
            "--no-index",
            "--find-links",
            str(tmp_path),
            "-r",
            str(wrong),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_locking_again_changes_no_version(make: Make, copy: Path) -> None:
    """Locking again changes no version in the committed files, which match pyproject.toml."""
    before = {lock.name: set(pins(lock.path.read_text(encoding="utf-8"))) for lock in locks()}
    done = make("lock")
    if done.returncode:
        pytest.skip(f"uv reaches no package index: {done.stderr[-300:]}")
    after = {name: set(pins((copy / "locks" / f"{name}.txt").read_text(encoding="utf-8"))) for name in before}
    assert after == before
    assert (copy / "constraints.txt").read_text() == (ROOT / "constraints.txt").read_text()


def test_an_index_that_is_away_leaves_the_locks_as_they_are(make: Make, copy: Path) -> None:
    """Locking without an index fails, reports that nothing was written, and leaves the locks as they are."""
    before = {path.name: path.read_bytes() for path in (copy / "locks").iterdir()}
    done = make(
        "lock", "UPGRADE=all", PIP_INDEX_URL="http://127.0.0.1:9/simple", UV_NO_CACHE="1", UV_HTTP_RETRIES="0"
    )
    assert done.returncode != 0
    assert "Nothing was written" in done.stderr
    assert {path.name: path.read_bytes() for path in (copy / "locks").iterdir()} == before


def test_the_bill_of_materials_has_what_the_image_has(make: Make, copy: Path) -> None:
    """The bill of materials, made offline, lists the image's packages with versions and hashes."""
    done = make("sbom", HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    bill = json.loads((copy / done.stdout.splitlines()[-1]).read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "threadsync"
    found = {part["name"]: part["version"] for part in bill["components"]}
    locked = {
        pin.name: pin.version for pin in pins((ROOT / "locks" / "image.txt").read_text(encoding="utf-8"))
    }
    assert found.items() <= locked.items()
    assert {"aiohttp", "celery", "psycopg", "flower"} <= set(found)
    assert all(part["externalReferences"][0]["hashes"] for part in bill["components"])


class Advisories(BaseHTTPRequestHandler):
    """Service with OSV's protocol that knows of one vulnerability."""

    holed = ""

    def do_POST(self) -> None:
        query: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]}]
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
        holes = {"vulns": [{"id": _HOLE, "affected": affected}]} if name == self.holed else {}
        body = json.dumps(holes).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def advisory_service(holed: str) -> Iterator[str]:
    """Run a service that knows of a vulnerability in this package; yield its URL."""
    handler = type("OneHole", (Advisories,), {"holed": holed})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("holed", "code"), [("", 0), ("starlette", 1), ("uv", 1)])
def test_the_audit_asks_about_every_version(make: Make, tmp_path: Path, holed: str, code: int) -> None:
    """The audit asks about every locked version, our own and the tools', and fails on a vulnerability."""
    with advisory_service(holed) as url:
        options = f"--vulnerability-service osv --osv-url {url} --cache-dir {tmp_path}"
        done = make("audit", f"AUDIT={options}")
    assert bool(done.returncode) == bool(code), done.stdout + done.stderr
    assert done.stdout.count("known holes") == len(AUDITED)
    assert "NOT AUDITED" not in done.stdout
    assert ((f"{holed} " in done.stdout) and f"{_HOLE}, mended in 9999" in done.stdout) == bool(code)


def test_an_audit_without_a_service_is_none(make: Make, tmp_path: Path) -> None:
    """An audit that reaches no service fails, and reports that nothing was audited."""
    options = f"--vulnerability-service osv --osv-url http://127.0.0.1:9/v1/query --cache-dir {tmp_path}"
    done = make("audit", f"AUDIT={options}")
    assert done.returncode != 0
    assert done.stdout.count("NOT AUDITED, the advisory service cannot be asked from here") == len(AUDITED)
