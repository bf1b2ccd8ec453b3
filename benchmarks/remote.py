"""The harness's end of the pipe to a contender's process (``benchmarks.side``)."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, cast

from benchmarks.contender import SETTINGS
from benchmarks.entries import Entry
from benchmarks.upsert import STATEMENT
from benchmarks.worker_settings import settings_text
from worker.db.sessions.sql import GET_OR_CREATE_SESSION

_ROOT: Final = Path(__file__).parent.parent
_ANSWER_SECONDS: Final = 120


class ContenderFailed(Exception):
    """Failure of a contender to do its work; the message tells its reason."""


class Remote:
    """A contender's process.

    Args:
        env: names the servers.
        folder: of this run; keeps the logs.
    """

    def __init__(self, entry: Entry, env: Mapping[str, str], folder: Path) -> None:
        self._entry = entry
        self._log = folder / "side.log"
        self._argv = [str(entry.python), "-m", "benchmarks.side", entry.target, str(folder)]
        self._env = {
            **env,
            "PYTHONPATH": str(_ROOT),
            STATEMENT: GET_OR_CREATE_SESSION,
            SETTINGS: settings_text(env["CELERY_BROKER_URL"], env["CELERY_RESULT_BACKEND"]),
        }
        self._folder = folder

    def ask(self, request: str, seconds: float = _ANSWER_SECONDS, **arguments: Any) -> Any:
        """Send a request; return its answer. Raises ``ContenderFailed``, also without one in ``seconds``."""
        began = time.monotonic()
        too_late = threading.Timer(seconds, self._process.kill)
        too_late.start()
        try:
            self._requests.write(json.dumps({"do": request, **arguments}) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        finally:
            too_late.cancel()
        if not line:
            too_long = time.monotonic() - began >= seconds
            what = f"no answer within {seconds:g} s" if too_long else "its process ended"
            tail = self._log.read_text(errors="replace").splitlines()[-15:]
            raise ContenderFailed("\n".join([f"{request}: {what}", *tail]))
        answer = json.loads(line)
        if "fault" in answer:
            raise ContenderFailed(f"{request}: {answer['fault']}")
        return answer["answer"]

    def __enter__(self) -> Remote:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._env,
                cwd=self._folder,
                text=True,
            )
        self._requests = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # It stops its worker when the pipe ends.
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
