"""`threadsync sessions import` as an operator runs it, through kills, stops and outages."""

from __future__ import annotations

import getpass
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import psycopg
import pytest

from tests.support import forked
from tests.support.command_runs import failure, output, run_in
from tests.support.forked import Forked
from tests.support.servers import PostgresForTests, ask
from tests.support.waiting import wait_until
from worker.db import SessionStore
from worker.local.servers.postgres import EmbeddedPostgres

Run = Callable[..., subprocess.CompletedProcess[str]]
MANY: Final = 6000
HELD_UP: Final = 1500
"""The line at which tests stop an import: a block is before it, and one behind it is at work with it."""
WAITING: Final = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def write(path: Path, *sessions: Mapping[str, Any] | bytes) -> Path:
    lines = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in sessions]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def session(thread: str, channel: str = "C1", **fields: Any) -> dict[str, Any]:
    return {"channel_id": channel, "thread_ts": thread, "user_id": "U1", **fields}


def rows(url: str) -> dict[str, Any]:
    """Return all columns of each row, by its thread."""
    found = ask(url, "SELECT json_object_agg(thread_ts, to_json(s)) FROM thread_sessions AS s")
    return found if isinstance(found, dict) else {}


def count(url: str) -> int:
    return int(str(ask(url, "SELECT count(*) FROM thread_sessions")))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of the file to import."""
    return tmp_path / "sessions.jsonl"


@pytest.fixture
def run(process_env: dict[str, str]) -> Run:
    """Run `threadsync sessions import` on this test's database."""
    return lambda *arguments: run_in(process_env, "sessions", "import", *map(str, arguments))


def test_sessions_in_every_state(run: Run, file: Path, database_url: str) -> None:
    """Each session gets the state that its line says, and the summary counts them."""
    write(
        file,
        session("1.1"),
        session("2.1", status="collecting"),
        session("3.1", status="ready_to_sync"),
        session("4.1", status="synced", jira_key="PROJ-4"),
        session("5.1", jira_key="PROJ-5"),
    )
    assert output(run(file)) == "5 lines: 5 created, 0 moved forward, 0 unchanged, 0 bad.\n"
    found = {thread: (row["status"], row["jira_key"]) for thread, row in rows(database_url).items()}
    assert found == {
        "1.1": ("collecting", None),
        "2.1": ("collecting", None),
        "3.1": ("ready_to_sync", None),
        "4.1": ("synced", "PROJ-4"),
        "5.1": ("synced", "PROJ-5"),
    }
    assert list(file.parent.iterdir()) == [file]
    kept = rows(database_url).values()
    by = {"name": getpass.getuser(), "via": "cli"}
    assert {row["thread_ts"]: (row["ready_by"], row["synced_by"]) for row in kept} == {
        "1.1": (None, None),
        "2.1": (None, None),
        "3.1": (by, None),
        "4.1": (None, by),
        "5.1": (None, by),
    }
    assert [row["opened_by"] for row in kept] == [by] * 5


def test_again_changes_nothing(run: Run, file: Path, database_url: str) -> None:
    """A second import of the same file changes nothing, not even a time."""
    write(file, session("1.1"), session("2.1", status="ready_to_sync"), session("3.1", jira_key="PROJ-3"))
    output(run(file))
    before = rows(database_url)
    assert output(run(file)) == "3 lines: 0 created, 0 moved forward, 3 unchanged, 0 bad.\n"
    assert rows(database_url) == before


def test_no_session_goes_back(run: Run, file: Path, store: SessionStore, database_url: str) -> None:
    """A session ahead of its line stays, one behind it moves, and another ticket is refused."""
    for thread in ("1.1", "2.1", "3.1"):
        store.get_or_create_session("C1", thread, "U0")
    store.mark_synced("C1", "1.1", "PROJ-1")
    store.mark_synced("C1", "3.1", "PROJ-3")
    write(file, session("1.1"), session("2.1", status="ready_to_sync"), session("3.1", jira_key="PROJ-9"))
    done = run(file)
    assert done.returncode == 1
    assert done.stdout == "3 lines: 0 created, 1 moved forward, 1 unchanged, 1 bad.\n"
    conflict = "thread 3.1 in channel C1 is already synced with PROJ-3; PROJ-9 was refused"
    assert done.stderr == f"line 3: {conflict}\n"
    found = {(row["user_id"], row["status"], row["jira_key"]) for thread, row in rows(database_url).items()}
    assert found == {("U0", "synced", "PROJ-1"), ("U0", "ready_to_sync", None), ("U0", "synced", "PROJ-3")}


