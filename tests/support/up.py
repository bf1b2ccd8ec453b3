"""`threadsync up` for tests: a real process, whose processes are found again and end with the test."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil

from tests.support.command_runs import environment_without_servers
from tests.support.waiting import wait_until

OF_OTHERS = {"AWS_SECRET_ACCESS_KEY": "canary-aws", "POSTGRES_PASSWORD": "canary-postgres"}
"""Other secrets that a shell may have, which none of our processes uses."""

JIRA = {"JIRA_API_TOKEN": "canary-jira"}


class Up:
    """A `threadsync up` whose processes are found by a home folder that no others have."""

    def __init__(self, data_dir: Path, *arguments: str, **more: str) -> None:
        self.data_dir = data_dir
        mark = uuid.uuid4().hex
        self.home = data_dir.with_name(f"home-{mark}")
        self.home.mkdir()
        self._output = data_dir.with_name(f"output-{mark}")
        env = environment_without_servers()
        # A width at which no address is broken over two lines.
        env |= {"HOME": str(self.home), "COLUMNS": "400", **OF_OTHERS, **JIRA, **more}
        command = [sys.executable, "-m", "worker.cli", "up", "--data-dir", str(data_dir), *arguments]
        with self._output.open("w") as output:
            self.process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def env(self) -> dict[str, str]:
        """Return the variables of the file that a shell would source."""
        lines = shlex.split((self.data_dir / "env").read_text())
        return dict(line.split("=", 1) for line in lines if line != "export")

    def wait_until_ready(self) -> Up:
        wait_until(
            lambda: "Ctrl-C stops everything" in self.output or self.process.poll() is not None,
            "`up` says that it is up",
            timeout=60,
        )
        assert self.process.poll() is None, self.output
        return self

    def address(self, name: str) -> str:
        match = re.search(rf"^{name}\s+(http://\S+)", self.output, re.MULTILINE)
        assert match, self.output
        return match[1]

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_marked(process)]

    def end(self) -> None:
        """Stop `up` and all that is left of it, whatever the test's outcome."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            for process in self.processes():
                process.kill()

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("HOME") == str(self.home)
        except psutil.Error:
            return False
