"""Services that die, hang or leave children behind, under the supervisor."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until
from worker.local.failure import LocalServiceFailed
from worker.local.servers.valkey import EmbeddedValkey
from worker.local.service import CommandService
from worker.local.supervisor import Supervisor

WAITS = "import threading; print('here', flush=True); threading.Event().wait()"
HAS_A_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WAITS!r}])
print("child", child.pid, flush=True)
child.wait()
"""
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS
NOTES_ITS_END = """
import pathlib, signal, sys, threading
def end(*_):
    with pathlib.Path(sys.argv[1]).open("a") as file:
        file.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("here", flush=True)
while True:
    signal.pause()
"""

MEETS_ANOTHER = """
import pathlib, signal, sys, time
folder, name, other = pathlib.Path(sys.argv[1]), *sys.argv[2:]
def meet(where):
    (folder / f"{name}.{where}").touch()
    while not (folder / f"{other}.{where}").exists():
        time.sleep(0.01)
def end(*_):
    meet("end")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
meet("start")
print("here", flush=True)
while True:
    signal.pause()
"""

MakeService = Callable[..., CommandService]


@pytest.fixture
def make_service(tmp_path: Path) -> MakeService:
    def make(name: str, code: str, *arguments: str, says: str = "here", grace: float = 10) -> CommandService:
        service = CommandService(
            name,
            [sys.executable, "-c", code, *arguments],
            log_path=tmp_path / f"{name}.log",
            ready=lambda _: says in service.log_tail(),
            grace=grace,
        )
        return service

    return make


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor(first_pause=0.02) as supervisor:
        yield supervisor


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_service_that_is_killed_comes_back(supervisor: Supervisor, make_service: MakeService) -> None:
    """After SIGKILL a service runs again as another process, and the others are left alone."""
    supervisor.start(make_service("first", WAITS), make_service("second", WAITS))
    first, second = supervisor["first"].pid, supervisor["second"].pid
    supervisor["first"].kill()
    wait_until(lambda: supervisor["first"].pid not in {None, first}, "the first is back")
    assert supervisor["second"].pid == second


def test_a_killed_database_comes_back_on_its_port(supervisor: Supervisor, tmp_path: Path) -> None:
    """A killed embedded server comes back at the same URL."""
    valkey = EmbeddedValkey(tmp_path / "valkey")
    supervisor.start(valkey)
    url, pid = valkey.url, valkey.pid
    valkey.kill()
    wait_until(lambda: valkey.pid not in {None, pid}, "Valkey is back")
    assert valkey.url == url


def test_what_keeps_dying_ends_everything(
    supervisor: Supervisor, make_service: MakeService, tmp_path: Path
) -> None:
    """The fifth death within a minute stops all services, and the error shows the dead one's log."""
    steady = make_service("steady", WAITS)
    argv = [sys.executable, "-c", "raise SystemExit('no such file')"]
    dying = CommandService("dying", argv, log_path=tmp_path / "dying.log")
    supervisor.start(steady, dying)
    with pytest.raises(LocalServiceFailed, match=r"(?s)dying died 5 times within 60 s.*no such file"):
        supervisor.wait()
    supervisor.stop()
    assert steady.poll() is not None
    assert (tmp_path / "dying.log").read_text().count("no such file") == 5


def test_stopping_goes_backwards(supervisor: Supervisor, make_service: MakeService, tmp_path: Path) -> None:
    """Services stop in reverse order of their start, each by its stop signal."""
    diary = tmp_path / "diary"
    for name in ("database", "worker", "web"):
        supervisor.start(make_service(name, NOTES_ITS_END, str(diary), name))
    supervisor.stop()
    assert diary.read_text().split() == ["web", "worker", "database"]
    assert [service.poll() for service in supervisor] == [0, 0, 0]


def test_services_of_one_rank_start_and_stop_together(
    supervisor: Supervisor, make_service: MakeService, tmp_path: Path
) -> None:
    """Services of one rank start and stop together, so that each can wait for the other."""
    pair = [
        make_service(name, MEETS_ANOTHER, str(tmp_path), name, other)
        for name, other in (("one", "two"), ("two", "one"))
    ]
    supervisor.start(*pair)
    supervisor.stop()
    assert [service.poll() for service in pair] == [0, 0]


def test_a_start_that_fails_gives_up_those_beside_it(
    supervisor: Supervisor, make_service: MakeService
) -> None:
    """A failed start raises its own error and stops the services that start beside it."""
    slow = make_service("slow", WAITS, says="never said")
    with pytest.raises(LocalServiceFailed, match="broken did not start"):
        supervisor.start(slow, make_service("broken", "raise SystemExit(4)"))
    assert slow.pid is None


def test_children_do_not_outlive_their_service(supervisor: Supervisor, make_service: MakeService) -> None:
    """The children of a killed service are gone before it is started again."""
    service = make_service("parent", HAS_A_CHILD, says="child")
    supervisor.start(service)
    parent = service.pid
    child = int(service.log_tail().split("child ")[1].split()[0])
    psutil.Process(parent).kill()
    wait_until(lambda: service.pid not in {None, parent}, "the parent is back")
    assert not is_alive(child)


def test_a_deaf_service_is_killed_after_its_grace(supervisor: Supervisor, make_service: MakeService) -> None:
    """A service that ignores its stop signal is killed after its grace."""
    service = make_service("deaf", IGNORES_SIGTERM, grace=0.2)
    supervisor.start(service)
    supervisor.stop()
    assert service.poll() == -9


def test_a_second_request_does_not_wait(make_service: MakeService) -> None:
    """A hurried supervisor kills a service before its grace is over."""
    hurry = threading.Event()
    supervisor = Supervisor(hurried=hurry.is_set)
    service = make_service("deaf", IGNORES_SIGTERM, grace=60)
    supervisor.start(service)
    threading.Timer(0.2, hurry.set).start()
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    assert service.poll() == -9


def test_a_start_that_fails_is_reported_with_the_log(
    supervisor: Supervisor, make_service: MakeService
) -> None:
    """A service that ends before it is ready raises, with its exit code and its last words."""
    with pytest.raises(LocalServiceFailed, match=r"(?s)broken did not start \(exit code 4\).*last words"):
        supervisor.start(make_service("broken", "print('last words', flush=True); raise SystemExit(4)"))


def test_a_start_can_be_cancelled(supervisor: Supervisor, make_service: MakeService) -> None:
    """Ctrl-C during a start that hangs ends it, and leaves no process."""
    service = make_service("slow", WAITS, says="never said")
    with pytest.raises(LocalServiceFailed, match="cancelled"):
        supervisor.start(service, cancelled=lambda: "here" in service.log_tail())
    assert service.pid is None


def test_services_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the supervising process takes its services along (Linux with util-linux)."""
    code = f"""
import sys, threading
from pathlib import Path
from worker.local.service import CommandService
from worker.local.supervisor import Supervisor
# Until `setpriv` has run, a few milliseconds, nobody has asked the kernel for the death signal.
service = CommandService(
    "x",
    [sys.executable, "-c", {WAITS!r}],
    log_path=Path(sys.argv[1]) / "x.log",
    ready=lambda _: "here" in service.log_tail(),
)
Supervisor().start(service)
print(service.pid, flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
        owner.kill()
    wait_until(lambda: not is_alive(pid), "the service is gone")