def test_what_list_prints_can_be_imported(
    run: Run, file: Path, process_env: dict[str, str], store: SessionStore, postgres: PostgresForTests
) -> None:
    """The output of `sessions list` can be imported into another database, under new ids."""
    store.get_or_create_session("C1", "1.1", "U1")
    store.mark_synced("C1", "1.1", "PROJ-1")
    store.get_or_create_session("C1", "2.1", "U2")
    write(file, *json.loads(output(run_in(process_env, "sessions", "list", "--json"))))
    with postgres.database() as other_url:
        env = {**process_env, "DATABASE_URL": other_url}
        summary = json.loads(output(run_in(env, "sessions", "import", str(file), "--json")))
        assert summary["created"] == 2
        assert rows(other_url)["1.1"]["jira_key"] == "PROJ-1"


def test_bad_lines_are_named_and_the_rest_is_in(
    run: Run, file: Path, database_url: str, tmp_path: Path
) -> None:
    """Bad lines are reported with number and reason, written to `--errors`, and the rest is imported."""
    bad = [b"{", json.dumps(session("x")).encode(), b"\xff", b"[1]", b"z" * (1 << 20) + b"z"]
    lines: list[Any] = [session("1.1"), *bad, b"", session("2.1")]
    lines[0] = b"\xef\xbb\xbf" + json.dumps(lines[0]).encode() + b"\r"
    errors = tmp_path / "errors.jsonl"
    done = run(write(file, *lines), "--errors", errors)
    assert done.returncode == 1
    assert done.stdout == "7 lines: 2 created, 0 moved forward, 0 unchanged, 5 bad.\n"
    reasons = [line.split(": ", 1) for line in done.stderr.splitlines()]
    assert [number for number, _ in reasons] == [f"line {number}" for number in range(2, 7)]
    written = [json.loads(line) for line in errors.read_text().splitlines()]
    assert [(item["line"], item["reason"]) for item in written] == [
        (number, reason) for number, (_, reason) in enumerate(reasons, 2)
    ]
    assert [item["text"] for item in written[:4]] == [*(text.decode() for text in bad[:2]), "\\xff", "[1]"]
    assert sorted(rows(database_url)) == ["1.1", "2.1"]


def test_a_flood_of_bad_lines_is_not_printed(run: Run, file: Path, tmp_path: Path) -> None:
    """Only the first twenty bad lines are printed; all are counted, and written to `--errors`."""
    write(file, *[b"bad"] * 100)
    done = run(file)
    assert done.stdout == "100 lines: 0 created, 0 moved forward, 0 unchanged, 100 bad.\n"
    assert len(done.stderr.splitlines()) == 21
    assert "--errors FILE" in done.stderr.splitlines()[-1]
    errors = tmp_path / "errors.jsonl"
    assert len(run(file, "--errors", errors).stderr.splitlines()) == 20
    assert len(errors.read_text().splitlines()) == 100


def test_the_summary_for_programs(run: Run, file: Path) -> None:
    """The summary for programs is one JSON object on stdout."""
    write(file, session("1.1"), session("1.1"), b"bad")
    done = run(file, "--json")
    assert json.loads(done.stdout) == {
        "lines": 3,
        "created": 1,
        "applied": 0,
        "unchanged": 1,
        "bad": 1,
        "finished": True,
        "next_line": None,
    }


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n"], ids=["empty", "blank"])
def test_nothing_to_import(run: Run, file: Path, content: bytes) -> None:
    """An empty file is no failure."""
    file.write_bytes(content)
    assert output(run(file)) == "0 lines: 0 created, 0 moved forward, 0 unchanged, 0 bad.\n"


