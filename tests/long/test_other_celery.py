"""The other supported Celery: it has all that we rely on, keeps the promises, and kills lose nothing."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from pathlib import Path

import celery
import pytest

from tests.support.workers import ROOT

OTHER = "5.7" if celery.__version__.startswith("5.6.") else "5.6"
PINNED = [str(path) for path in sorted((ROOT / "tests" / "unit").glob("test_pinned_*.py"))]
PROMISES = str(ROOT / "tests" / "fundamentals")
KILLS = "killed_broker or killed_worker_group"


def run(*argv: str, within: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=within, check=False)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make an environment with the other Celery, and all else from ours; return its interpreter."""
    folder = tmp_path_factory.mktemp("other-celery")
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    # Behind its own packages, so that its Celery is found first.
    (site / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n", encoding="utf-8")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = run(python, *install, f"celery=={OTHER}.*", within=300)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"Celery {OTHER} cannot be had from a package index here: {last}")
    version = run(python, "-c", "import celery; print(celery.__version__)", within=60).stdout
    assert version.startswith(OTHER)
    return python


def expect_pass(python: str, *which: str, within: float) -> None:
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *which, within=within)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_what_we_lean_on_is_there(python: str) -> None:
    """The other Celery has the undocumented names and habits on which we rely, and so have its libraries."""
    expect_pass(python, *PINNED, within=300)


@pytest.mark.timeout(600)
def test_what_is_promised_holds(python: str) -> None:
    """Workers with the other Celery keep the promises, from a command to its one ticket."""
    expect_pass(python, PROMISES, within=500)


@pytest.mark.timeout(600)
def test_kills_lose_nothing(python: str) -> None:
    """Kills of worker and broker under load lose nothing with the other Celery."""
    expect_pass(python, "tests/integration/test_worker_kills.py", "-k", KILLS, within=500)
