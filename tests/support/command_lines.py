"""Run many commands of ``threadsync``, each in a process of its own, and load its modules once for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """The end of a command, and what it wrote, with the ends of lines as they were."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def run_all(env: Mapping[str, str], commands: Sequence[Sequence[str]]) -> list[Done]:
    """Run them, one after the other."""
    argv = [sys.executable, "-m", "tests.support.command_lines"]
    done = subprocess.run(
        argv,
        input=json.dumps(commands).encode(),
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=30 + 30 * len(commands),
    )
    assert done.returncode == 0, done.stderr.decode()
    return [Done(*found) for found in json.loads(done.stdout)]


def _run(main: Any, arguments: Sequence[str]) -> tuple[int, str, str]:
    with TemporaryFile() as out, TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["threadsync", *arguments]
            os._exit(_code_of(main))
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), _content(out), _content(err)


def _code_of(main: Any) -> int:
    try:
        main()
        code: Any = 0
    except SystemExit as exc:
        code = exc.code
    # As the interpreter would.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _content(file: Any) -> str:
    file.seek(0)
    found: bytes = file.read()
    return found.decode()


def _serve() -> None:
    # What the commands load when they are called; nothing of it connects.
    import celery  # noqa: F401
    import psycopg  # noqa: F401
    import rich.table  # noqa: F401

    from worker.cli import main

    print(json.dumps([_run(main, arguments) for arguments in json.load(sys.stdin)]))


if __name__ == "__main__":
    _serve()