def test_what_cannot_be_imported(run: Run, file: Path, tmp_path: Path) -> None:
    """A wrong file or option ends with a sentence before anything is done."""
    assert "No such file" in failure(run(file))
    assert "is a directory" in failure(run(tmp_path))
    write(file, session("1.1"))
    assert "a stream cannot be resumed" in failure(run("-", "--resume"), code=2)
    assert "names the imported file" in failure(run(file, "--errors", file), code=2)
    assert "No such file" in failure(run(file, "--errors", tmp_path / "nowhere" / "errors"), code=2)
    assert json.loads(file.read_text()) == session("1.1")


def test_a_database_that_is_not_migrated(
    file: Path, process_env: dict[str, str], empty_database_url: str
) -> None:
    """An import into a database without tables fails at once, and names `threadsync migrate`."""
    env = {**process_env, "DATABASE_URL": empty_database_url}
    assert "threadsync migrate" in failure(
        run_in(env, "sessions", "import", str(write(file, session("1.1"))))
    )


class Import:
    """An import that runs in the background, with its output in files.

    Args:
        by_itself: start the program itself instead of a fork, where the process is what is tested.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        directory: Path,
        *arguments: object,
        by_itself: bool = False,
        stdin: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        folder: Path | None = None,
    ) -> None:
        number = len(list(directory.iterdir()))
        self._stdout, self._stderr = directory / f"stdout-{number}", directory / f"stderr-{number}"
        words = ["sessions", "import", *map(str, arguments)]
        self.process: Forked | subprocess.Popen[bytes]
        with self._stdout.open("wb") as told, self._stderr.open("wb") as said:
            streams: dict[str, Any] = {"stdin": stdin, "stdout": told, "stderr": stderr or said}
            if by_itself:
                argv = [sys.executable, "-m", "worker.cli", *words]
                self.process = subprocess.Popen(argv, env=env, cwd=folder, **streams)
            else:
                self.process = forked.start("worker.cli", *words, env=env, folder=folder, **streams)

    def says(self, text: str) -> None:
        """Wait until the import has printed this text."""
        wait_until(lambda: text in self._stderr.read_text(), f"the import says {text!r}", timeout=30)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, stdout and stderr."""
        code = self.process.wait(timeout=60)
        return code, self._stdout.read_text(), self._stderr.read_text()


