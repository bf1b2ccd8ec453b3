"""Programs that are forked from a process with loaded modules behave like programs that are started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import psutil
import pytest

from tests.support import forked
from tests.support.forked import Forked
from tests.support.probe_program import ENDINGS
from tests.support.waiting import wait_until

PROGRAM: Final = "tests.support.probe_program"
ENV: Final = {"PATH": os.environ["PATH"], "PYTHONPATH": str(forked.ROOT), "A": "b c"}
Process = Forked | subprocess.Popen[bytes]


def fork(ending: str, folder: Path, **streams: Any) -> Process:
    return forked.start(PROGRAM, ending, "--option", "ä", env=ENV, folder=folder, **streams)


def start(ending: str, folder: Path, **streams: IO[bytes]) -> Process:
    argv = [sys.executable, "-m", PROGRAM, ending, "--option", "ä"]
    options: dict[str, Any] = {**streams}
    return subprocess.Popen(argv, env=ENV, cwd=folder, **options)


def run(begin: Callable[..., Process], ending: str, folder: Path) -> tuple[int, str, str]:
    """Run the program with some input; return its exit code, stdout and stderr."""
    with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
        stdin.write(b"a line\nand more")
        stdin.seek(0)
        with begin(ending, folder, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            code = process.wait(timeout=30)
        stdout.seek(0)
        stderr.seek(0)
        return code, stdout.read().decode(), stderr.read().decode()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fork_is_like_a_start(ending: str, tmp_path: Path) -> None:
    """Exit code, output, environment, folder, signals and open files are those of the started program."""
    code, stdout, stderr = run(fork, ending, tmp_path)
    expected = run(start, ending, tmp_path)
    assert (code, stdout) == expected[:2]
    # Between the first line and the last there may be frames of the zygote.
    ends = (0, -1)
    assert [stderr.splitlines()[end] for end in ends] == [expected[2].splitlines()[end] for end in ends]


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Forked, Path]]:
    """A program that waits for its input, and the file of its output."""
    reading, writing = os.pipe()
    out = tmp_path / "out"
    with (
        os.fdopen(reading, "rb") as stdin,
        os.fdopen(writing, "wb", buffering=0) as writer,
        out.open("wb") as file,
        forked.start(
            PROGRAM, "waits for its input", env=ENV, stdin=stdin, stdout=file, stderr=file
        ) as process,
    ):
        writer.write(b"a line\n")
        wait_until(lambda: "before the end" in out.read_text(), "it is about to wait")
        # A signal just before would be seen only when there is input.
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING, "it waits")
        yield process, out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it(waiting: tuple[Forked, Path], number: signal.Signals) -> None:
    """A signal ends the program at once, and the exit code is the signal's."""
    process, out = waiting
    process.send_signal(number)
    assert process.wait(30) == -number
    assert "at exit" not in out.read_text()


def test_ctrl_c_raises_in_it(waiting: tuple[Forked, Path]) -> None:
    """Ctrl-C raises KeyboardInterrupt in the program, and then ends it as a signal."""
    process, out = waiting
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT
    assert "KeyboardInterrupt" in out.read_text()
    assert "at exit" in out.read_text()


def test_the_time_is_limited(waiting: tuple[Forked, Path]) -> None:
    """Waiting for a program that goes on raises TimeoutError, and a later wait goes on."""
    process, _ = waiting
    with pytest.raises(TimeoutError):
        process.wait(0.01)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    # Its number may be another's by now.
    process.kill()


@pytest.mark.parametrize("name", ["PYTHONIOENCODING", "LC_ALL", "MALLOC_ARENA_MAX"])
def test_a_variable_that_was_read_before_is_refused(name: str) -> None:
    """A variable for the interpreter or the C library is refused, as it would have no effect."""
    with pytest.raises(AssertionError, match=name):
        forked.run(PROGRAM, "returns", env={**ENV, name: "x"})