@pytest.fixture
def start(process_env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Import]]:
    """Start an import; kill it when the test is over."""
    started: list[Import] = []

    def start(*arguments: object, env: Mapping[str, str] = process_env, **options: Any) -> Import:
        started.append(Import(env, tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        with running.process:
            pass


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A pipe's end to read and its unbuffered end to write."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


@pytest.fixture
def many(file: Path) -> Path:
    """Write a file of several blocks."""
    return write(file, *(session(f"{number}.1", f"C{number % 7}") for number in range(1, MANY + 1)))


@contextmanager
def held_up(url: str, file: Path | None = None) -> Iterator[Callable[[], None]]:
    """Block line HELD_UP by a transaction; yield a function that waits until an import is stopped there.

    An import of ``file`` has noted its place by then: one that is killed before begins anew.
    """
    noted = file and file.with_name(f"{file.name}.progress")

    def stands_there() -> bool:
        is_noted = noted is None or noted.exists()
        return is_noted and 0 < count(url) < MANY and ask(url, WAITING) == 1

    with closing(psycopg.connect(url)) as obstacle:
        obstacle.execute(
            "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES (%s, %s, 'U1')",
            [f"C{HELD_UP % 7}", f"{HELD_UP}.1"],
        )
        yield lambda: wait_until(stands_there, "the import stands there", timeout=30)


@pytest.mark.parametrize("options", [[], ["--resume"]], ids=["again", "resumed"])
def test_a_killed_import_is_started_again(
    start: Callable[..., Import], run: Run, many: Path, database_url: str, options: list[str]
) -> None:
    """A killed import continues with `--resume` and starts again without it; the rows are the same."""
    with held_up(database_url, many) as until_it_stands_there:
        running = start(many)
        until_it_stands_there()
        running.process.kill()
        assert running.end() == (-signal.SIGKILL, "", "")
    done = run(many, *options, "--json")
    assert done.returncode == 0
    assert "Starting at line 1." not in done.stderr
    assert ("Starting at line" in done.stderr) is bool(options)
    assert json.loads(done.stdout)["lines"] == MANY
    assert sorted(rows(database_url)) == sorted(f"{number}.1" for number in range(1, MANY + 1))
    assert list(many.parent.glob("*.progress")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_import_says_how_to_go_on(
    start: Callable[..., Import], run: Run, many: Path, database_url: str, number: signal.Signals
) -> None:
    """A stopped import ends its block; the next run goes on with the next line and counts everything."""
    with held_up(database_url, many) as until_it_stands_there:
        running = start(many, "--json", by_itself=True)
        until_it_stands_there()
        running.process.send_signal(number)
    code, stdout, stderr = running.end()
    stopped = json.loads(stdout)
    assert (code, stopped["finished"]) == (3, False)
    assert HELD_UP < stopped["next_line"] <= MANY
    assert stopped["created"] == count(database_url) == stopped["next_line"] - 1
    assert f"Stopped before line {stopped['next_line']}. --resume continues there" in stderr
    done = run(many, "--resume", "--json")
    assert done.stderr == f"Starting at line {stopped['next_line']}.\n"
    assert json.loads(done.stdout)["created"] == MANY == count(database_url)


def test_bad_lines_count_across_a_stop(
    start: Callable[..., Import], run: Run, many: Path, database_url: str, tmp_path: Path
) -> None:
    """The exit code and the file of errors cover the whole file, also after a stop."""
    many.write_bytes(b"bad\n" + many.read_bytes() + b"bad\n")
    errors = tmp_path / "errors"
    with held_up(database_url, many) as until_it_stands_there:
        running = start(many, "--errors", errors)
        until_it_stands_there()
        running.process.terminate()
    assert running.end()[0] == 3
    done = run(many, "--errors", errors, "--resume", "--json")
    assert (done.returncode, json.loads(done.stdout)["bad"]) == (1, 2)
    assert [json.loads(line)["line"] for line in errors.read_text().splitlines()] == [1, MANY + 2]


def test_a_changed_file_is_not_resumed(
    start: Callable[..., Import], run: Run, many: Path, database_url: str
) -> None:
    """A file that was changed is not resumed; without `--resume` it is imported from the start."""
    with held_up(database_url, many) as until_it_stands_there:
        running = start(many)
        until_it_stands_there()
        running.process.kill()
        running.end()
    many.write_bytes(b"\n" + many.read_bytes())
    assert "was changed; without --resume the import starts again" in failure(run(many, "--resume"))
    assert output(run(many)).startswith(f"{MANY} lines: ")


def test_without_a_place_for_progress(run: Run, file: Path, database_url: str) -> None:
    """A file whose progress cannot be kept is imported, with a warning that it cannot be resumed."""
    write(file, session("1.1"))
    (file.parent / "sessions.jsonl.progress").mkdir()
    done = run(file)
    assert done.returncode == 0
    assert "this import cannot be resumed" in done.stderr
    assert count(database_url) == 1


def test_a_stream(start: Callable[..., Import], database_url: str, pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    """Lines of a stream are imported as soon as they come, long before its end."""
    reader, writer = pipe
    running = start("-", stdin=reader)
    for number in range(1, 4):
        writer.write(json.dumps(session(f"{number}.1")).encode() + b"\n")
        wait_until(lambda expected=number: count(database_url) == expected, "the line is in", timeout=30)  # type: ignore[misc]
    writer.close()
    assert running.end() == (0, "3 lines: 3 created, 0 moved forward, 0 unchanged, 0 bad.\n", "")


def test_a_file_as_stdin(start: Callable[..., Import], many: Path, database_url: str) -> None:
    """A file on stdin is a stream like any other: no progress is kept beside it."""
    with many.open("rb") as stdin, held_up(database_url) as until_it_stands_there:
        running = start("-", stdin=stdin, folder=many.parent)
        until_it_stands_there()
        running.process.terminate()
    assert running.end()[0] == 3
    assert list(many.parent.glob("*progress")) == []


def test_a_stream_that_says_nothing_can_be_stopped(
    start: Callable[..., Import], database_url: str, pipe: tuple[IO[bytes], IO[bytes]]
) -> None:
    """A silent stream can be stopped, and half a line that has come is not imported."""
    reader, writer = pipe
    running = start("-", stdin=reader)
    writer.write(json.dumps(session("1.1")).encode() + b"\n{")
    wait_until(lambda: count(database_url) == 1, "the line is in", timeout=30)
    running.process.send_signal(signal.SIGINT)
    code, stdout, stderr = running.end()
    assert (code, stdout) == (3, "1 lines: 1 created, 0 moved forward, 0 unchanged, 0 bad.\n")
    assert "Stopped before line 2." in stderr


def test_an_outage_is_waited_for(
    start: Callable[..., Import], many: Path, own_postgres: EmbeddedPostgres, process_env: dict[str, str]
) -> None:
    """An import waits while Postgres is away, and then imports every line."""
    env = {**process_env, "DATABASE_URL": own_postgres.url}
    with held_up(own_postgres.url, many) as until_it_stands_there:
        running = start(many, "--json", env=env)
        until_it_stands_there()
        own_postgres.kill()
        running.says("Waiting for Postgres, 60 s at most: ")
    own_postgres.start()
    code, stdout, stderr = running.end()
    assert (code, json.loads(stdout)["lines"], json.loads(stdout)["bad"]) == (0, MANY, 0)
    assert stderr.splitlines()[1:] == ["Postgres is back."]
    assert count(own_postgres.url) == MANY


def test_an_outage_is_not_waited_for_for_ever(
    start: Callable[..., Import], many: Path, own_postgres: EmbeddedPostgres, process_env: dict[str, str]
) -> None:
    """An import that waited too long stops, names the line to continue at, and continues there."""
    env = {**process_env, "DATABASE_URL": own_postgres.url}
    with held_up(own_postgres.url, many) as until_it_stands_there:
        running = start(many, "--patience", "0.1", env=env)
        until_it_stands_there()
        own_postgres.kill()
        code, stdout, stderr = running.end()
    assert code == 3
    done = int(stdout.split()[0])
    assert 0 < done < HELD_UP
    waiting, away, stopped = stderr.splitlines()
    assert waiting.startswith("Waiting for Postgres, 0.1 s at most: ")
    assert away.startswith("Postgres is still away: ")
    assert stopped.startswith(f"Stopped before line {done + 1}. --resume continues there")
    own_postgres.start()
    assert run_in(env, "sessions", "import", str(many), "--resume").returncode == 0
    assert count(own_postgres.url) == MANY


def test_a_bar_on_a_terminal(start: Callable[..., Import], many: Path) -> None:
    """A progress bar is drawn on a terminal, and the summary still goes to stdout."""
    terminal, slave = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        with os.fdopen(slave, "wb", buffering=0) as its_side:
            running = start(many, stderr=its_side, by_itself=True)
        shown = b""
        # Linux ends a pseudo terminal with an error.
        try:
            while piece := screen.read(1 << 16):
                shown += piece
        except OSError:
            pass
    assert f"{MANY:,} lines, 0 bad".encode() in shown
    assert b"100%" in shown
    assert running.end()[:2] == (0, f"{MANY} lines: {MANY} created, 0 moved forward, 0 unchanged, 0 bad.\n")


def test_the_size_of_a_file_does_not_matter(start: Callable[..., Import], file: Path) -> None:
    """An import of a hundred megabytes, half of them one line, takes no more memory than a small one."""
    peaks = []
    for megabytes in (0, 50):
        with file.open("wb") as writing:
            writing.write(b"bad\n" * 1000)
            for _ in range(megabytes):
                writing.write((b"x" * 999 + b"\n") * 1000)
            for _ in range(megabytes):
                writing.write(b"x" * 1_000_000)
        running = start(file, by_itself=True)
        _, status, usage = os.wait4(running.process.pid, 0)
        running.process.returncode = os.waitstatus_to_exitcode(status)
        assert running.end()[0] == 1
        peaks.append(usage.ru_maxrss / 1024)
    assert peaks[1] - peaks[0] < 20
